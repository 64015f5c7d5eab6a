import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra

from finetune.cli import main, train
from lp_models import load_pretrained
from tests.finetune.conftest import sample, write_shards

TINY = ["model=tiny", "trainer.threads=1", "data.batch_size=2", "grid_every=2", "grid_rows=2", "log_every=1"]


def config(shards: Path, out: Path, *overrides: str):
    GlobalHydra.instance().clear()
    with initialize_config_module(version_base="1.3", config_module="conf"):
        return compose("finetune", [f"data.shards={shards}", f"out={out}", *TINY, *overrides])


@pytest.fixture
def program(monkeypatch, capsys):
    """lp-finetune in this process: arguments -> exit code, stdout, stderr."""

    def start(*args: str) -> tuple[int, str, str]:
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["lp-finetune", *TINY, *args])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return start


def test_scratch_to_base_to_stitching(shards, tmp_path, capsys):
    stages = "recipe.stages=[{until: 1, train: [motion], motion_px: 32, batch_size: 3}]"
    base = train(config(shards, tmp_path / "base", "max_steps=2", stages))
    assert load_pretrained(base).config.name == "tiny"
    for name in ("config.yaml", "metrics.csv", "samples/step-0000002.png", "weights/MODEL_CARD.md"):
        assert (tmp_path / "base" / name).is_file(), name
    said = capsys.readouterr().out
    assert "stand-in" in said
    assert "face identity: no teacher" in said
    assert "next: " in said
    going_on = train(config(shards, tmp_path / "more", f"weights={base}", "max_steps=1"))
    first, second = (load_pretrained(folder).appearance.first.norm for folder in (base, going_on))
    assert (first.running_mean != second.running_mean).any()  # batch statistics go on too
    more = ["recipe=stitching", f"weights={base}", "max_steps=3", "recipe.ruler_steps=1"]
    stitched = train(config(shards, tmp_path / "stitching", *more))
    before, after = load_pretrained(base), load_pretrained(stitched)
    assert (before.generator.fc.weight == after.generator.fc.weight).all()
    assert (before.stitching.stitching.mlp[0].weight != after.stitching.stitching.mlp[0].weight).any()


@pytest.mark.parametrize(("overrides", "words"), [
    (["data.shards=nowhere"], "not a folder"),
    (["weights=nowhere"], "not a directory"),
    (["max_steps=0"], "max_steps is 0"),
    (["keep_last=0"], "keep_last is 0"),
    (["resume=perhaps"], "resume is 'perhaps'"),
    (["recipe.optimiser.lr=5.0"], "learning rate"),
    (["recipe.optimiser.lr=2.0"], "a learning rate lies between 0 and 0.1"),
    (["features=vgg19", "features.path=none.pth"], "does not exist"),
    (["teachers.pose.path=none.safetensors"], "none.safetensors"),
    (["recipe.stages=[{until: 5, side_px: 33}]"], "multiples of 16"),
    (["recipe.stages=[{until: 5, train: [mouth]}]"], "mouth"),
    (["data.mixture.cross_frac=3.0"], "between 0 and 1"),
    (["keep_best=beauty"], "keep_best=beauty is not among the terms"),
    (["+trainer.plugins=[nothing]"], "do not fit this machine"),
    (["trainer=gpu"], "needs a GPU, and torch sees none"),
    (["trainer=fsdp"], "needs a GPU, and torch sees none"),
    (["trainer.strategy.timeout_s=0"], "timeout_s is 0"),
    (["recipe.optimzer.lr=1e-4"], "did you mean recipe.optimiser.lr"),
    (["experiment=overfitting"], "did you mean overfit"),
    (["max_step=3"], "did you mean max_steps"),
])  # fmt: skip
def test_wrong_options_are_one_clear_sentence(shards, tmp_path, program, monkeypatch, overrides, words):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, _, said = program(
        f"data.shards={shards}", f"out={tmp_path / 'out'}", "max_steps=1", "grid_every=0", *overrides
    )
    assert code == 1
    assert words in said
    assert said.startswith("error: ")
    assert said.count("\n") == 1


def test_an_output_folder_that_cannot_be_made_is_refused_before_any_work(shards, tmp_path, program):
    (tmp_path / "file").write_text("")
    code, said, problem = program(f"data.shards={shards}", f"out={tmp_path / 'file' / 'run'}", "max_steps=1")
    assert code == 1
    assert "cannot be written" in problem
    assert "choose another folder" in problem
    assert "data:" not in said


