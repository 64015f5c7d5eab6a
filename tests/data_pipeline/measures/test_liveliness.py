import cv2
import numpy as np
import pytest

from data_pipeline.measures.liveliness import change_grey, frozen_frac


def picture(seed: int = 0) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 255, (24, 24), np.uint8)
    return cv2.resize(small, (256, 256), interpolation=cv2.INTER_CUBIC)


def test_repeated_frames_are_counted() -> None:
    frames = np.stack([np.repeat(picture(i)[..., None], 3, axis=2) for i in (0, 0, 1, 1, 1)])
    assert frozen_frac(frames) == 0.75
    assert frozen_frac(frames[:1]) == 0


def test_a_panned_and_zoomed_still_hardly_changes() -> None:
    zooms = [np.float32([[1 + 0.01 * k, 0, -3 * k], [0, 1 + 0.01 * k, -k]]) for k in range(5)]
    moved = [cv2.warpAffine(picture(), zoom, (256, 256)) for zoom in zooms]
    plain = float(cv2.absdiff(moved[0], moved[-1]).mean())
    assert plain > 15
    assert change_grey(moved) < 0.2 * plain


def test_something_that_moves_alone_is_a_change() -> None:
    frames = []
    for k in range(5):
        frame = picture()
        cv2.circle(frame, (80 + 20 * k, 128), 40, 255, -1)
        frames.append(frame)
    assert change_grey(frames) > 5


def test_stills_and_equal_frames_give_zero() -> None:
    assert change_grey([picture()]) == 0
    assert change_grey([picture(), picture()]) == pytest.approx(0, abs=0.1)
    flat = np.full((256, 256), 90, np.uint8)
    assert change_grey([flat, flat + 20]) == 20
