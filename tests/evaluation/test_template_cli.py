import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch

from evaluation.driving import PosedMotion
from evaluation.template_cli import limits, main
from evaluation.templates import MotionTemplate, read_template, write_template
from lp_models.geometry import rotation_matrix
from tests.evaluation.stand_ins import Run, called

# beartype warns of a type inside DictConfig, which is not ours.
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated by PEP 585")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Call the program as its console script does, in an empty folder."""

    def call(*args: object) -> Run:
        monkeypatch.chdir(tmp_path)
        return called(main, ["lp-template", *args], monkeypatch, capsys)

    return call


def made(T: int = 6, K: int = 21, *, ratios: bool = True) -> MotionTemplate:
    yaw = torch.linspace(-12, 30, T)
    motion = PosedMotion(
        rotation_matrix(torch.full((T,), 5.0), yaw, torch.zeros(T)),
        torch.full((T, K, 3), -0.0421),
        torch.linspace(1.2, 1.35, T)[:, None],
        torch.zeros(T, 3),
    )
    return MotionTemplate(
        motion=motion, fps=Fraction(30000, 1001), source="me.mp4", model="starter",
        eye_ratios=torch.linspace(0.1, 0.4, 2 * T).reshape(T, 2) if ratios else None,
        lip_ratios=torch.linspace(0, 0.25, T)[:, None] if ratios else None,
    )  # fmt: skip


def test_inspect_shows_what_is_in_a_template(run, tmp_path) -> None:
    write_template(tmp_path / "a.npz", made())
    done = run("inspect", "source=a.npz")
    assert done.code == 0, done.err
    for text in ("me.mp4", "starter", "29.97 frames/s", "0.20 s", "+5.0° to +5.0°", "-12.0° to +30.0°",
                 "1.200 to 1.350", "0.0421", "0.10 to 0.40", "0.00 to 0.25"):  # fmt: skip
        assert text in done.out
    assert "cannot serve" not in done.out
    assert "next: lp-animate source=cat.jpg driving=a.npz" in done.out
    assert run("source=a.npz").out == done.out  # inspect is the action when none is given


def test_inspect_says_what_would_be_refused(run, tmp_path) -> None:
    frames = [{"R": np.eye(3, dtype=np.float32)[None], "exp": np.full((1, 21, 3), np.nan, np.float32),
               "scale": np.ones((1, 1), np.float32), "t": np.zeros((1, 3), np.float32)}] * 2  # fmt: skip
    frames[1] = frames[1] | {"t": np.full((1, 3), 1e9, np.float32)}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"n_frames": 2, "output_fps": 25, "motion": frames}))
    done = run("inspect", "source=a.pkl")
    assert done.code == 1
    assert "delta is not finite in frame 0" in done.out
    assert "shift is out of range in frame 1" in done.out
    assert done.err == "error: a.pkl would be refused: delta is not finite in frame 0; make it again\n"


@pytest.mark.parametrize("names", [("a.npz", "b.pkl"), ("a.pkl", "b.npz"), ("a.npz", "made/b.npz")])
def test_convert_works_in_either_direction(run, tmp_path, names) -> None:
    write_template(tmp_path / names[0], made())
    done = run("convert", f"source={names[0]}", f"out={names[1]}")
    assert done.code == 0, done.err
    before, after = read_template(tmp_path / names[0]), read_template(tmp_path / names[1])
    for a, b in zip(before.motion, after.motion, strict=True):
        assert torch.equal(a, b)
    assert f"made {names[1]} (6 frames" in done.out
    assert ("29.97 became 30" in done.out) == names[1].endswith(".pkl")
    assert not list(tmp_path.glob("*.part"))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([names[0], names[1].split("/")[0]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["melt", "source=a.npz"], "lp-template melt: unknown action; choose inspect or convert"),
        (["inspect"], "the option source is required"),
        (["inspect", "source=none.pkl"], "none.pkl is not a file"),
        (["convert", "source=a.npz"], "the option out is required"),
        (["convert", "source=a.npz", "out=b.mp4"], "b.mp4: give a file name that ends in .npz"),
        (["convert", "source=k.npz", "out=b.pkl"], "it has 15 keypoints and LivePortrait knows 21; write a .npz"),
    ],
)
def test_a_mistake_is_one_sentence(run, tmp_path, options, message) -> None:
    write_template(tmp_path / "a.npz", made())
    write_template(tmp_path / "k.npz", made(K=15))
    done = run(*options)
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert message in done.err
    assert done.err.count("\n") == 1
    assert not list(tmp_path.glob("b.*"))


def test_limits_name_what_a_whole_template_cannot_do() -> None:
    assert limits(made()) == []
    assert len(limits(made(ratios=False))) == 3
    assert any("15 keypoints" in line for line in limits(made(K=15)))
    assert any("one frame" in line for line in limits(made(T=1)))
