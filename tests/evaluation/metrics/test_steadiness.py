import cv2
import numpy as np
import pytest

from evaluation.metrics.steadiness import Steadiness, drifts, unsteadiness
from evaluation.protocols.pairs import PairFrames, Truth

POINTS = np.array([[50, 50], [78, 50], [64, 66], [54, 78], [74, 78]], np.float32)


def sliding(step_px: float, T: int = 6, S: int = 128) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (S // 8, S // 8, 3), dtype=np.uint8)
    wide = cv2.resize(noise, (S, S), interpolation=cv2.INTER_CUBIC)
    moves = [np.array([[1.0, 0, i * step_px], [0, 1, 0]]) for i in range(T)]
    return np.stack([cv2.warpAffine(wide, m, (S, S), borderMode=cv2.BORDER_REFLECT) for m in moves])


def pair(driving: np.ndarray, **known) -> PairFrames:
    return PairFrames(
        source=driving[0], driving=driving, truth=known.pop("truth", None),
        source_points=known.pop("source_points", None), driving_points=None,
    )  # fmt: skip


def test_a_still_video_is_perfectly_steady_and_a_single_frame_says_nothing() -> None:
    still = np.repeat(sliding(0)[:1], 4, axis=0)
    assert unsteadiness(still) == (0, 0)
    assert all(np.isnan(unsteadiness(still[:1])))


def test_motion_is_change_but_hardly_a_warp_error_and_boiling_is_both() -> None:
    moving = unsteadiness(sliding(2))
    noise = np.random.default_rng(1).normal(0, 12, sliding(0).shape)
    boiling = unsteadiness(np.clip(sliding(0) + noise, 0, 255).astype(np.uint8))
    assert moving.change > 0.02
    assert moving.warp_error < 0.3 * moving.change
    assert boiling.warp_error > 2 * moving.warp_error


def test_the_driver_itself_has_no_excess_and_a_frozen_picture_has_less_than_none() -> None:
    driver = sliding(2)
    measure = Steadiness()
    same = measure(driver, pair(driver))
    assert same["flicker_excess"] == same["warp_error"] == 0
    frozen = measure(np.repeat(driver[:1], len(driver), axis=0), pair(driver))
    assert frozen["flicker_excess"] == pytest.approx(-unsteadiness(driver).change)


def test_another_driver_is_read_anew() -> None:
    measure = Steadiness()
    measure(sliding(0), pair(sliding(4)))
    assert measure(sliding(0), pair(sliding(0)))["flicker_excess"] == 0


def test_drift_is_measured_where_the_masks_say() -> None:
    frames = sliding(0, T=3)
    labels = np.zeros((3, 128, 128), np.uint8)
    labels[:, 100:] = 1
    labels[:, 30:90, 40:90] = 2
    truth = Truth(frames=frames, species="cat", labels=labels)
    made = frames.copy()
    made[1:, 100:] = np.clip(made[1:, 100:].astype(int) + 51, 0, 255).astype(np.uint8)
    found = drifts(made, pair(frames, truth=truth))
    assert found["background_drift"] == 0
    assert 0.05 < found["shoulder_drift"] < 0.2 * 2 / 3 + 1e-6
    made = frames.copy()
    made[:, 30:90, 40:90] = 0  # the head may move
    assert drifts(made, pair(frames, truth=truth)) == {"background_drift": 0, "shoulder_drift": 0}


def test_without_masks_the_sources_points_tell_what_is_outside_the_head() -> None:
    frames = sliding(0, T=3)
    made = frames.copy()
    made[:, :10] ^= 255
    found = drifts(made, pair(frames, source_points=POINTS))
    assert found["background_drift"] > 0.05
    assert found["shoulder_drift"] == 0
    assert drifts(made, pair(frames)) == {}
