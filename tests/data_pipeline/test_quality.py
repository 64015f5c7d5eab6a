from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_pipeline.quality import QualityGate, head_patch, measure
from data_pipeline.records import Crop, CropPlan, MediaItem, Quality, Shot, Track

POINTS = np.array([[40, 50], [88, 50], [64, 70], [48, 90], [80, 90]], np.float32)


def crop_of(frames: np.ndarray, shift: float = 0.0, side: float = 90.0, offset: float = 0.0) -> Crop:
    count, height, width = frames.shape[:3]
    media = MediaItem(
        path=Path("x"), kind="video", source_id="0", num_frames=count, fps=25.0, height_px=height, width_px=width
    )
    move = np.arange(count)[:, None, None] * np.array([shift, 0])
    track = Track(
        shot=Shot(media=media, start=0, stop=count),
        species="cat",
        frames=np.arange(count),
        boxes=np.tile(np.float32([10, 10, 10 + side, 10 + side + 5]), (count, 1)),
        points=(POINTS[None] + move).astype(np.float32),
        scores=np.full(count, 0.8, np.float32),
    )
    transform = np.tile(np.float32([[1, 0, offset], [0, 1, 0]]), (count, 1, 1))
    return Crop(plan=CropPlan(track=track, source_from_crop=transform, side_px=128), frames=frames)


def noise(count: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (count, 128, 128, 3), np.uint8)


def test_blur_lowers_sharpness_and_light_is_measured() -> None:
    sharp = noise()
    blurred = np.stack([cv2.GaussianBlur(f, (0, 0), 3) for f in sharp])
    assert measure(crop_of(sharp)).sharpness > 20 * measure(crop_of(blurred)).sharpness
    flat = measure(crop_of(np.full((2, 128, 128, 3), 77, np.uint8)))
    assert flat.luminance == pytest.approx(77, abs=1)
    assert flat.contrast == 0


def test_motion_coverage_and_size_are_in_their_units() -> None:
    quality = measure(crop_of(noise(), shift=3, side=70, offset=-32))
    assert quality.motion_px == pytest.approx(3, abs=1e-3)
    assert quality.coverage_frac == pytest.approx(0.75, abs=0.02)
    assert quality.min_side_px == pytest.approx(70)


def test_a_still_has_no_motion() -> None:
    assert measure(crop_of(noise(1))).motion_px == 0


GOOD = Quality(
    min_side_px=200.0, sharpness=90.0, luminance=120.0, contrast=50.0, motion_px=2.0, coverage_frac=1.0, score=0.9
)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("min_side_px", 20.0, "small"),
        ("sharpness", 1.0, "blurred"),
        ("luminance", 3.0, "dark"),
        ("luminance", 253.0, "bright"),
        ("contrast", 2.0, "contrast"),
        ("motion_px", 90.0, "wild"),
        ("coverage_frac", 0.2, "edge"),
        ("score", 0.1, "unsure"),
        ("resolved_px", 12.0, "detail"),
        ("dark_frac", 0.9, "shadows"),
        ("light_frac", 0.9, "highlights"),
        ("frontalness", 0.1, "turned"),
        ("change_grey", 0.2, "still"),
        ("frozen_frac", 0.95, "repeat"),
        ("blockiness", 6.0, "blocks"),
        ("text_frac", 0.1, "writing"),
        ("bars_frac", 0.6, "bars"),
        ("people_frac", 0.5, "people"),
    ],
)
def test_each_check_names_its_reason(field: str, value: float, reason: str) -> None:
    gate = QualityGate()
    assert gate.reasons(GOOD, 256, 10, is_video=True) == []
    (found,) = gate.reasons(replace(GOOD, **{field: value}), 256, 10, is_video=True)
    assert reason in found


def test_the_switched_off_checks_work_when_asked_for() -> None:
    gate = QualityGate(max_roll_deg=30.0, max_cut_frac=0.5)
    found = gate.reasons(replace(GOOD, roll_deg=-40.0, cut_frac=0.8), 256, 10, is_video=True)
    assert found == ["leans too far", "head's box at the picture's edge"]


def test_stills_are_not_asked_to_move() -> None:
    still = replace(GOOD, change_grey=0.0, frozen_frac=1.0)
    assert QualityGate().reasons(still, 256, 1, is_video=False) == []


def test_patches_are_source_pixels_on_the_block_grid() -> None:
    frame = np.random.default_rng(0).integers(0, 255, (300, 500, 3), np.uint8)
    patch = head_patch(frame, np.float32([105, 43, 205, 143]))
    assert np.array_equal(patch, cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[40:143, 104:205])
    assert head_patch(np.zeros((900, 900, 3), np.uint8), np.float32([0, 0, 900, 900])).shape <= (392, 392)
    assert min(head_patch(frame, np.float32([498, 298, 500, 300])).shape) > 0


def test_new_scores_are_measured_from_the_crop() -> None:
    frames = np.repeat(noise(1), 5, axis=0)
    found = measure(replace(crop_of(frames), bars_px=(32, 0, 0, 0)))
    assert found.frozen_frac == 1
    assert found.change_grey == pytest.approx(0, abs=0.1)
    assert found.bars_frac == pytest.approx(0.25)
    assert found.resolved_px <= found.min_side_px
    assert found.roll_deg == pytest.approx(0, abs=1e-3)


def test_old_records_without_the_new_scores_pass() -> None:
    assert QualityGate().reasons(GOOD, 256, 10, is_video=True) == []


def test_only_videos_can_be_too_short() -> None:
    assert QualityGate().reasons(GOOD, 256, 1, is_video=False) == []
    assert QualityGate().reasons(GOOD, 256, 1, is_video=True) == ["too short"]
