import numpy as np
import pytest

from data_pipeline.measures.pose import FRONTAL_EYE_RATIO, pose


def head(yaw_deg: float = 0.0, roll_deg: float = 0.0) -> np.ndarray:
    """Five points in space whose frontal view is a cat's, turned and projected."""
    half = FRONTAL_EYE_RATIO["cat"] / 2 * 60
    space = np.array([[-half, 0, 0], [half, 0, 0], [0, 35, -30], [-15, 60, 0], [15, 60, 0]], np.float64)
    a, r = np.radians(yaw_deg), np.radians(roll_deg)
    x = space[:, 0] * np.cos(a) + space[:, 2] * np.sin(a)
    flat = np.stack([x, space[:, 1]], axis=1)
    turn = np.array([[np.cos(r), -np.sin(r)], [np.sin(r), np.cos(r)]])
    return (flat @ turn.T + 100).astype(np.float32)[None]


def test_a_frontal_head() -> None:
    found = pose(head(), "cat")
    assert found.yaw_frac == pytest.approx(0, abs=1e-4)
    assert found.frontalness == pytest.approx(1, abs=1e-4)
    assert found.eye_ratio == pytest.approx(FRONTAL_EYE_RATIO["cat"], rel=1e-4)


@pytest.mark.parametrize("yaw", [-60.0, -30.0, 30.0, 60.0])
def test_turning_follows_the_geometry(yaw: float) -> None:
    found = pose(head(yaw), "cat")
    half = FRONTAL_EYE_RATIO["cat"] / 2 * 60
    assert found.yaw_frac == pytest.approx(abs(30 * np.tan(np.radians(yaw))) / half, rel=1e-3)
    assert found.eye_ratio == pytest.approx(FRONTAL_EYE_RATIO["cat"] * np.cos(np.radians(yaw)), rel=1e-3)
    assert found.frontalness < pose(head(yaw / 2), "cat").frontalness < 1


@pytest.mark.parametrize("roll", [-90.0, -20.0, 35.0, 170.0])
def test_roll_is_measured_and_changes_nothing_else(roll: float) -> None:
    found = pose(head(20, roll), "cat")
    assert found.roll_deg == pytest.approx(roll, abs=1e-3)
    assert found.frontalness == pytest.approx(pose(head(20), "cat").frontalness, abs=1e-4)


def test_points_on_one_spot_are_finite() -> None:
    assert np.isfinite(pose(np.zeros((1, 5, 2), np.float32), "dog")).all()
