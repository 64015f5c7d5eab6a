import numpy as np
import pytest

from finetune.augment import FLIPPED_LANDMARKS, Augment, Frame, compose, mirrored, roll_of, similarity, transform
from finetune.clips import NUM_LANDMARKS

SIDE = 64


def frame_with_dots(points):
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    for index, (x, y) in enumerate(points):
        image[int(y * SIDE), int(x * SIDE)] = 50 + 40 * index
    marks = np.tile(np.linspace(0.1, 0.9, NUM_LANDMARKS, dtype=np.float32)[:, None], (1, 2))
    return Frame(
        image=image, points=np.asarray(points, np.float32), landmarks=marks,
        visible=np.ones(NUM_LANDMARKS, np.float32), eye_open=np.array([0.1, 0.9], np.float32),
        lip_open=np.zeros(1, np.float32), pose_deg=np.array([5, 10, 15], np.float32),
        labels=image[..., 0],
    )  # fmt: skip


POINTS = [(20.5 / 64, 20.5 / 64), (40.5 / 64, 20.5 / 64), (30.5 / 64, 30.5 / 64), (24.5 / 64, 44.5 / 64),
          (36.5 / 64, 44.5 / 64)]  # fmt: skip


def test_mirror_moves_pixels_with_points_and_swaps_sides():
    flipped = mirrored(frame_with_dots(POINTS))
    # The former left eye (viewer's right) is now the viewer's left one, so it comes first.
    x, y = (flipped.points[0] * SIDE).astype(int)
    assert flipped.image[y, x, 0] == 50 + 40 * 1
    assert flipped.points[0, 0] < flipped.points[1, 0]
    assert flipped.eye_open.tolist() == pytest.approx([0.9, 0.1])
    assert flipped.pose_deg.tolist() == [5, -10, -15]
    np.testing.assert_array_equal(flipped.labels, flipped.image[..., 0])


def test_mirror_twice_is_the_identity():
    frame = frame_with_dots(POINTS)
    twice = mirrored(mirrored(frame))
    for name in Frame._fields:
        np.testing.assert_allclose(getattr(twice, name), getattr(frame, name), atol=1e-6)


def test_landmark_order_is_that_of_the_puppets():
    puppets = pytest.importorskip("data_pipeline.puppets")
    np.testing.assert_array_equal(FLIPPED_LANDMARKS, puppets.FLIPPED_LANDMARKS)
    np.testing.assert_array_equal(FLIPPED_LANDMARKS[FLIPPED_LANDMARKS], np.arange(NUM_LANDMARKS))


@pytest.mark.parametrize("side", [32, 64, 128])
def test_pixels_and_points_move_together(side):
    matrix = similarity(1.1, 20.0, np.array([0.03, -0.02]))
    frame = frame_with_dots(POINTS)
    # A blob around one point, wide enough to survive shrinking.
    y, x = np.mgrid[:SIDE, :SIDE]
    blob = np.exp(-((x + 0.5 - 20.5) ** 2 + (y + 0.5 - 20.5) ** 2) / 18)
    frame = frame._replace(image=(np.repeat(blob[..., None], 3, -1) * 255).astype(np.uint8))
    moved = transform(frame, matrix, side, mirror=False)
    weight = moved.image[..., 0].astype(float)
    yy, xx = np.mgrid[:side, :side] + 0.5
    centre = np.array([(xx * weight).sum(), (yy * weight).sum()]) / weight.sum() / side
    np.testing.assert_allclose(centre, moved.points[0], atol=0.6 / side + 0.002)
    assert moved.pose_deg[2] == pytest.approx(35, abs=1e-4)


def test_similarities_compose_and_tell_their_roll():
    first, second = similarity(1.2, 10.0, np.array([0.1, 0])), similarity(0.9, -25.0, np.array([0, 0.05]))
    point = np.array([0.2, 0.7])
    once = first[:, :2] @ point + first[:, 2]
    both = compose(second, first)
    np.testing.assert_allclose(both[:, :2] @ point + both[:, 2], second[:, :2] @ once + second[:, 2])
    assert roll_of(both) == pytest.approx(-15)


def test_colour_is_shared_and_depends_on_the_seed_only():
    augment = Augment(colour=0.3)
    image = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)
    one, two = augment.recolour([image, image.copy()], seed=5)
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, augment.recolour([image], seed=5)[0])
    assert not np.array_equal(one, augment.recolour([image], seed=6)[0])
    assert Augment(colour=0.0).recolour([image], seed=5)[0] is image
