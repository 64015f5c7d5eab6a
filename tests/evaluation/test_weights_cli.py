"""lp-weights as a user calls it: what is printed, what is written, and which exit code."""

import shutil
from pathlib import Path

import pytest
import torch

from tests.evaluation.stand_ins import Run, called

# beartype warns of a type inside DictConfig, which is not ours.
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated by PEP 585")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Call lp-weights as its console script does, in an empty folder."""

    def call(*args: object) -> Run:
        from evaluation import weights_cli

        monkeypatch.chdir(tmp_path)
        return called(weights_cli.main, ["lp-weights", *args], monkeypatch, capsys)

    return call


@pytest.fixture
def weights(tmp_path, tiny_weights) -> Path:
    return Path(shutil.copytree(tiny_weights, tmp_path / "mine"))


def test_verify_prints_a_row_for_each_file(run, weights) -> None:
    done = run("verify", "weights=mine")
    assert (done.code, done.err) == (0, "")
    rows = [line for line in done.out.splitlines() if "OK" in line]
    assert len(rows) == 5
    assert all("model.json" in row and ".safetensors" in row for row in rows)
    assert "mine: 5 parts are whole and fit" in done.out
    assert "next: lp-animate source=PHOTO driving=VIDEO out=result.mp4 weights=mine" in done.out
    assert "1 part is whole" in run("verify", "weights=mine/motion_extractor.safetensors").out


def test_verify_ends_with_exit_code_1_at_the_first_fault(run, weights) -> None:
    path = weights / "warping_module.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    done = run("verify", "weights=mine")
    assert done.code == 1
    assert done.out.count("OK") == 2
    assert "whole and fit" not in done.out
    assert done.err.startswith(
        "error: mine/warping_module.safetensors is not the file that model.json was written with"
    )
    assert done.err.count("\n") == 1


def test_inspect_shows_modules_and_on_demand_every_tensor(run, weights) -> None:
    done = run("inspect", "weights=mine")
    assert (done.code, done.err) == (0, "")
    assert "mine: weights directory, tiny size" in done.out
    for stem in ("motion_extractor", "spade_generator", "stitching_retargeting_module"):
        assert f"{stem}.safetensors" in done.out
    assert "species: [" in done.out
    assert "loads strictly" in done.out
    assert "detector.norm.weight" not in done.out
    detailed = run("inspect", "weights=mine", "detail=true").out
    assert "detector.norm.weight" in detailed
    assert "retarget_mouth_module.mlp.0.weight" in detailed


def test_inspect_shows_what_does_not_load_and_says_why(run, weights) -> None:
    (weights / "warping_module.safetensors").write_text("<html>Sign in</html>")
    (weights / "model.json").unlink()
    done = run("inspect", "weights=mine")
    assert done.code == 0
    assert "cannot be read" in done.out
    assert "motion_extractor.safetensors" in done.out
    assert "would not load: mine/appearance_feature_extractor.safetensors lacks" in done.out
    assert "next: lp-weights inspect weights=mine detail=true" in done.out


def test_convert_writes_both_layouts_and_says_what_comes_next(run, weights) -> None:
    done = run("convert", "weights=mine", "out=theirs", "layout=official", "dtype=float16")
    assert (done.code, done.err) == (0, "")
    assert "wrote theirs/base_models/motion_extractor.pth" in done.out
    assert "the model is of tiny size; upstream's code loads it only with the numbers of theirs/model.json" in done.out
    assert "next: lp-weights verify weights=theirs" in done.out
    assert run("verify", "weights=theirs").code == 0
    again = run("convert", "weights=mine", "out=theirs", "layout=official", "dtype=float16")
    assert again.code == 0
    assert "theirs holds these weights already" in again.out
    assert "wrote" not in again.out
    other = run("convert", "weights=mine", "out=theirs")
    assert other.code == 1
    assert "force=true" in other.err
    forced = run("convert", "weights=mine", "out=theirs", "force=true")
    assert forced.code == 0
    assert "note:" not in forced.out
    assert not list(Path("theirs").rglob("*.pth"))


