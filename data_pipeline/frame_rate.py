"""Frames with times -> frames at a constant rate, so that what was filmed unevenly keeps its timing."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

MAX_HOLE_S = 60
"""Larger jumps than this are broken clocks, not still pictures; backwards it is one second."""
USUAL_FPS = (1, 2, 5, 8, 10, 12, 15, 20, 24, 25, 30, 48, 50, 60)
"""An uneven file gets one of these if most of its frames are within a twentieth of it; never more than the last."""


class TimedFrame(NamedTuple):
    """A frame and when it is shown."""

    time_s: Fraction
    """After the first frame."""
    frame: UInt8[np.ndarray, "H W 3"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When the frames of a file are shown, and the constant rate that does them justice."""

    fps: Fraction
    """What the container states, or for an uneven file the rate of most of its frames; 0 for a still."""
    num_frames: int
    """How many frames there are at this rate; 0 when nothing is known."""
    is_variable: bool
    """Playing frame i at i / fps would show frames at other times than were meant."""
    end_s: Fraction
    """When the last frame has been shown, after the first one's time; 0 when nothing is known."""


def timing_of(times_s: Sequence[Fraction], last_s: Fraction, stated_fps: Fraction) -> Timing:
    """Times of all frames -> their timing.

    Args:
        times_s: presentation times in any order.
        last_s: how long the last frame is shown; 0 when unknown.
        stated_fps: what the container says its rate is.
    """
    if len(times_s) < 2:
        return Timing(fps=stated_fps, num_frames=len(times_s), is_variable=False, end_s=last_s)
    ordered = sorted(times_s)
    end_s = ordered[-1] - ordered[0] + last_s
    if not is_uneven(ordered, stated_fps):
        return Timing(fps=stated_fps, num_frames=len(ordered), is_variable=False, end_s=end_s)
    fps = _usual_fps(float(np.median(np.diff(np.array(ordered, np.float64)))))
    num_frames = max(_slot(end_s, fps), _slot(end_s - last_s, fps) + 1)  # the last frame is always shown
    return Timing(fps=fps, num_frames=num_frames, is_variable=True, end_s=end_s)


def _usual_fps(period_s: float) -> Fraction:
    rate = 1 / max(period_s, 1 / USUAL_FPS[-1])
    nearest = min(USUAL_FPS, key=lambda usual: abs(usual - rate))
    return Fraction(nearest if abs(nearest - rate) <= rate / 20 else max(1, round(rate)))


def is_uneven(times_s: Sequence[Fraction], fps: Fraction) -> bool:
    """Whether frames at these rising times would be shown wrongly at a constant rate.

    They would if one was off by more than three frame periods, or if more than a fifth of the intervals were unusual
    and one frame was off by more than half a period. A rounded clock or a dropped frame is neither.
    """
    times = np.array([float(time - times_s[0]) for time in times_s])
    off = np.abs(times * float(fps) - np.arange(len(times))).max()
    intervals = np.diff(times)
    usual = np.median(intervals)
    unusual = np.mean(np.abs(intervals - usual) > 0.25 * usual + 0.0011)  # clocks of 1/1000 s are common
    return bool(off > 3 or (unusual > 0.2 and off > 0.5))


def constant_rate(
    frames: Iterable[tuple[Fraction, UInt8[np.ndarray, "H W 3"]]], fps: Fraction, end_s: Fraction | None = None
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Repeat and drop frames so that number n is the one that belongs to the time n / fps, to half a period.

    Frames that are even already come out unchanged. One frame is held, whatever the length.

    Args:
        frames: times in seconds from the first frame on, and frames.
        fps: the rate of what comes out.
        end_s: when the last frame has been shown; None shows it for one period.

    Raises:
        ValueError: the rate is not positive.
    """
    if fps <= 0:
        raise ValueError(f"fps={fps}: a rate must be above 0 frames a second")
    held, slot, skipped, longest = None, 0, 0, int(MAX_HOLE_S * fps)
    for time_s, frame in frames:
        if held is not None:
            wanted = _slot(time_s, fps) - skipped
            if not slot - fps <= wanted <= slot + longest:  # a broken clock: go on from here
                skipped += wanted - (slot + 1)
                wanted = slot + 1
            for _ in range(slot, wanted):
                yield held
            slot = max(slot, wanted)
        held = frame
    if held is not None:
        stop = slot + 1 if end_s is None else min(_slot(end_s, fps) - skipped, slot + longest)
        for _ in range(slot, max(stop, slot + 1)):
            yield held


def _slot(time_s: Fraction, fps: Fraction) -> int:
    """The frame number nearest to a time; halves go up."""
    return int(time_s * fps + Fraction(1, 2))
