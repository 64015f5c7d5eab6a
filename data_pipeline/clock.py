"""A media file -> when each native frame is shown; times -> frames, and frames at a constant rate."""

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from data_pipeline import media, photo
from data_pipeline.container import VideoError, opened, packet_times
from data_pipeline.frame_rate import timing_of
from data_pipeline.media import MediaError
from data_pipeline.records import MediaItem, Track

MAX_STILL_S = 1.0
"""A picture that is shown for longer is no motion: the clip ends there."""

_EVEN_PERIODS = 0.4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clock:
    """When native frames are shown."""

    fps: float
    """The constant rate that does the file justice."""
    is_variable: bool
    """Frame i at i / fps would be shown when it was not meant."""
    times_s: Float64[np.ndarray, " N"]
    """After the first frame; may be shorter than the file where its clock is broken."""

    def frame_at(self, time_s: float) -> int:
        """The first native frame that is shown less than half a period before this time, or later."""
        if np.isinf(time_s) or not len(self.times_s) or not self.is_variable:
            return round(time_s * self.fps) if np.isfinite(time_s) else np.iinfo(np.int64).max
        if time_s > self.times_s[-1]:
            return len(self.times_s) + round((time_s - self.times_s[-1]) * self.fps)
        return int(np.searchsorted(self.times_s, time_s - 0.5 / self.fps))

    def at(self, count: int) -> Float64[np.ndarray, " N"]:
        """Times of the first `count` native frames; what the file does not say goes on at the rate."""
        known = self.times_s[:count]
        start = known[-1] + 1 / self.fps if len(known) else 0.0
        return np.concatenate([known, start + np.arange(count - len(known)) / self.fps])


def read_clock(item: MediaItem) -> Clock:
    """Look when the frames of a file are shown; of a video nothing is decoded.

    Raises:
        MediaError: the file cannot be read.
    """
    if item.kind == "image":
        return Clock(fps=0.0, is_variable=False, times_s=np.zeros(1))
    try:
        if not photo.is_photo(item.path):
            return _video_clock(item.path, item.fps)
        timing = media.read_timing(item.path)
        times = [float(one.time_s) for one in photo.read_timed_animation(item.path)] if timing.is_variable else []
    except (photo.PhotoError, VideoError) as error:
        raise MediaError(str(error)) from error
    return Clock(fps=float(timing.fps), is_variable=timing.is_variable, times_s=np.array(times, np.float64))


def _video_clock(path: Path, stated_fps: float) -> Clock:
    with opened(path) as container:
        stream = container.streams.video[0]
        shown_at = sorted(packet_times(container, stream))  # `Clock.at` goes on at the rate behind damage
        if not shown_at:
            return Clock(fps=stated_fps, is_variable=False, times_s=np.zeros(0))
        base = Fraction(stream.time_base)
    ticks = np.array([at for at, _ in shown_at], np.int64)
    since = (ticks - ticks[:1]) * float(base)
    # Most files are even within half a period; exact fractions take a tenth of the time of decoding.
    if np.abs(since * stated_fps - np.arange(len(since))).max(initial=0.0) <= _EVEN_PERIODS:
        return Clock(fps=stated_fps, is_variable=False, times_s=since)
    times, last_s = [at * base for at, _ in shown_at], shown_at[-1][1] * base
    timing = timing_of(times, last_s, Fraction(stated_fps).limit_denominator(1_000_000))
    fps = float(timing.fps) if timing.is_variable else stated_fps
    return Clock(fps=fps, is_variable=timing.is_variable, times_s=since)


def at_constant_rate(track: Track, times_s: Float64[np.ndarray, " N"], fps: float) -> list[Track]:
    """A track of native frames -> tracks whose frames, played at `fps`, are shown when they were meant.

    Frames are repeated and left out, never mixed: each place of the grid gets the native frame nearest in time.
    `frames` keeps the native numbers. Where one picture is shown for more than a second, a new track begins.

    Args:
        track: of native frames.
        times_s: when each native frame of the file is shown.
        fps: the rate of the clip.
    """
    at = times_s[track.frames]
    ends = np.flatnonzero(np.diff(at) > MAX_STILL_S) + 1
    found = []
    for rows in np.split(np.arange(len(at)), ends):
        grid = at[rows[0]] + np.arange(round(float(at[rows[-1]] - at[rows[0]]) * fps) + 1) / fps
        found.append(taken(track, rows[_nearest(at[rows], grid)]))
    return found


def _nearest(times_s: np.ndarray, grid: np.ndarray) -> Int64[np.ndarray, " T"]:
    return np.searchsorted((times_s[1:] + times_s[:-1]) / 2, grid).astype(np.int64)


def taken(track: Track, rows: Int64[np.ndarray, " T"]) -> Track:
    """The given rows of a track, in their order."""
    return replace(
        track, frames=track.frames[rows], boxes=track.boxes[rows], points=track.points[rows], scores=track.scores[rows]
    )
