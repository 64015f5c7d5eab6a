import numpy as np
import pytest

from data_pipeline.records import Detection, Species
from evaluation.metrics.faces import ARCFACE_112, aligned, fitted, head_square, located, spread

POINTS = np.array([[50, 50], [78, 50], [64, 66], [54, 78], [74, 78]], np.float32)


def seen(points: np.ndarray, species: Species = "cat", score: float = 0.9) -> Detection:
    return Detection(
        frame=0, species=species, box_xyxy=np.array([30, 30, 98, 98], np.float32), points_xy=points,
        point_scores=np.ones(5, np.float32), score=score,
    )  # fmt: skip


def turned(points: np.ndarray, angle: float, zoom: float) -> np.ndarray:
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return ((points - 64) @ turn.T + 64).astype(np.float32)


def test_a_few_positions_lie_evenly_over_all() -> None:
    assert spread(50, 3) == [0, 24, 49]
    assert spread(3, 8) == [0, 1, 2]
    assert spread(1, 8) == [0]


def test_the_template_is_laid_on_the_points() -> None:
    template = np.array(ARCFACE_112)
    target = (template @ np.array([[0, 1.5], [-1.5, 0]]) + (90, 7)).astype(np.float32)
    square = fitted(ARCFACE_112, target)
    assert np.allclose(template @ square[:, :2].T + square[:, 2], target, atol=1e-3)


@pytest.mark.parametrize("template", [None, ARCFACE_112])
def test_an_aligned_head_does_not_depend_on_turn_and_place(template) -> None:
    import cv2

    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    upright = cv2.resize(noise, (128, 128), interpolation=cv2.INTER_CUBIC)
    matrix = cv2.getRotationMatrix2D((64, 64), -np.degrees(0.4), 0.8)
    rolled = cv2.warpAffine(upright, matrix, (128, 128), flags=cv2.INTER_CUBIC)
    heads = aligned([upright, rolled], [POINTS, turned(POINTS, 0.4, 0.8)], "cat", 48, template)
    middle = heads.pictures[:, 16:32, 16:32].astype(float)
    assert np.abs(middle[0] - middle[1]).mean() < 4
    assert heads.found.all()


def test_our_own_square_holds_the_face_and_little_else() -> None:
    square = head_square(POINTS, "cat", 96)
    inside = (POINTS - square[:, 2]) @ np.linalg.inv(square[:, :2]).T
    assert (inside > 20).all()
    assert (inside < 80).all()


def test_a_frame_without_a_head_is_none_and_another_species_still_counts() -> None:
    frames = [np.zeros((128, 128, 3), np.uint8)] * 3
    found = [[seen(POINTS, "dog"), seen(POINTS + 5, "cat", 0.4)], [], [seen(POINTS, "dog")]]
    points = located(frames, "cat", lambda _: found)
    assert points[0] is not None
    assert points[2] is not None
    assert np.allclose(points[0], POINTS + 5)
    assert points[1] is None
    heads = aligned(frames, points, "cat", 32, None)
    assert heads.found.tolist() == [True, False, True]
    assert heads.pictures.shape == (2, 32, 32, 3)


def test_where_the_detector_finds_nothing_known_points_help() -> None:
    frames = [np.zeros((8, 8, 3), np.uint8)] * 2
    points = located(frames, "cat", lambda _: [[seen(POINTS + 5)], []], [POINTS, POINTS])
    assert points[0] is not None
    assert points[1] is not None
    assert np.allclose(points[0], POINTS + 5)
    assert np.allclose(points[1], POINTS)


def test_without_a_detector_known_points_are_used_and_without_both_none() -> None:
    frames = [np.zeros((8, 8, 3), np.uint8)] * 2
    assert located(frames, "cat", None) == [None, None]
    known = located(frames, "cat", None, [POINTS, POINTS])
    assert known[0] is not None
    assert aligned(frames, [None, None], "cat", 32, None).pictures.shape == (0, 32, 32, 3)
