import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.crop import (
    FRAMINGS,
    Cropper,
    coverage_frac,
    crop_transform,
    invert,
    move_points,
    warp_crop,
    warp_labels,
)
from data_pipeline.records import MediaItem, Shot, Track

FACE = np.array([[80, 90], [120, 90], [100, 112], [86, 130], [114, 130]], np.float32)


def track_of(points: np.ndarray, media: MediaItem) -> Track:
    count = len(points)
    boxes = np.concatenate([points.min(axis=1) - 20, points.max(axis=1) + 20], axis=1).astype(np.float32)
    return Track(
        shot=Shot(media=media, start=0, stop=count),
        species="cat",
        frames=np.arange(count),
        boxes=boxes,
        points=points.astype(np.float32),
        scores=np.ones(count, np.float32),
    )


@pytest.fixture
def media(tmp_path):
    return MediaItem(path=tmp_path, kind="video", source_id="0", num_frames=9, fps=25.0, height_px=240, width_px=240)


@given(
    angle=st.floats(-170, 170),
    zoom=st.floats(0.3, 4),
    dx=st.floats(-100, 100),
    dy=st.floats(-100, 100),
    species=st.sampled_from(sorted(FRAMINGS)),
)
def test_the_crop_follows_the_face_through_any_similarity(angle, zoom, dx, dy, species) -> None:
    turn = np.deg2rad(angle)
    linear = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = (FACE @ linear.T + [dx, dy]).astype(np.float32)
    in_crop = move_points(invert(crop_transform(FACE, species, 256)), FACE)
    in_crop_moved = move_points(invert(crop_transform(moved, species, 256)), moved)
    assert np.allclose(in_crop, in_crop_moved, atol=0.05)


def test_eyes_are_level_and_above_the_mouth_in_the_crop() -> None:
    rolled = move_points(np.float32([[0.8, -0.6, 30], [0.6, 0.8, 5]]), FACE)
    inside = move_points(invert(crop_transform(rolled, "dog", 256)), rolled)
    assert inside[0, 1] == pytest.approx(inside[1, 1], abs=0.01)
    assert inside[0, 0] < inside[1, 0]
    assert inside[:2, 1].mean() < inside[3:, 1].mean()


def test_without_rotation_the_roll_stays() -> None:
    rolled = move_points(np.float32([[0.8, -0.6, 30], [0.6, 0.8, 5]]), FACE)
    transform = crop_transform(rolled, "cat", 256, rotate=False)
    assert transform[0, 1] == 0
    assert transform[1, 0] == 0


def test_transform_and_inverse_cancel() -> None:
    transform = crop_transform(FACE, "panda", 200)
    points = np.random.default_rng(0).uniform(0, 200, (50, 2)).astype(np.float32)
    assert np.allclose(move_points(invert(transform), move_points(transform, points)), points, atol=1e-2)


@pytest.mark.parametrize("bad", [np.full((5, 2), np.nan, np.float32), np.ones((5, 2), np.float32)])
def test_points_without_extent_are_refused(bad) -> None:
    with pytest.raises(ValueError, match="five points"):
        crop_transform(bad, "cat", 256)


def test_an_identity_crop_returns_the_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    assert np.array_equal(warp_crop(picture, np.float32([[1, 0, 0], [0, 1, 0]]), 64), picture)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_shrinking_averages_instead_of_skipping(factor: int) -> None:
    picture = np.random.default_rng(1).integers(0, 255, (96, 96, 3), np.uint8)
    middle = (factor - 1) / 2
    small = warp_crop(picture, np.float32([[factor, 0, middle], [0, factor, middle]]), 96 // factor)
    mean = cv2.resize(picture, (96 // factor, 96 // factor), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - mean).max() <= 1


def test_labels_are_never_mixed() -> None:
    labels = np.zeros((40, 40), np.uint8)
    labels[10:30, 10:30] = 4
    cut = warp_labels(labels, np.float32([[0.5, 0.1, 5], [-0.1, 0.5, 9]]), 50)
    assert set(np.unique(cut)) <= {0, 4}


def test_coverage_counts_what_lies_inside() -> None:
    whole = np.float32([[1, 0, 0], [0, 1, 0]])
    half = np.float32([[1, 0, -50], [0, 1, 0]])
    assert coverage_frac(whole, 100, 100, 100) == 1
    assert coverage_frac(half, 100, 100, 100) == pytest.approx(0.5, abs=0.02)


def test_one_square_for_a_calm_track_and_its_frames_bounded(media) -> None:
    calm = np.repeat(FACE[None], 9, axis=0) + np.linspace(0, 3, 9)[:, None, None]
    plans = Cropper(side_px=64, max_frames=4)(track_of(calm, media))
    assert [len(p.track.frames) for p in plans] == [4, 4, 1]
    assert all((p.source_from_crop == p.source_from_crop[0]).all() for p in plans)


def test_a_head_that_leaves_its_square_starts_a_new_piece(media) -> None:
    fleeing = np.repeat(FACE[None], 9, axis=0) + np.array([[[0, 0]]] * 5 + [[[150, 0]]] * 4)
    plans = Cropper(side_px=64)(track_of(fleeing, media))
    assert [p.track.frames.tolist() for p in plans] == [[0, 1, 2, 3, 4], [5, 6, 7, 8]]


def test_a_senseless_side_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="side_px"):
        Cropper(side_px=2)
