import numpy as np

from evaluation.metrics.regions import (
    head_size_px,
    regions_from_labels,
    regions_from_points,
    regions_of,
    surroundings_from_labels,
    surroundings_from_points,
)
from evaluation.protocols.pairs import Truth

POINTS = np.array([[50, 50], [78, 50], [64, 66], [54, 78], [74, 78]], np.float32)


def labels(shift: int = 0) -> np.ndarray:
    marks = np.zeros((128, 128), np.uint8)
    marks[90:, 20 + shift : 108] = 1
    marks[30:100, 35:93] = 2
    marks[45:55, 45:83] = 3
    marks[74:82, 52:76] = 4
    return marks


def test_exact_regions_follow_the_labels() -> None:
    found = regions_from_labels(labels())
    assert found.face.sum() == 70 * 58  # eyes and mouth are parts of the head
    assert found.eyes.sum() == (10 + 6) * (38 + 6)  # grown by 3 px
    assert found.mouth.sum() == (8 + 6) * (24 + 6)
    assert not (found.background & found.face).any()
    assert found.background[100, 30] == 0  # body is no background


def test_discs_lie_where_the_points_are() -> None:
    found = regions_from_points(POINTS, 128)
    assert found.eyes[50, 50] == found.eyes[50, 78] == 1
    assert found.eyes[78, 64] == 0
    assert found.mouth[78, 64] == 1
    assert found.face[60, 64] == 1
    assert found.background[2, 2] == 1
    assert found.background[60, 64] == 0
    assert head_size_px(POINTS) == 28


def test_without_labels_and_points_there_are_no_regions() -> None:
    frames = np.zeros((2, 16, 16, 3), np.uint8)
    assert regions_of(Truth(frames=frames, species="cat"), 0) is None


def test_surroundings_are_what_stays_in_both_frames() -> None:
    found = surroundings_from_labels(labels(), labels(10))
    assert found.shoulders[110, 25] == 0  # body only in the first frame
    assert found.background[110, 25] == 0
    assert found.shoulders[110, 60] == 1
    assert found.background[5, 5] == 1


def test_without_masks_shoulders_lie_below_the_chin_and_background_does_not() -> None:
    found = surroundings_from_points(POINTS, 128)
    assert found.shoulders[126, 64] == 1
    assert found.background[126, 64] == 0
    assert found.background[2, 64] == 1
    assert not (found.shoulders & found.background).any()
    assert found.shoulders[60, 64] == found.background[60, 64] == 0
