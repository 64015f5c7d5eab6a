import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra

from finetune.cli import train
from lp_models import load_pretrained

TINY = ["model=tiny", "trainer.threads=1", "data.batch_size=2", "grid_every=2", "grid_rows=2", "log_every=1"]


def config(shards: Path, out: Path, *overrides: str):
    GlobalHydra.instance().clear()
    with initialize_config_module(version_base="1.3", config_module="conf"):
        return compose("finetune", [f"data.shards={shards}", f"out={out}", *TINY, *overrides])


def test_scratch_to_base_to_stitching(shards, tmp_path, capsys):
    stages = "recipe.stages=[{until: 1, train: [motion], motion_px: 32, batch_size: 3}]"
    base = train(config(shards, tmp_path / "base", "max_steps=2", stages))
    assert load_pretrained(base).config.name == "tiny"
    for name in ("config.yaml", "metrics.csv", "samples/step-0000002.png", "weights/MODEL_CARD.md"):
        assert (tmp_path / "base" / name).is_file(), name
    said = capsys.readouterr().out
    assert "stand-in" in said
    assert "identity: absent" in said
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
    (["recipe.optimiser.lr=5.0"], "learning rate"),
    (["features=vgg19", "features.path=none.pth"], "does not exist"),
    (["recipe.stages=[{until: 5, side_px: 33}]"], "multiples of 16"),
    (["recipe.stages=[{until: 5, train: [mouth]}]"], "mouth"),
    (["data.mixture.cross_frac=3.0"], "between 0 and 1"),
])  # fmt: skip
def test_wrong_options_are_one_clear_sentence(shards, tmp_path, overrides, words):
    from hydra.errors import InstantiationException

    with pytest.raises((ValueError, InstantiationException)) as caught:
        train(config(shards, tmp_path / "out", "max_steps=1", *overrides))
    assert words in str(caught.value)


def test_weights_of_another_size_are_refused(shards, tmp_path):
    weights = train(config(shards, tmp_path / "tiny", "max_steps=1", "grid_every=0"))
    with pytest.raises(ValueError, match="add model=tiny"):
        train(config(shards, tmp_path / "other", "model=starter", f"weights={weights}", "max_steps=1"))


@pytest.mark.slow
def test_the_program_says_error_and_exits_1(tmp_path):
    command = [sys.executable, "-m", "finetune.cli", "data.shards=nowhere", f"out={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: data.shards=nowhere is not a folder")
    assert "Traceback" not in done.stderr