def test_a_checkpoint_goes_all_the_way(run, tmp_path, weights) -> None:
    from lp_models import load_pretrained

    model = load_pretrained(weights)
    state = {"kind": "base", "config": model.config.as_dict(), "model": model.state_dict(), "ema": model.state_dict()}
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "step-0000003.ckpt"
    torch.save({"format": 1, "step": 3, **state}, path)
    assert "weights: moving average" in run("inspect", f"weights={path}").out
    assert run("verify", f"weights={path}").out.count("OK") == 5
    assert run("convert", f"weights={path}", "out=made").code == 0
    for stem in ("motion_extractor", "spade_generator"):
        name = f"{stem}.safetensors"
        assert (tmp_path / "made" / name).read_bytes() == (weights / name).read_bytes()


class FolderHub:
    """A hub that copies from a folder."""

    root: Path

    def listing(self, repo, revision):
        from lp_models.hub import Listing, RemoteFile

        files = {
            p.relative_to(self.root).as_posix(): RemoteFile(p.stat().st_size, None) for p in self.root.rglob("*.pth")
        }
        return Listing("c" * 40, files)

    def fetch(self, repo, name, commit, folder):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(self.root / name, folder / name))


def test_download_then_use_by_name(run, tmp_path, weights, monkeypatch) -> None:
    from lp_models import LivePortraitConfig, hub

    config = LivePortraitConfig.named("tiny")
    assert run("convert", "weights=mine", "out=repository/liveportrait", "layout=official").code == 0
    monkeypatch.setattr(FolderHub, "root", tmp_path / "repository", raising=False)
    monkeypatch.setattr(hub, "HuggingFaceHub", FolderHub)
    monkeypatch.setattr(LivePortraitConfig, "named", lambda name: config)  # tiny stands in for official
    monkeypatch.setenv("PAWTRAIT_WEIGHTS", str(tmp_path / "cache"))

    missing = run("verify", "weights=official")
    assert missing.code == 1
    assert "run `lp-weights download variant=human`" in missing.err
    done = run("download")
    assert (done.code, done.err) == (0, "")
    assert done.out.count("fetched") == 5
    assert f"holds 5 files of KwaiVGI/LivePortrait at commit {'c' * 40}" in done.out
    assert "next: lp-weights verify weights=official" in done.out
    assert run("download").out.count("already there") == 5
    verified = run("verify", "weights=official")
    assert verified.code == 0
    assert verified.out.count("weights.lock.json") == 5
    assert "next: lp-weights verify weights=here/liveportrait\n" in run("download", "out=here").out
    lacking = run("download", "variant=animals")
    assert lacking.code == 1
    assert "has no liveportrait_animals/base_models_v1.1/" in lacking.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no action was given; say lp-weights download|verify|convert|inspect"),
        (["fetch"], "the action fetch is unknown; say lp-weights download|verify|convert|inspect"),
        (["verify", "mine"], "mine is no option; give options as name=value, such as weights=mine"),
        (["verify"], "the option weights is required: lp-weights verify weights=DIR or FILE"),
        (["convert", "weights=starter"], "the option out is required: lp-weights convert out=DIR"),
        (["convert", "weights=starter", "out=x", "layout=mine"], "layout='mine' is unknown; choose ours or official"),
        (["convert", "weights=starter", "out=x", "dtype=int8"], "dtype='int8' is unknown"),
        (["convert", "weights=starter", "out=x", "force=no"], "force=no is neither true nor false"),
        (["convert", "weights=nowhere", "out=x"], "nowhere is not a directory"),
        (["inspect", "weights=."], ". holds no weights"),
        (["download", "variant=cats", "out=x"], "variant='cats' is unknown"),
    ],
)
def test_a_mistake_is_one_sentence(run, words, message) -> None:
    done = run(*words)
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert message in done.err
    assert done.err.count("\n") == 1
    assert done.out == ""
