from fractions import Fraction

import numpy as np
import pytest
import torch

from evaluation import Animator
from evaluation.driving import DrivingOptions


@pytest.fixture
def animator(tiny_weights, find_head) -> Animator:
    return Animator.from_pretrained(tiny_weights, detector=find_head, device="cpu", batch_frames=3)


def test_a_photo_moves_for_as_long_as_the_driver(animator, picture, driving_video) -> None:
    animation = animator.animate(picture(120, 90), driving_video(11))
    frames = list(animation)
    assert len(frames) == 11
    assert all(frame.shape == (200, 260, 3) and frame.dtype == np.uint8 for frame in frames)
    assert animation.fps == Fraction(30000, 1001)
    assert animation.audio_from is not None


def test_only_the_square_around_the_head_changes(animator, picture, driving_video) -> None:
    image = picture(120, 90, 20)
    frame = next(iter(animator.animate(image, driving_video(2))))
    changed = (frame != image).any(axis=2)
    assert changed[90, 120]
    assert not changed[:, 200:].any()


def test_without_paste_back_the_crop_comes_out(animator, picture, driving_video) -> None:
    step = next(animator.animate(picture(120, 90), driving_video(2), pasteback=False).steps())
    assert step.frame.shape == (animator.engine.output_px,) * 2 + (3,)
    assert step.driving.shape == (animator.engine.input_px,) * 2 + (3,)


def test_frames_are_made_one_batch_at_a_time(animator, picture) -> None:
    """An hour-long driver must not be decoded further than what has been asked for."""
    read = []

    def endless():
        while True:
            read.append(1)
            yield picture(130, 100, height=64, width=64)

    result = animator.engine.animate(picture(30, 30, height=64, width=64), endless(), DrivingOptions())
    for _ in range(7):
        next(result)
    assert len(read) <= 9
    result.close()


def test_untrained_stitching_changes_nothing(animator, picture, driving_video) -> None:
    path = driving_video(4)
    with_it, without = (list(animator.animate(picture(120, 90), path, stitching=value)) for value in (True, False))
    assert all(np.array_equal(a, b) for a, b in zip(with_it, without, strict=True))


def test_the_batch_size_does_not_change_the_frames(tiny_weights, find_head, picture, driving_video) -> None:
    path = driving_video(5)
    results = [
        np.stack(list(Animator.from_pretrained(tiny_weights, detector=find_head, device="cpu", batch_frames=n).animate(
            picture(120, 90), path)))
        for n in (1, 4)
    ]  # fmt: skip
    assert np.abs(results[0].astype(int) - results[1]).max() <= 1


def test_a_driving_photo_gives_one_frame(animator, picture) -> None:
    animation = animator.animate(picture(120, 90), picture(130, 100)[None])
    assert animation.footage.is_still
    assert len(list(animation)) == 1


def test_the_first_frame_of_relative_motion_shows_the_source_as_the_network_sees_it(animator, picture) -> None:
    frames = np.stack([picture(130, 100), picture(140, 100)])
    engine = animator.engine
    animation = animator.animate(picture(120, 90), frames, pasteback=False)
    prepared = engine.prepare(animation.source.crop)
    with torch.inference_mode():
        at_rest = next(engine.render(prepared, prepared.x_s))
    assert np.abs(next(iter(animation)).astype(int) - at_rest).max() <= 1


def test_without_detector_and_box_a_way_out_is_named(tiny_weights, picture) -> None:
    animator = Animator.from_pretrained(tiny_weights, detector=None, device="cpu")
    with pytest.raises(ValueError, match=r"give source_box=\[x0,y0,x1,y1\] or"):
        animator.animate(picture(120, 90), picture(130, 100)[None])


def test_crops_of_another_size_are_refused(animator) -> None:
    with pytest.raises(ValueError, match="the crops are 40x40 px; these weights read 64x64"):
        animator.engine.prepare(np.zeros((40, 40, 3), np.uint8))
