import cv2
import numpy as np
import pytest

from evaluation.methods import SimilarityWarp, ThinPlateWarp
from evaluation.methods.thin_plate import bent, landmarks_of
from evaluation.protocols import PairFrames

SIDE = 96
POINTS = np.float32([[36, 38], [60, 38], [48, 54], [40, 66], [56, 66]])


def smooth_picture() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 255, (12, 12, 3)).astype(np.float32)
    return cv2.resize(noise, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def pair(moved: np.ndarray, points: np.ndarray | None = POINTS, **more) -> PairFrames:
    source = smooth_picture()
    return PairFrames(
        source=source, driving=np.repeat(source[None], 2, axis=0), truth=None, source_points=points,
        driving_points=None if points is None else np.stack([points, moved]).astype(np.float32), **more,
    )  # fmt: skip


def dot(image: np.ndarray, colour: int) -> np.ndarray:
    """Middle of what is brighter than the colour."""
    rows, columns = np.nonzero(image[..., 0] > colour)
    return np.array([columns.mean(), rows.mean()])


def test_each_point_goes_where_it_is_wanted_and_the_border_stays() -> None:
    wanted = POINTS + np.float32([[3, 0], [0, 4], [-2, 2], [0, -3], [4, 1]])
    for start, goal in zip(POINTS, wanted, strict=True):
        image = np.zeros((SIDE, SIDE, 3), np.uint8)
        cv2.circle(image, tuple(int(v) for v in start), 2, (255, 255, 255), -1)
        image[0, :] = image[-1, :] = image[:, 0] = image[:, -1] = 90
        made = bent(image, POINTS, wanted)
        assert np.linalg.norm(dot(made, 128) - goal) < 0.6
        assert all(np.abs(made[r, c].astype(int) - 90).max() <= 3 for r, c in ((0, 0), (0, -1), (-1, 0), (-1, -1)))


def test_expression_moves_what_a_similarity_cannot() -> None:
    mouth_open = POINTS + np.float32([[0, 0], [0, 0], [0, 0], [-4, 5], [4, 5]])
    given = pair(mouth_open)
    made = ThinPlateWarp()(given)
    assert made.shape == given.driving.shape
    assert np.array_equal(made[0], given.source)
    eyes, mouth = (slice(28, 44), slice(30, 66)), (slice(60, 76), slice(34, 62))
    change = np.abs(made[1].astype(int) - given.source)
    assert change[mouth].mean() > 3 * change[eyes].mean()
    stiff = np.abs(SimilarityWarp()(given)[1].astype(int) - given.source)
    assert stiff[eyes].mean() > change[eyes].mean()


def test_dense_landmarks_are_preferred_and_unknown_ones_left_out() -> None:
    dense = np.random.default_rng(1).uniform(20, 76, (9, 2)).astype(np.float32)
    moving = np.stack([dense, dense + 1])
    moving[1, 4] = np.nan
    found = landmarks_of(pair(POINTS, source_landmarks=dense, driving_landmarks=moving))
    assert found is not None
    assert [len(found[0]), found[1].shape] == [8, (2, 8, 2)]
    other_layout = landmarks_of(pair(POINTS, source_landmarks=dense[:6], driving_landmarks=moving))
    assert np.array_equal(other_layout[0], POINTS)


def test_points_that_meet_are_borne_and_unknown_points_leave_the_source() -> None:
    lips = np.float32([[40, 60], [48, 58], [56, 60], [48, 66]])
    closed = lips.copy()
    closed[3] = closed[1]
    given = pair(POINTS, source_landmarks=lips, driving_landmarks=np.stack([lips, closed]))
    assert np.isfinite(ThinPlateWarp()(given).astype(float)).all()
    unknown = pair(POINTS, points=None)
    assert np.array_equal(ThinPlateWarp()(unknown)[1], unknown.source)


@pytest.mark.parametrize("zoom", [0.5, 2.0])
def test_the_drivers_size_does_not_matter(zoom) -> None:
    given = pair(POINTS + np.float32([2, 1]))
    middle = POINTS.mean(axis=0)
    scaled = ((given.driving_points - middle) * zoom + middle).astype(np.float32)
    made = ThinPlateWarp()(given._replace(driving_points=scaled))
    assert np.abs(made.astype(int) - ThinPlateWarp()(given)).mean() < 0.5
