from pathlib import Path

import numpy as np
import pytest

from data_pipeline.crop import crop_transform, invert, move_points
from data_pipeline.records import CropPlan, MediaItem, Shot, Track
from data_pipeline.truth import TruthError, read_truth

POINTS = np.array([[30, 30], [50, 30], [40, 40], [34, 52], [46, 52]], np.float32)


def write(path: Path, **changes: object) -> Path:
    arrays = {
        "points": np.repeat(POINTS[None], 6, axis=0),
        "landmarks": np.repeat(POINTS[None], 6, axis=0),
        "eye_open": np.arange(12, dtype=np.float32).reshape(6, 2),
        "pose_deg": np.zeros((6, 3), np.float32),
        "identity": "cat-1",
        "species": "cat",
        "performance": "p0",
        "fps": 25.0,
    } | changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


def plan(side_px: int = 64) -> CropPlan:
    media = MediaItem(path=Path("x"), kind="video", source_id="0", num_frames=6, fps=25.0, height_px=80, width_px=80)
    track = Track(
        shot=Shot(media=media, start=0, stop=6),
        species="cat",
        frames=np.arange(2, 5),
        boxes=np.tile(np.float32([20, 20, 60, 60]), (3, 1)),
        points=np.repeat(POINTS[None], 3, axis=0),
        scores=np.ones(3, np.float32),
    )
    transform = crop_transform(POINTS, "cat", side_px)
    return CropPlan(track=track, source_from_crop=np.repeat(transform[None], 3, axis=0), side_px=side_px)


def test_points_move_into_the_crop_and_frames_are_selected(tmp_path: Path) -> None:
    found = read_truth(write(tmp_path / "a.truth.npz")).in_crop(plan())
    expected = move_points(invert(plan().source_from_crop[0]), POINTS)
    assert np.allclose(found["landmarks"], expected[None], atol=1e-3)
    assert found["eye_open"].tolist() == [[4, 5], [6, 7], [8, 9]]


def test_roll_is_told_relative_to_the_crop(tmp_path: Path) -> None:
    truth = read_truth(write(tmp_path / "a.truth.npz"))
    turned = plan()
    angle = np.deg2rad(10)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32)
    transforms = turned.source_from_crop.copy()
    transforms[:, :, :2] = rotation @ transforms[:, :, :2]
    moved = CropPlan(track=turned.track, source_from_crop=transforms, side_px=64)
    assert truth.in_crop(moved)["pose_deg"][:, 2] == pytest.approx(-10, abs=1e-3)


def test_masks_beside_the_truth_are_cut_too(tmp_path: Path) -> None:
    labels = np.zeros((6, 80, 80), np.uint8)
    labels[:, 25:60, 25:60] = 2
    np.savez_compressed(tmp_path / "a.masks.npz", labels=labels)
    cut = read_truth(write(tmp_path / "a.truth.npz")).in_crop(plan())["labels"]
    assert cut.shape == (3, 64, 64)
    assert set(np.unique(cut)) == {0, 2}


@pytest.mark.parametrize(("change", "said"), [({"species": "yeti"}, "yeti"), ({"identity": None}, "identity")])
def test_what_does_not_fit_is_told_with_the_file(tmp_path: Path, change: dict, said: str) -> None:
    with pytest.raises(TruthError, match=said):
        read_truth(write(tmp_path / "a.truth.npz", **change))


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "a.truth.npz"
    np.savez(path, points=np.array([{"a": 1}], dtype=object))
    with pytest.raises(TruthError, match="cannot be read"):
        read_truth(path)
