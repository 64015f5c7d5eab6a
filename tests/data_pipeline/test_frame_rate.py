from fractions import Fraction

import numpy as np
import pytest

from data_pipeline.frame_rate import constant_rate, is_uneven, timing_of

FPS = Fraction(30)


def numbered(times_s: list[Fraction]) -> list[tuple[Fraction, np.ndarray]]:
    return [(time_s, np.full((1, 1, 3), i, np.uint8)) for i, time_s in enumerate(times_s)]


def order(times_s: list[Fraction], fps: Fraction, end_s: Fraction | None = None) -> list[int]:
    return [int(frame[0, 0, 0]) for frame in constant_rate(numbered(times_s), fps, end_s)]


def even(count: int, fps: Fraction = FPS) -> list[Fraction]:
    return [i / fps for i in range(count)]


def test_even_frames_come_out_unchanged() -> None:
    assert order(even(20), FPS) == list(range(20))


def test_a_clock_of_milliseconds_changes_nothing() -> None:
    rounded = [Fraction(round(t * 1000), 1000) for t in even(90)]
    assert order(rounded, FPS) == list(range(90))
    assert not is_uneven(rounded, FPS)


@pytest.mark.parametrize(("fps", "expected"), [(Fraction(60), [0, 0, 1, 1, 2]), (Fraction(15), [0, 2])])
def test_another_rate_repeats_or_drops(fps: Fraction, expected: list[int]) -> None:
    assert order(even(3), fps) == expected


def test_each_slot_shows_the_frame_that_belongs_to_it() -> None:
    rng = np.random.default_rng(0)
    times = [Fraction(0)]
    for gap in rng.integers(5, 200, 200):
        times.append(times[-1] + Fraction(int(gap), 1000))
    end = times[-1] + Fraction(1, 10)
    shown = order([Fraction(t) for t in times[:200]], FPS, end)
    for slot, number in enumerate(shown):
        time_s = slot / FPS
        assert times[number] <= time_s + Fraction(1, 2) / FPS  # not before it was filmed, to half a period
        following = times[number + 1] if number + 1 < 200 else end
        assert following > time_s - Fraction(1, 2) / FPS  # and not when the next one should have been there


def test_the_last_frame_is_held_until_the_end() -> None:
    assert order(even(2), FPS, Fraction(5, 30)) == [0, 1, 1, 1, 1]
    assert order(even(2), FPS) == [0, 1]


def test_a_broken_clock_does_not_make_a_million_frames() -> None:
    jump = [*even(3), *[t + 40_000 for t in even(3)]]
    assert order(jump, FPS) == [0, 1, 2, 3, 4, 5]
    back = [*[t + 100 for t in even(3)], *even(3)]
    assert len(order([t - 100 for t in back[:3]] + [t - 50 for t in back[3:]], FPS)) == 6


def test_no_frames_give_no_frames_and_no_rate_is_told() -> None:
    assert order([], FPS) == []
    with pytest.raises(ValueError, match="above 0"):
        order(even(2), Fraction(0))


def test_uneven_is_what_would_be_seen_or_heard() -> None:
    phone = [Fraction(round(t * 1000) + (2 if i % 2 else -2), 1000) for i, t in enumerate(even(60))]
    assert not is_uneven(phone, FPS)  # jitter
    assert not is_uneven([t for i, t in enumerate(even(60)) if i != 30], FPS)  # one frame missing
    slowed = [*even(60), *[2 + i / Fraction(20) for i in range(40)]]
    assert is_uneven(slowed, Fraction(25))  # in low light phones film more slowly


def test_the_rate_of_an_uneven_file_is_that_of_most_frames() -> None:
    times = [*even(20), *[Fraction(20, 30) + i for i in range(4)]]
    timing = timing_of(times, Fraction(1), len(times) / Fraction(14, 3))
    assert timing.is_variable
    assert timing.fps == 30
    assert timing.num_frames == len(order(times, timing.fps, timing.end_s)) == 140


def test_one_frame_is_even() -> None:
    assert timing_of([Fraction(5)], Fraction(1, 30), FPS).num_frames == 1
