import gc
import pickle
import weakref

import numpy as np
import pytest

from evaluation.metrics.recent import Recent

FRAMES = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)


def counting(recent: Recent[int], *known) -> int:
    """The number of what was kept: how many had been made when it was."""
    made = getattr(recent, "made", 0)

    def make() -> int:
        recent.made = made + 1  # pyright: ignore[reportAttributeAccessIssue] - the test's own counter
        return recent.made  # pyright: ignore[reportAttributeAccessIssue]

    return recent.of(make, *known)


def test_equal_content_is_made_once_whoever_holds_it() -> None:
    recent = Recent[int]()
    assert counting(recent, FRAMES, "cat", None) == 1
    assert counting(recent, FRAMES.copy(), "cat", None) == 1
    assert counting(recent, np.ascontiguousarray(FRAMES[::-1])[::-1], "cat", None) == 1


@pytest.mark.parametrize(
    "other",
    [
        (FRAMES, "dog", None), (FRAMES, "cat", np.zeros(1)), (FRAMES.reshape(4, 2, 3), "cat", None),
        (FRAMES.view(np.int8), "cat", None), (FRAMES + 1, "cat", None), (FRAMES, "cat", "None"),
    ],
)  # fmt: skip
def test_whatever_differs_is_made_anew(other) -> None:
    recent = Recent[int]()
    assert counting(recent, FRAMES, "cat", None) == 1
    assert counting(recent, *other) == 2


def test_pixels_that_change_in_place_are_new_pixels() -> None:
    recent, frames = Recent[int](), FRAMES.copy()
    assert counting(recent, frames) == 1
    frames[0] = 0
    assert counting(recent, frames) == 2


def test_the_longest_unasked_is_forgotten() -> None:
    recent = Recent[int](limit=2)
    assert [counting(recent, name) for name in ("a", "b", "a", "c", "a", "b")] == [1, 2, 1, 3, 1, 4]


def test_it_holds_no_pixels_and_travels() -> None:
    recent, frames = Recent[int](), np.zeros((4, 64, 64, 3), np.uint8)
    counting(recent, frames)
    alive = weakref.ref(frames)
    del frames
    gc.collect()
    assert alive() is None
    assert len(pickle.dumps(recent)) < 1000
