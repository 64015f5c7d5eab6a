import math

import numpy as np
import pytest

from evaluation.metrics.following import (
    FEWEST_FRAMES,
    best_lag,
    commanded_values,
    driver_correlations,
    landmark_error_percent,
    motion_errors,
    pearson,
    pooled_correlation,
)
from evaluation.metrics.signals import Signals

T = 40


def sine(period_frames: float = 17, shift_frames: float = 0, size: float = 10) -> np.ndarray:
    return (size * np.sin((np.arange(T) - shift_frames) * 2 * np.pi / period_frames)).astype(np.float32)


def signals(**given: np.ndarray) -> Signals:
    still = np.zeros(T, np.float32)
    return Signals(**{name: given.get(name, still) for name in Signals._fields})


def test_correlation_agrees_with_numpy() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 50)).astype(np.float32)
    assert pearson(a, b) == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-6)
    assert pearson(a, 3 * a + 7) == pytest.approx(1)
    assert pearson(a, -a) == pytest.approx(-1)


@pytest.mark.parametrize("k", range(-5, 6))
def test_a_sine_that_is_late_by_k_frames_has_the_lag_k(k: int) -> None:
    lag = best_lag(sine(), sine(shift_frames=k))
    assert lag.told == k
    assert lag.correlation == pytest.approx(1, abs=1e-3)
    values = driver_correlations(signals(yaw_deg=sine()), signals(yaw_deg=sine(shift_frames=k)))
    assert values["yaw_lag"] == k
    assert values["yaw_corr"] == pytest.approx(math.cos(2 * np.pi * k / 17), abs=0.1)


def test_a_mirrored_turn_is_minus_one_and_has_no_lag_of_its_own() -> None:
    driver = signals(yaw_deg=sine(period_frames=60))
    values = driver_correlations(driver, signals(yaw_deg=-driver.yaw_deg))
    assert values["yaw_corr"] == pytest.approx(-1)
    assert math.isnan(values["yaw_lag"])


def test_a_frozen_result_follows_nothing_and_a_still_driver_is_not_measured() -> None:
    values = driver_correlations(signals(yaw_deg=sine(), lips=sine(size=0.02)), signals())
    assert values["yaw_corr"] == 0
    assert math.isnan(values["yaw_lag"])
    assert math.isnan(values["lips_corr"]), "the lips of the driver hardly move"
    assert math.isnan(values["roll_corr"])


def test_both_eyes_count_and_noise_has_no_lag() -> None:
    wink = signals(right_eye=0.3 + sine(size=0.2), left_eye=np.full(T, 0.3, np.float32))
    assert driver_correlations(wink, wink)["eyes_corr"] == pytest.approx(1)
    noise = np.random.default_rng(3).normal(0, 0.1, T).astype(np.float32)
    noisy = driver_correlations(wink, signals(right_eye=noise, left_eye=noise))
    assert abs(noisy["eyes_corr"]) < 0.4
    assert math.isnan(noisy["eyes_lag"])


def test_frames_without_a_picture_lower_the_correlation() -> None:
    seen = sine()
    unseen = seen.copy()
    unseen[10:20] = np.nan
    values = driver_correlations(signals(yaw_deg=seen), signals(yaw_deg=unseen))
    assert 0.3 < values["yaw_corr"] < 0.95
    assert driver_correlations(signals(yaw_deg=seen), signals(yaw_deg=np.full(T, np.nan, np.float32)))["yaw_corr"] == 0


def test_slow_motion_has_no_clear_lag_and_quick_motion_keeps_it_under_noise() -> None:
    noise = np.random.default_rng(1).normal(0, 0.5, T).astype(np.float32)
    slow, quick = sine(period_frames=300), sine(period_frames=20)
    assert math.isnan(best_lag(slow, slow + noise / 10).told)
    assert best_lag(quick, sine(period_frames=20, shift_frames=2) + noise).told == 2


def test_too_few_frames_are_not_measured() -> None:
    few = Signals(*(np.arange(FEWEST_FRAMES - 1, dtype=np.float32) * 9 for _ in range(6)))
    assert all(math.isnan(value) for value in driver_correlations(few, few).values())


def test_errors_count_from_the_first_frame() -> None:
    true = signals(yaw_deg=sine(), lips=np.linspace(0, 1, T, dtype=np.float32))
    offset = signals(
        yaw_deg=sine() + 4, pitch_deg=np.full(T, 2, np.float32), lips=true.lips + np.float32(0.2),
    )  # fmt: skip
    assert motion_errors(offset, true) == pytest.approx({"pose_error_deg": 0, "eye_error": 0, "lip_error": 0}, abs=1e-5)
    shut = motion_errors(signals(), true)
    assert shut["lip_error"] == pytest.approx(float((true.lips - true.lips[0])[1:].mean()))
    assert shut["pose_error_deg"] == pytest.approx(float(np.abs(sine()[1:]).mean()) / 3, rel=1e-4)


def test_what_the_truth_does_not_know_is_no_error() -> None:
    unknown = signals(pitch_deg=np.full(T, np.nan, np.float32))
    values = motion_errors(signals(), unknown)
    assert math.isnan(values["pose_error_deg"])
    assert values["eye_error"] == 0


def test_a_sweep_is_compared_with_what_was_asked_for() -> None:
    asked = np.linspace(0, 0.8, T, dtype=np.float32)
    right = commanded_values(asked, asked)
    assert right == pytest.approx({"commanded_corr": 1, "commanded_error": 0}, abs=1e-6)
    half = commanded_values(asked / 2, asked)
    assert half == pytest.approx({"commanded_corr": 1, "commanded_error": 0.2}, abs=1e-4)
    assert commanded_values(np.full(T, 0.4, np.float32), asked)["commanded_corr"] == 0


def test_landmarks_are_compared_in_face_sizes() -> None:
    true = np.zeros((3, 70, 2), np.float32)
    true[:, [36, 39]] = [40, 50]
    true[:, [42, 45]] = [80, 50]
    true[:, [48, 54]] = [60, 90]
    assert landmark_error_percent(true + np.float32(4) * np.array([1, 0], np.float32), true) == pytest.approx(10)
    assert math.isnan(landmark_error_percent(np.full_like(true, np.nan), true))


def test_series_that_move_more_count_more() -> None:
    wanted = np.stack([sine(), sine(size=0.1)], axis=1)
    assert pooled_correlation(wanted, wanted * [1, -1]) > 0.99
    assert pooled_correlation(wanted, wanted * [-1, 1]) < -0.99
