from fractions import Fraction
from functools import partial
from itertools import islice

import numpy as np
import pytest
import torch

from evaluation.animator import Animation
from evaluation.driving import EYE_KEYPOINTS, LIP_KEYPOINTS, DrivingOptions, drive_image, posed
from evaluation.reference import choose_reference
from evaluation.retarget import eyes_delta, finished
from evaluation.smoothing import smooth_motion
from tests.evaluation.small_photo import SOURCE, WHOLE, Read, moved_photo, near
from tests.evaluation.stand_ins import ball_picture, small_driver


@pytest.fixture
def moved(lively):
    return partial(moved_photo, lively)


@pytest.fixture
def read(lively) -> Read:
    return Read(lively)


@pytest.mark.parametrize("options", [{}, {"driving_option": "pose-friendly"}, {"relative": False}, {"region": "exp"}])
def test_the_photo_follows_the_driving_rules(moved, keypoints, read, options) -> None:
    frames = small_driver(8)
    names = {"driving_option": "balance"}
    rules = DrivingOptions(**{names.get(name, name): value for name, value in options.items()})
    assert near(keypoints(moved(frames, **options)), read.driven(read.driver(frames), rules))


def test_the_chosen_reference_shows_the_source_at_rest(moved, keypoints, read) -> None:
    frames = small_driver(8)
    frames[2:5] = frames[3]
    frames[5] = SOURCE
    motion = read.driver(frames)
    neutral = choose_reference(motion, "neutral")
    assert neutral == 3
    for reference, at in (("first", 0), (3, 3), ("closest", 5), ("neutral", neutral)):
        x_d = keypoints(moved(frames, reference=reference))
        away = (x_d - read.x_s).abs().amax(dim=(1, 2))
        assert away[at] < 1e-5
        assert away[(at + 4) % 8] > 1e-3
    with pytest.raises(ValueError, match="reference=8 is not a frame: the driver has 8; give a number from 0 to 7"):
        list(moved(frames, reference=8))


def test_one_euro_in_pieces_is_one_euro_on_the_whole(moved, keypoints, read) -> None:
    frames = small_driver(10)
    in_pieces = keypoints(moved(frames, smoothing="one-euro"))
    assert near(in_pieces, keypoints(moved(frames, smoothing="one-euro", reference=0)))  # which looks ahead
    smooth = smooth_motion(read.driver(frames), "one-euro", Fraction(10))
    assert near(in_pieces, read.driven(smooth))
    assert not near(in_pieces, keypoints(moved(frames)), 1e-3)


def test_kalman_smooths_a_photos_driver_where_it_is_asked_for(moved, keypoints, read) -> None:
    frames = small_driver(8)
    smooth = smooth_motion(read.driver(frames), "kalman", Fraction(10), kalman_variance=1e-4)
    assert near(keypoints(moved(frames, smoothing="kalman", smoothing_variance=1e-4)), read.driven(smooth))
    for smoothing in ("auto", "none"):
        assert near(keypoints(moved(frames, smoothing=smoothing)), read.driven(read.driver(frames)))


def test_the_animal_rules_are_upstreams_with_stitching_before_the_multiplier(moved, keypoints, read, lively) -> None:
    frames = small_driver(6)
    rules = DrivingOptions(rules="animal", multiplier=1.75)
    x_d = read.driven(read.driver(frames), rules)
    stitched = finished(read.x_s.expand_as(x_d), x_d, lively.engine.corrections.stitch, 1.75)
    assert near(keypoints(moved(frames, rules="animal", multiplier=1.75, stitching=True)), stitched, 1e-4)


def test_the_stitched_animal_rules_stitch_what_is_shown(moved, keypoints, read, monkeypatch, lively) -> None:
    frames = small_driver(6)
    plain = read.driven(read.driver(frames), DrivingOptions(rules="animal-stitched"))
    given = []

    def stitch(x_s: torch.Tensor, x_d: torch.Tensor) -> torch.Tensor:
        given.append((x_s, x_d))
        return x_d + 0.5

    monkeypatch.setattr(lively.engine.corrections, "stitch", stitch)
    x_d = keypoints(moved(frames, rules="animal-stitched", multiplier=2.0, stitching=True))
    amplified = read.x_s + 2 * (plain - read.x_s)
    assert near(torch.cat([one for _, one in given]), amplified)
    assert near(torch.cat([one for one, _ in given]), read.x_s.expand_as(plain))
    assert near(x_d, amplified + 0.5)


