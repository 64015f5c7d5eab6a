import numpy as np
import pytest

from evaluation.metrics.experts import ExpertDistance, angle_deg, mean_l1
from evaluation.protocols.pairs import PairFrames, Truth

POINTS = np.array([[24, 26], [40, 26], [32, 36], [26, 44], [38, 44]], np.float32)


class Brightness:
    """An expression network: one number per colour."""

    side_px, template = 32, None

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        return (pictures[:, 8:24, 8:24].mean(axis=(1, 2)) / 255).astype(np.float32)


def clip(value: int, T: int = 3) -> np.ndarray:
    return np.full((T, 64, 64, 3), value, np.uint8)


def pair() -> PairFrames:
    points = np.repeat(POINTS[None], 3, 0)
    return PairFrames(
        source=clip(51)[0], driving=clip(102), truth=Truth(frames=clip(51), species="cat", points=points),
        source_points=POINTS, driving_points=points, species="cat", driver_species="human",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["aed", "apd"])
def test_the_distance_is_taken_to_the_driver(name) -> None:
    measure = ExpertDistance(name, {"cat": Brightness(), "human": Brightness()})
    assert measure(clip(102), pair()) == pytest.approx({name: 0})
    assert measure(clip(51), pair()) == pytest.approx({name: 0.2}, abs=1e-6)


def test_both_species_need_a_network() -> None:
    assert ExpertDistance("aed", {"cat": Brightness()})(clip(102), pair()) == {}
    nothing = ExpertDistance("gaze_mae", {})
    assert nothing(clip(102), pair()) == {}
    assert "gaze network" in nothing.missing()["gaze_mae"]
    assert ExpertDistance("aed", {"cat": Brightness()}).missing() == {}


def test_frames_without_a_head_on_either_side_cannot_be_compared() -> None:
    measure = ExpertDistance("aed", {"cat": Brightness(), "human": Brightness()}, lambda frames: [[] for _ in frames])
    assert measure(clip(102), pair()) == {}


def test_angles_between_directions() -> None:
    ahead, aside = np.array([0, 0], np.float32), np.array([0, np.pi / 2], np.float32)
    assert angle_deg(ahead, ahead) == pytest.approx(0)
    assert angle_deg(ahead, aside) == pytest.approx(90)
    assert angle_deg(np.array([0.1, 0], np.float32), ahead) == pytest.approx(np.degrees(0.1), rel=1e-5)
    assert angle_deg(np.array([0, 0, 2], np.float32), np.array([0, 3, 3], np.float32)) == pytest.approx(45)
    with pytest.raises(ValueError, match="2 or 3 numbers, not 4"):
        angle_deg(np.zeros(4, np.float32), np.zeros(4, np.float32))


def test_vectors_that_mean_different_things_are_refused() -> None:
    with pytest.raises(ValueError, match="give 3 and 4 numbers"):
        mean_l1(np.zeros(3, np.float32), np.zeros(4, np.float32))
