from pathlib import Path

import numpy as np
import pytest

from data_pipeline.crop import Cropper, points_in_crop
from data_pipeline.records import CropPlan, MediaItem, Shot, Track

FACE = np.array([[80, 90], [120, 90], [100, 112], [86, 130], [114, 130]], np.float64)
SIDE_PX = 512


def planned(points: np.ndarray, mode: str = "follow") -> list[CropPlan]:
    count = len(points)
    media = MediaItem(
        path=Path("x"), kind="video", source_id="0", num_frames=count, fps=25.0, height_px=400, width_px=900
    )
    boxes = np.concatenate([points.min(axis=1) - 20, points.max(axis=1) + 20], axis=1)
    track = Track(
        shot=Shot(media=media, start=0, stop=count),
        species="cat",
        frames=np.arange(count),
        boxes=boxes.astype(np.float32),
        points=points.astype(np.float32),
        scores=np.ones(count, np.float32),
    )
    return Cropper(mode=mode)(track)  # type: ignore[arg-type]


def zooms(plan: CropPlan) -> np.ndarray:
    return np.hypot(plan.source_from_crop[:, 0, 0], plan.source_from_crop[:, 1, 0])


def test_the_square_of_a_still_head_keeps_still() -> None:
    shake = np.random.default_rng(0).normal(0, 0.25, (100, 5, 2))
    (plan,) = planned(FACE + shake)
    middle = points_in_crop(plan).mean(axis=1) / SIDE_PX
    assert np.sqrt(middle.var(axis=0).sum()) < 0.005, "half a percent of the side"
    assert zooms(plan).std() / zooms(plan).mean() < 0.01


def test_a_blink_does_not_zoom() -> None:
    points = np.repeat(FACE[None], 100, axis=0)
    points[40:46, :2, 1] += 12  # the eyes' points sink
    blinking, still = (zooms(planned(p)[0]) for p in (points, np.repeat(FACE[None], 100, axis=0)))
    assert np.abs(blinking / still - 1).max() < 1e-3


def test_a_walking_head_stays_in_the_middle_of_one_piece() -> None:
    walk = FACE[None] + np.stack([np.linspace(0, 600, 100), 8 * np.sin(np.arange(100) / 9)], axis=1)[:, None]
    (plan,) = planned(walk)
    middle = points_in_crop(plan).mean(axis=1) / SIDE_PX
    assert np.ptp(middle, axis=0).max() < 0.03
    assert len(planned(walk, "fixed")) > 3


def test_a_leaning_head_is_kept_upright() -> None:
    turn = np.deg2rad(np.linspace(-170, 170, 100))
    spin = np.stack([np.stack([np.cos(turn), -np.sin(turn)], 1), np.stack([np.sin(turn), np.cos(turn)], 1)], 1)
    points = (FACE - FACE.mean(axis=0)) @ spin.transpose(0, 2, 1) + [300, 200]
    (plan,) = planned(points)
    inside = points_in_crop(plan)
    assert np.abs(inside[:, 0, 1] - inside[:, 1, 1]).max() < 0.03 * SIDE_PX


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cropper\.mode is 'zoom'; give fixed or follow"):
        getattr(Cropper, "__post_init__")(_with_mode("zoom"))  # noqa: B009


def _with_mode(mode: str) -> Cropper:
    cropper = Cropper()
    object.__setattr__(cropper, "mode", mode)
    return cropper
