import numpy as np
import pytest

from evaluation.methods import CopySource, SimilarityWarp, similarity
from evaluation.protocols import PairFrames, Truth

POINTS = np.array([[24, 26], [40, 26], [32, 36], [26, 44], [38, 44]], np.float32)


def moving(shift_px: float, *, points: bool = True) -> PairFrames:
    source = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    driving_points = np.stack([POINTS, POINTS + np.float32([shift_px, 0])])
    return PairFrames(
        source=source,
        driving=np.stack([source, source]),
        truth=Truth(frames=np.stack([source, np.roll(source, int(shift_px), axis=1)]), species="cat"),
        source_points=POINTS if points else None,
        driving_points=driving_points if points else None,
    )


def test_the_copy_is_the_source() -> None:
    pair = moving(3)
    assert all(np.array_equal(frame, pair.source) for frame in CopySource()(pair))


def test_a_similarity_is_recovered_from_points() -> None:
    angle, zoom = 0.4, 1.3
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = similarity(POINTS, POINTS @ turn.T + (5, -2))
    assert np.allclose(matrix, np.concatenate([turn, [[5], [-2]]], axis=1), atol=1e-5)


def test_the_warp_follows_the_drivers_points() -> None:
    pair = moving(4)
    result = SimilarityWarp()(pair)
    assert np.array_equal(result[0], pair.source)
    assert np.array_equal(result[1][:, 4:], pair.source[:, :-4])


def test_without_points_the_warp_is_the_copy() -> None:
    pair = moving(4, points=False)
    assert np.array_equal(SimilarityWarp()(pair)[1], pair.source)


@pytest.mark.parametrize("zoom", [0.5, 2.0])
def test_the_drivers_size_does_not_matter(zoom) -> None:
    pair = moving(4)
    middle = POINTS.mean(axis=0)
    larger = (pair.driving_points - middle) * np.float32(zoom) + middle
    result = SimilarityWarp()(pair._replace(driving_points=larger.astype(np.float32)))
    assert np.array_equal(result[1][:, 4:], pair.source[:, :-4])