@pytest.mark.parametrize("rules", ["human", "animal", "animal-stitched"])
def test_a_driver_at_rest_leaves_the_source_as_it_is(moved, keypoints, read, rules) -> None:
    still = np.repeat(small_driver(1), 5, axis=0)
    assert near(keypoints(moved(still, rules=rules, multiplier=3.0)), read.x_s)


def test_a_multiplier_of_nothing_shows_the_source(moved, keypoints, read) -> None:
    assert near(keypoints(moved(multiplier=0, stitching=True)), read.x_s)


@pytest.mark.parametrize(("region", "allowed"), [("eyes", EYE_KEYPOINTS), ("lip", LIP_KEYPOINTS)])
def test_a_region_moves_nothing_else(moved, keypoints, read, region, allowed) -> None:
    away = (keypoints(moved(region=region)) - read.x_s).abs().amax(dim=(0, 2))
    others = [k for k in range(21) if k not in allowed]
    assert away[others].max() < 1e-5
    assert away[list(allowed)].min() > 1e-3


def test_a_pose_moves_the_head_as_one(moved, keypoints, read) -> None:
    x_d = keypoints(moved(region="pose", driving_option="pose-friendly"))
    size, own = (points - points.mean(dim=1, keepdim=True) for points in (x_d, read.x_s))
    assert torch.allclose(size.norm(dim=2), own.norm(dim=2).expand(8, 21), atol=0.25)
    assert not near(x_d, read.x_s, 1e-2)


def test_stitching_corrects_every_frame(moved, keypoints, read, lively) -> None:
    plain, stitched = (keypoints(moved(stitching=value)) for value in (False, True))
    assert near(stitched, lively.engine.corrections.stitch(read.x_s.expand_as(plain), plain), 1e-4)
    assert not near(stitched, plain, 1e-3)


def test_a_photo_that_drives_gives_one_frame_counted_from_a_calm_face(moved, keypoints, read) -> None:
    frames = small_driver(1)
    animation = moved(frames)
    assert animation.is_still
    x_d = keypoints(animation)
    driving = read.driver(frames)
    calm = torch.zeros(1, 21, 3)
    assert near(x_d, drive_image(read.source.canonical, read.source.motion, driving, driving, DrivingOptions(), calm))
    assert len(x_d) == 1
    assert not near(x_d, read.x_s, 1e-3)


def two_balls() -> np.ndarray:
    image = ball_picture(60, 100, 25)
    image[:, 130:] = ball_picture(190, 90, 40)[:, 130:]
    return image


def test_all_heads_move_and_nothing_else(lively, find_balls) -> None:
    lively.detector = find_balls
    image, driver = two_balls(), small_driver(5)

    def changed(head) -> np.ndarray:
        animation = lively.animate(image, driver, driving_crop=False, head=head, source_scale=2.5)
        frames = np.stack(list(animation))
        return (frames != image).any(axis=(0, 3))

    left, right, both = changed(0), changed(1), changed("all")
    assert left[100, 60]
    assert not left[:, 125:].any()
    assert right[90, 190]
    assert not right[:, :125].any()
    assert np.array_equal(both, left | right)
    assert np.array_equal(changed("largest"), right)
    with pytest.raises(ValueError, match="the photo: head=2, but there are 2 heads; give largest or 0 to 1"):
        changed(2)


def test_of_all_heads_each_has_its_own_motion(lively, find_balls, keypoints) -> None:
    lively.detector = find_balls
    options = {"driving_crop": False, "multiplier": 0}
    both = lively.animate(two_balls(), small_driver(3), head="all", **options)
    asked = keypoints(both)
    own = [lively.engine.prepare(portrait.crop).x_s for portrait in both.portraits]
    assert len(own) == 2
    assert near(asked[:3], own[0])
    assert near(asked[3:], own[1])
    assert next(both.steps()).result.shape == (128, 128, 3)


