import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation import openings
from evaluation.openings import (
    FaceMeshOpenings,
    GivenOpenings,
    OpeningReader,
    Openings,
    held,
    mesh_openings,
    read_curve,
    stacked,
)
from lp_models.geometry import eye_ratios, lip_ratio

FRAME = np.zeros((8, 8, 3), np.uint8)
TO_UPSTREAM = {
    159: 6, 145: 18, 33: 0, 133: 12, 386: 30, 374: 42, 362: 24, 263: 36, 13: 90, 14: 102, 61: 48, 291: 66,
}  # fmt: skip
"""Mesh point -> the point of LivePortrait's 203 at the same place of the face."""


def test_the_mesh_gives_upstreams_ratios() -> None:
    points = 100 * torch.rand(3, 478, 2)
    upstream = torch.zeros(3, 203, 2)
    for mesh, point in TO_UPSTREAM.items():
        upstream[:, point] = points[:, mesh]
    got = mesh_openings(points)
    assert torch.allclose(got.eyes, eye_ratios(upstream))
    assert torch.allclose(got.lips, lip_ratio(upstream))


def test_given_numbers_are_given_for_every_frame() -> None:
    reader = GivenOpenings(eyes=(0.2, 0.4), lips=0.1)
    assert isinstance(reader, OpeningReader)
    read = reader([FRAME, FRAME])
    assert len(read) == 2
    assert read[1] is not None
    assert torch.allclose(read[1].eyes, torch.tensor([[0.2, 0.4]]))
    assert torch.allclose(read[1].lips, torch.tensor([[0.1]]))
    both = GivenOpenings(eyes=1)([FRAME])[0]
    assert both is not None
    assert both.eyes.tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eyes": -0.1}, "eyes=-0.1 is out of range"),
        ({"eyes": (0.1, float("nan"))}, "eyes=nan is out of range"),
        ({"eyes": [0.1, 0.2, 0.3]}, r"is not one number for both eyes, or two"),
        ({"lips": 7}, "lips=7 is out of range"),
    ],
)
def test_given_numbers_must_be_openings(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        GivenOpenings(**options)


def one(eyes: float, lips: float) -> Openings:
    return Openings(torch.full((1, 2), eyes), torch.full((1, 1), lips))


def test_gaps_are_nan_and_can_be_filled_with_the_reading_before() -> None:
    readings = stacked([None, one(0.3, 0.0), None, None, one(0.1, 0.2), None])
    assert readings.lips.isnan()[:, 0].tolist() == [True, False, True, True, False, True]
    filled = held(readings)
    assert torch.allclose(filled.eyes[:, 1], torch.tensor([0.3, 0.3, 0.3, 0.3, 0.1, 0.1]))
    assert torch.allclose(filled.lips[:, 0], torch.tensor([0.0, 0.0, 0.0, 0.0, 0.2, 0.2]))
    assert stacked([]).eyes.shape == (0, 2)
    with pytest.raises(ValueError, match=r"me\.mp4: no face was found in any frame; give the openings by hand"):
        held(stacked([None, None]), "me.mp4")


@pytest.mark.parametrize("found", [None, object()])
def test_without_mediapipe_the_message_says_what_to_install(monkeypatch, found) -> None:
    """Missing, or a version that has no face mesh any more."""

    def import_module(name: str) -> object:
        assert name == "mediapipe"
        if found is None:
            raise ModuleNotFoundError("No module named 'mediapipe'")
        return found

    monkeypatch.setattr(openings.importlib, "import_module", import_module)
    with pytest.raises(
        ValueError, match=r"needs mediapipe 0\.10\.14; install it with .*\[face\].* or give the numbers"
    ):
        FaceMeshOpenings()


def test_mediapipe_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, evaluation.openings; print('mediapipe' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.fixture
def csv_file(tmp_path):
    """Maker of a curve file."""

    def make(text: str | bytes) -> Path:
        path = tmp_path / "curve.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return make


def test_a_number_holds_for_every_frame() -> None:
    for given in (0.25, "0.25", "2.5e-1"):
        assert torch.allclose(read_curve(given, 25, 3), torch.full((3,), 0.25))
    assert read_curve(1, 25, 2).tolist() == [1.0, 1.0]


def test_points_are_joined_by_lines_and_held_at_the_ends(csv_file) -> None:
    path = csv_file("frame,value\n1,0.1\n\n3,0.5\n4,0.4\n")
    assert torch.allclose(read_curve(path, 25, 7), torch.tensor([0.1, 0.1, 0.3, 0.5, 0.4, 0.4, 0.4]))
    assert torch.allclose(read_curve(str(path), 25, 1), torch.tensor([0.1]))


def test_times_are_seconds_at_the_drivers_rate(csv_file) -> None:
    path = csv_file("\ufeffTime_s, value\r\n0, 0\r\n0.2, 1\r\n")
    assert torch.allclose(read_curve(path, 10, 4), torch.tensor([0.0, 0.5, 1.0, 1.0]))
    assert torch.allclose(read_curve(path, 20, 4), torch.tensor([0.0, 0.25, 0.5, 0.75]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: it must be frame,value or time_s,value"),
        ("0,0.1\n1,0.2\n", "line 1: it must be frame,value or time_s,value, not '0,0.1'"),
        ("frame,value\n", "has no line of numbers"),
        ("frame,value\n0,0.1\n\nfive,0.2\n", "line 4: 'five,0.2' is not two numbers"),
        ("frame,value\n0,0.1,7\n", "line 2: '0,0.1,7' is not two numbers"),
        ("frame,value\n0,0.1\n0,0.2\n", "line 3: frame 0 must be 0 or more and rise"),
        ("frame,value\n-1,0.1\n", "line 2: frame -1 must be 0 or more"),
        ("time_s,value\nnan,0.1\n", "line 2: time_s nan must be"),
        ("frame,value\n0,-0.2\n", "line 2: -0.2 is out of range"),
        ("frame,value\n0,nan\n", "line 2: nan is out of range"),
        (b"\xff\xfe\x00", "is not a CSV that can be read"),
        ('frame,value\n0,"0.1\n', "is not a CSV that can be read"),
    ],
)
def test_a_curve_with_a_fault_is_refused_with_file_and_line(csv_file, content, message) -> None:
    path = csv_file(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_curve(path, 25, 5)
    assert str(caught.value).startswith(str(path))


def test_what_is_neither_number_nor_file_is_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match="is neither a number nor a file"):
        read_curve(tmp_path / "none.csv", 25, 5)
    with pytest.raises(ValueError, match="is neither a number nor a file"):
        read_curve("wide", 25, 5)
    for number in (-0.1, "nan", 3):
        with pytest.raises(ValueError, match="is out of range"):
            read_curve(number, 25, 5)


needs_mediapipe = pytest.mark.skipif(
    importlib.util.find_spec("mediapipe") is None, reason="mediapipe is not installed (the extra `face`)"
)
READ = """
import json, sys
from itertools import islice
from pathlib import Path
import numpy as np
from data_pipeline.video import read_frames
from evaluation.openings import FaceMeshOpenings, stacked
out = {}
for path in sys.argv[2:]:
    frames = list(islice(read_frames(Path(path)), int(sys.argv[1])))
    reader = FaceMeshOpenings()
    halves = reader(frames[:50]) + reader(frames[50:])
    read = stacked(halves)
    out[Path(path).stem] = [read.eyes.tolist(), read.lips.tolist()]
out["dark"] = [reading is None for reading in FaceMeshOpenings(is_still=True)([np.zeros((64, 48, 3), np.uint8)])]
print(json.dumps(out))
"""


def read_apart(num_frames: int, *paths: Path) -> dict:
    """Read clips in a process of their own: after mediapipe has run, forks of a process do not live."""
    command = [sys.executable, "-W", "error", "-c", READ, str(num_frames), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def ratios_of_68(points: np.ndarray) -> np.ndarray:
    """Openings from 68 landmarks, whose lids have two points each: right eye of the person, left eye, lips."""

    def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.linalg.norm(a - b, axis=1)

    def middle(a: int, b: int) -> np.ndarray:
        return (points[:, a] + points[:, b]) / 2

    eyes = [distance(middle(e + 1, e + 2), middle(e + 5, e + 4)) / distance(points[:, e], points[:, e + 3])
            for e in (36, 42)]  # fmt: skip
    return np.stack([*eyes, distance(points[:, 62], points[:, 66]) / distance(points[:, 48], points[:, 54])], axis=1)


@needs_mediapipe
@pytest.mark.slow
def test_the_face_mesh_agrees_with_another_reading_and_with_upstreams_own(shared_data) -> None:
    from evaluation.templates import read_template

    clips = {"lp_d0_1": 78, "lp_d10_1": 100, "lp_d18_1": 100, "lp_d7_1": 178}
    read = read_apart(178, *(shared_data / "corpus" / "human" / f"{name}.mp4" for name in clips))
    with np.load(shared_data / "corpus" / "human_landmarks.npz") as teacher:
        for name, num_frames in clips.items():
            got = np.concatenate(read[name], axis=1)[:num_frames]
            wanted = ratios_of_68(teacher[name].astype(np.float64)[:num_frames])
            assert np.isfinite(got).all()
            for i in range(2):
                assert np.corrcoef(got[:, i], wanted[:, i])[0, 1] > 0.9, (name, i)
            # Eyes read wider by 0.02 to 0.05: the middles of the 68 points' lids lie on a chord.
            assert np.abs(got - wanted).mean(axis=0).max() < 0.06
            assert np.abs(got - wanted).mean(axis=0)[2] < 0.02
    template = read_template(shared_data / "media" / "templates" / "d7.pkl")  # made by upstream from this very clip
    assert template.eye_ratios is not None
    assert template.lip_ratios is not None
    eyes, lips = (np.array(values) for values in read["lp_d7_1"])
    right, swapped = (
        np.mean([np.corrcoef(eyes[:, i], template.eye_ratios[:, j])[0, 1] for i, j in pairs])
        for pairs in (((0, 0), (1, 1)), ((0, 1), (1, 0)))
    )
    assert right > 0.97
    assert right > swapped + 0.05  # the viewer's left eye is the first in both
    assert np.abs(lips - template.lip_ratios.numpy()).mean() < 0.01
    assert read["dark"] == [True]


@needs_mediapipe
def test_the_face_mesh_finds_a_face_and_says_so_where_there_is_none(shared_data) -> None:
    read = read_apart(3, shared_data / "media" / "human" / "video" / "driver_grimace_greenscreen_d0.mp4")
    eyes, lips = read["driver_grimace_greenscreen_d0"]
    assert len(eyes) == len(lips) == 3
    assert all(0.1 < value < 0.6 for pair in eyes for value in pair)
    assert read["dark"] == [True]