def test_empty_damaged_and_tiny_shards(tmp_path, program):
    def start(folder):
        return program(f"data.shards={folder}", f"out={tmp_path / 'out'}", "max_steps=1", "grid_every=0")

    (tmp_path / "empty").mkdir()
    assert "has no train-*.tar" in start(tmp_path / "empty")[2]
    (tmp_path / "empty" / "train-00000.tar").write_bytes(b"")
    code, _, said = start(tmp_path / "empty")
    assert code == 1
    assert "train-00000.tar is empty" in said
    (tmp_path / "empty" / "train-00000.tar").write_bytes(b"\0" * 10240)
    assert "hold no samples" in start(tmp_path / "empty")[2]
    (tmp_path / "empty" / "train-00000.tar").write_bytes(b"x" * 10240)
    assert "damaged" in start(tmp_path / "empty")[2]
    one = write_shards(tmp_path / "one", [sample("cat-still", "cat", kind="image")])
    code, said, problem = start(one)
    assert (code, problem) == (0, "")
    assert "human, dog, panda: their shares go to the rest" in said


def test_weights_of_another_size_are_refused(shards, tmp_path):
    weights = train(config(shards, tmp_path / "tiny", "max_steps=1", "grid_every=0"))
    with pytest.raises(ValueError, match="add model=tiny"):
        train(config(shards, tmp_path / "other", "model=starter", f"weights={weights}", "max_steps=1"))


def test_other_options_are_refused_on_resuming_unless_forced(shards, tmp_path, program):
    here = [f"data.shards={shards}", f"out={tmp_path}", "grid_every=0"]
    assert program(*here, "max_steps=1")[0] == 0
    written = (tmp_path / "config.yaml").read_text()
    code, _, said = program(*here, "max_steps=2", "recipe.optimiser.lr=1e-3")
    assert code == 1
    assert "recipe.optimiser.lr was 0.0004 and is 0.001 now" in said
    assert "resume=force" in said
    assert (tmp_path / "config.yaml").read_text() == written
    code, said, _ = program(*here, "max_steps=2", "recipe.optimiser.lr=1e-3", "resume=force")
    assert code == 0
    assert "resuming from step 1" in said
    # More steps, other places and other numbers of log lines are no other recipe.
    code, said, _ = program(*here, "max_steps=3", "recipe.optimiser.lr=1e-3", "log_every=3", "data.workers=0")
    assert (code, "resuming from step 2" in said) == (0, True)


def test_the_sha256_of_the_weights_is_printed_and_stays_when_nothing_is_left_to_do(shards, tmp_path, program):
    from finetune.export import weights_sha256

    here = [f"data.shards={shards}", f"out={tmp_path}", "grid_every=0", "max_steps=1"]
    lines = [line for _ in range(2) for line in program(*here)[1].splitlines() if line.startswith("sha256")]
    assert lines == [f"sha256 of the weights: {weights_sha256(tmp_path / 'weights')}"] * 2


def test_overfit_says_when_it_has_learnt_and_fails_when_not(shards, tmp_path, program):
    here = [f"data.shards={shards}", "experiment=overfit", "log_every=50", "grid_every=0"]
    code, said, _ = program(*here, f"out={tmp_path / 'a'}", "max_steps=5", "probe.below=100.0")
    assert code == 0
    assert "overfit: sample cat-1 only" in said
    assert "at step 1, below 100: it learns" in said
    code, _, said = program(*here, f"out={tmp_path / 'b'}", "max_steps=2", "probe.below=1e-9")
    assert code == 1
    assert "did not fall below 1e-09 in 2 steps" in said
    code, _, said = program(*here, f"out={tmp_path / 'c'}", "max_steps=2", "probe.clip=99")
    assert code == 1
    assert "samples 0 to 5" in said


@pytest.mark.slow
def test_profile_writes_a_table_and_a_trace(shards, tmp_path, program):
    here = [f"data.shards={shards}", "experiment=profile", f"out={tmp_path}", "probe.steps=1", "probe.skip=0"]
    code, said, problem = program(*here, "max_steps=2")
    assert (code, problem) == (0, "")
    assert "convolution" in (tmp_path / "profile.txt").read_text()
    assert (tmp_path / "trace.json").stat().st_size > 1000
    assert "Self CPU" in said


def test_debug_runs_twenty_steps_of_the_tiny_model(shards, tmp_path, program):
    import torch

    code, _, _ = program(f"data.shards={shards}", "experiment=debug", f"out={tmp_path}", "max_steps=2")
    assert code == 0
    assert load_pretrained(tmp_path / "weights").config.name == "tiny"
    assert not torch.is_anomaly_enabled()


@pytest.mark.slow
@pytest.mark.parametrize(("overrides", "words"), [
    (["data.shards=nowhere"], "error: data.shards=nowhere is not a folder"),
    (["data.shards=nowhere", "recipe.optimiser.lr=2"], "error: recipe.optimiser.lr is 2; a learning rate lies between"),
    (["data.shards=nowhere", "recipe.precision=fp8"], "error: recipe.precision is 'fp8'; give auto, fp32, bf16 or"),
])  # fmt: skip
def test_the_program_says_error_and_exits_1(tmp_path, overrides, words):
    command = [sys.executable, "-m", "finetune.cli", *overrides, f"out={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(words)
    assert "Traceback" not in done.stderr