def test_without_paste_back_the_crop_comes_out(lively, picture, moves) -> None:
    animation = lively.animate(picture(120, 90), moves(2), driving_crop=False, pasteback=False)
    step = next(animation.steps())
    assert step.frame.shape == step.result.shape == (128, 128, 3)
    assert np.array_equal(step.frame, step.result)
    assert step.source.shape == (64, 64, 3)
    assert step.driving is not None
    assert np.array_equal(step.driving, moves(2)[0])


def test_the_drivers_pictures_are_given_where_they_are_shown(moved) -> None:
    """Also where its motion is known already; without them nothing is decoded again."""
    frames = small_driver(7)
    for options in ({}, {"reference": 2}, {"smoothing": "kalman"}):
        steps = list(moved(frames, **options).steps())
        assert all(np.array_equal(step.driving, frame) for step, frame in zip(steps, frames, strict=True))
    assert all(step.driving is None for step in moved(frames, reference=2).steps(with_driver=False))


def test_no_more_than_four_batches_of_an_endless_driver_are_decoded_ahead(lively, camera) -> None:
    frames = small_driver(4)
    footage, capture = camera(frames[i % 4] for i in range(10**9))
    animation = lively.animate(SOURCE, frames, **WHOLE)
    endless = Animation(
        engine=lively.engine, portraits=animation.portraits, driver=footage,
        driving_from_crop=animation.driving_from_crop, options=animation.options,
    )  # fmt: skip
    shown = iter(endless)
    for number, _ in enumerate(islice(shown, 13), start=1):
        assert capture.num_read <= number + 4 * 3
    shown.close()
    assert capture.num_released == 1


def live(lively, camera, pictures, reader=None, **options) -> Animation:
    footage, _ = camera(pictures)
    animation = lively.animate(SOURCE, small_driver(2), **WHOLE, stitching=False, **options)
    return Animation(
        engine=lively.engine, portraits=animation.portraits, driver=footage,
        driving_from_crop=animation.driving_from_crop, options=animation.options, reader=reader,
    )  # fmt: skip


def test_a_camera_moves_a_photo_as_a_file_does(lively, camera, keypoints, read) -> None:
    frames = small_driver(8)
    x_d = keypoints(live(lively, camera, iter(frames)))
    assert near(x_d, read.driven(read.driver(frames)))
    assert len(keypoints(live(lively, camera, iter(frames), smoothing="one-euro"))) == 8


@pytest.mark.parametrize("options", [{"reference": "neutral"}, {"reference": 3}, {"smoothing": "kalman"}])
def test_what_looks_ahead_is_refused_for_a_camera(lively, camera, options) -> None:
    with pytest.raises(ValueError, match="a camera is live: it needs reference=first and smoothing=none or one-euro"):
        live(lively, camera, iter(small_driver(8)), **options).steps()


def test_before_a_cameras_face_is_seen_eyes_stay_as_they_are(lively, camera, keypoints, read, fake_reader) -> None:
    answers = [None, None, None, None, (0.2, 0.1), None, None, (0.4, 0.1)]
    frames = small_driver(8)
    options = {"eyes": "driver", "source_eyes": 0.3}
    x_d = keypoints(live(lively, camera, iter(frames), fake_reader(answers), **options))
    change = x_d - read.driven(read.driver(frames))
    assert change[:3].abs().max() < 1e-5  # the first batch
    wanted = torch.tensor([0.2, 0.2, 0.2, 0.2, 0.4])[:, None]
    delta = eyes_delta(lively.engine.corrections, read.x_s.expand(5, 21, 3), torch.full((5, 2), 0.3), wanted)
    assert near(change[3:], delta, 1e-4)


def test_the_faces_at_rest_are_posed_keypoints(read) -> None:
    assert near(posed(read.source.canonical, read.source.motion), read.x_s)
