import sys
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import pytest

from data_pipeline.photo import encode_jpeg
from data_pipeline.video import read_frames, read_info

# beartype warns of a type inside DictConfig, which is not ours.
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated by PEP 585")


class Run(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Call a program as its console script does, in an empty folder."""

    def call(program: str, *args: object) -> Run:
        from evaluation import cli

        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [f"lp-{program}", *(str(arg) for arg in args)])
        code = 0
        try:
            getattr(cli, program)()
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = capsys.readouterr()
        return Run(code, printed.out, printed.err)

    return call


@pytest.fixture
def photo(tmp_path, picture) -> Path:
    path = tmp_path / "cat.jpg"
    path.write_bytes(encode_jpeg(picture(120, 90)))
    return path


def test_animate_writes_both_videos_with_sound_rate_and_length(
    run, tmp_path, photo, driving_video, tiny_weights
) -> None:
    boxes = ["source_box=[80,50,160,130]", "driving_box=[90,60,170,140]"]
    done = run(
        "animate", f"source={photo}", f"driving={driving_video(11)}", f"weights={tiny_weights}", "out=made/cat.mp4",
        *boxes,
    )  # fmt: skip
    assert done.code == 0, done.err
    out = tmp_path / "made" / "cat.mp4"
    for path in (out, out.with_name("cat_side_by_side.mp4")):
        info = read_info(path)
        assert (info.fps, info.has_audio) == (Fraction(30000, 1001), True)
        assert sum(1 for _ in read_frames(path)) == 11
    assert read_info(out).width_px == 260
    assert (out.parent / "cat.config.yaml").exists()
    assert sorted(path.name for path in out.parent.iterdir()) == ["cat.config.yaml", "cat.mp4", "cat_side_by_side.mp4"]
    assert "made made/cat.mp4 (11 frames at 29.97 frames/s, with the driver's sound)" in done.out
    assert not list(tmp_path.glob("*.log"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["driving=none.mp4", "out=x.mp4"], "driving: none.mp4 is not a file"),
        (["driving={photo}", "out=x.gif"], "out=x.gif: give a file name that ends in .mp4"),
        (["driving={photo}", "out=x.jpg", "multiplier=-1"], "multiplier=-1.0 is out of range"),
        (["driving={photo}"], "the option out is required"),
        (["driving={photo}", "out=x.jpg", "weights=nowhere"], "nowhere is not a directory"),
    ],
)
def test_a_mistake_is_one_sentence(run, photo, tiny_weights, options, message) -> None:
    options = [option.format(photo=photo) for option in options]
    weights = [] if any("weights" in option for option in options) else [f"weights={tiny_weights}"]
    done = run("animate", f"source={photo}", "source_box=[80,50,160,130]", "driving_box=[80,50,160,130]", *weights,
               *options)  # fmt: skip
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert message in done.err
    assert "Traceback" not in done.err


def test_a_driving_photo_gives_a_picture(run, tmp_path, photo, tiny_weights) -> None:
    done = run("animate", f"source={photo}", f"driving={photo}", f"weights={tiny_weights}", "out=x.png",
               "source_box=[80,50,160,130]", "driving_box=[80,50,160,130]")  # fmt: skip
    assert done.code == 0, done.err
    assert (tmp_path / "x.png").exists()


def test_evaluate_compares_before_and_after(run, tmp_path, puppet_set, tiny_weights) -> None:
    done = run("evaluate", f"data={puppet_set}", f"weights={tiny_weights}", f"baseline_weights={tiny_weights}",
               "out=eval", "side_px=64", "~detector")  # fmt: skip
    assert done.code == 0, done.err
    assert {"rows.csv", "summary.json", "report.html", "config.yaml", "examples"} == {
        path.name for path in (tmp_path / "eval").iterdir()
    }
    assert "after − before" in (tmp_path / "eval" / "report.html").read_text()
    assert "open " in done.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["data=nowhere"], "data=nowhere is not a folder"),
        (["data={puppets}", "size=huge"], "size='huge' is unknown; choose quick or full"),
        ([], "option data.path is required"),
    ],
)
def test_a_mistake_in_evaluate_is_one_sentence(run, puppet_set, tiny_weights, options, message) -> None:
    options = [option.format(puppets=puppet_set) for option in options]
    done = run("evaluate", f"weights={tiny_weights}", "out=eval", "~detector", *options)
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert message in done.err
