import numpy as np
import pytest

from data_pipeline.puppets.motion import COLUMN, MOTION_NAMES, NEUTRAL
from evaluation.puppet_levels import FACTOR_COLUMNS, KINDS, PEAK_DEG, Kind, level_motion, level_pictures

FPS = 25.0


def motion(kind: Kind) -> np.ndarray:
    return level_motion(kind, 5, 50, FPS, "x")


def column(code: np.ndarray, name: str) -> np.ndarray:
    return code[:, COLUMN[name]]


@pytest.mark.parametrize("factor", ["pose", "eyes", "mouth"])
def test_a_factor_moves_alone(factor) -> None:
    code = motion(Kind("plain", factor))
    for name in MOTION_NAMES:
        moves = np.ptp(column(code, name)) > 0 or column(code, name)[0] != NEUTRAL[COLUMN[name]]
        assert moves == (name in FACTOR_COLUMNS[factor])
    assert np.array_equal(code[:, COLUMN["jaw"]], column(motion(Kind("plain", "all")), "jaw")) == (factor == "mouth")


def test_large_poses_reach_their_peaks_and_stay_in_range() -> None:
    code = motion(Kind("large_pose", "all"))
    for name, peak_deg in PEAK_DEG.items():
        assert np.abs(column(code, name)).max() == pytest.approx(peak_deg, abs=1e-3)


def test_sides_differ_in_asymmetric_performances_and_the_head_is_calm() -> None:
    plain, code = motion(Kind("plain", "all")), motion(Kind("asymmetric", "all"))

    def difference(which: np.ndarray, part: str) -> float:
        return float(np.abs(column(which, f"{part}_right") - column(which, f"{part}_left")).mean())

    for part in ("lid", "mouth", "brow"):
        assert difference(code, part) > 0.25
        assert difference(code, part) > 2 * difference(plain, part)
    assert np.abs(column(code, "yaw_deg")).max() < np.abs(column(plain, "yaw_deg")).max()


@pytest.mark.parametrize("kind", KINDS)
def test_every_level_is_the_same_each_time_and_begins_as_it_was_filmed(kind, moves) -> None:
    assert np.array_equal(motion(kind), motion(kind))
    frames = moves(12)
    points = np.repeat(np.float32([[[24, 24], [40, 24], [32, 32], [26, 42], [38, 42]]]), 12, axis=0)
    shown = level_pictures(kind, frames, points, 5, "x")
    assert np.array_equal(shown, level_pictures(kind, frames, points, 5, "x"))
    assert np.array_equal(shown[0], frames[0])
    changed = [not np.array_equal(a, b) for a, b in zip(shown, frames, strict=True)]
    assert any(changed) == (kind.level in ("occlusion", "other_light"))
    assert shown.dtype == np.uint8


def test_what_hides_the_driver_comes_and_goes(moves) -> None:
    frames = np.full((20, 64, 64, 3), 30, np.uint8)
    points = np.repeat(np.float32([[[24, 24], [40, 24], [32, 32], [26, 42], [38, 42]]]), 20, axis=0)
    shown = level_pictures(Kind("occlusion", "all"), frames, points, 5, "x")
    hidden = (shown != 30).any(axis=3).mean(axis=(1, 2))
    assert hidden[0] == hidden[-1] == 0
    assert hidden[10] > 0.05
