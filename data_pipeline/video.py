"""Video files and bytes -> RGB frames with their times; decord reads the members that we wrote ourselves."""

import io
from bisect import bisect_left
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8

from data_pipeline.container import VideoError, decoded, decoded_from, name_of, opened, packet_times, shown_ticks
from data_pipeline.frame_rate import TimedFrame, Timing, timing_of
from data_pipeline.video_writer import encode_clip, write_video

__all__ = [
    "DEFAULT_FPS", "VideoError", "VideoInfo", "encode_clip", "is_variable_rate",
    "read_frames", "read_info", "read_member", "read_timed_frames", "read_timestamps", "read_timing", "write_video",
]  # fmt: skip

DEFAULT_FPS = Fraction(25)
"""Used where a container states no rate; what ffmpeg and LivePortrait assume too."""
SEEK_FROM_FRAMES = 48
"""Nearer starts are decoded to, which takes less than looking for a way."""
_REORDERED_FRAMES = 16
"""H.264 and HEVC let at most so many frames be shown before one that is decoded before them."""
Times = Sequence[Fraction] | Sequence[float] | Float64[np.ndarray, "T"]
"""Of frames, in seconds after the first one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo:
    """What a container says about its first video stream."""

    num_frames: int
    """The container's claim; 0 when it makes none. Edit lists make it too high: count what is decoded."""
    fps: Fraction
    height_px: int
    width_px: int
    """Upright size, after `rotation_deg` has been applied."""
    rotation_deg: int
    """Clockwise rotation that reading applies: 0, 90, 180 or 270."""
    has_audio: bool


def read_info(path: Path) -> VideoInfo:
    """Read a video's header and first frame.

    Raises:
        VideoError: not a readable video, or no frame in it.
    """
    with opened(path) as container:
        stream = container.streams.video[0]
        first = next(decoded(container, stream, name_of(path)))
        rotation = int(round(-first.rotation / 90.0) * 90) % 360  # PyAV counts counter-clockwise
        height, width = (first.width, first.height) if rotation % 180 else (first.height, first.width)
        return VideoInfo(
            num_frames=int(stream.frames or 0),
            fps=_stated_fps(stream),
            height_px=height,
            width_px=width,
            rotation_deg=rotation,
            has_audio=bool(container.streams.audio),
        )


def _stated_fps(stream: Any) -> Fraction:  # noqa: ANN401
    rate = stream.average_rate or stream.guessed_rate or DEFAULT_FPS
    return Fraction(rate) if rate > 0 else DEFAULT_FPS


def read_frames(
    source: Path | bytes, start: int = 0, stop: int | None = None, *, times_s: Times | None = None
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Decode frames [start, stop) in order, upright RGB. Memory stays at one frame.

    Frame n is the n-th one that comes when the file is decoded from its start. A far start is reached by seeking where
    the file's own index, or `times_s`, tells which frame is where; else by decoding from the start.
    A damaged or cut-off file gives the frames that decode.

    Args:
        source: a file or its bytes.
        start: the first frame.
        stop: the frame after the last one; None: to the end.
        times_s: of all frames from 0 on, as `read_timed_frames` or `read_timestamps` gave them. With them frame numbers
            are right even in a file of which some frames cannot be decoded, which no index tells.

    Raises:
        VideoError: not a video, or not one frame decodes.
    """
    convert = _Upright()
    for _, frame in _native(source, start, stop, times_s):
        yield convert(frame)


def read_timed_frames(
    source: Path | bytes, start: int = 0, stop: int | None = None, *, times_s: Times | None = None
) -> Iterator[TimedFrame]:
    """`read_frames` with exact presentation times, which count from the file's first frame.

    Raises:
        VideoError: not a video, or not one frame decodes.
    """
    convert = _Upright()
    for time_s, frame in _native(source, start, stop, times_s):
        yield TimedFrame(time_s, convert(frame))


def _native(
    source: Path | bytes, start: int, stop: int | None, times_s: Times | None
) -> Iterator[tuple[Fraction, Any]]:
    """Times after the first frame, and frames [start, stop) as the decoder gives them."""
    if start >= SEEK_FROM_FRAMES and (stop is None or stop > start):
        start, is_done = yield from _sought(source, start, stop, times_s)
        if is_done:
            return
    with opened(source) as container:
        stream = container.streams.video[0]
        period_s, first_s, time_s = 1 / _stated_fps(stream), None, None
        for number, frame in enumerate(decoded(container, stream, name_of(source))):
            if stop is not None and number >= stop:
                return
            time_s = _time_s(frame, Fraction(0) if time_s is None else time_s + period_s)
            first_s = time_s if first_s is None else first_s
            if number >= start:
                yield time_s - first_s, frame


def _sought(
    source: Path | bytes, start: int, stop: int | None, times_s: Times | None
) -> Generator[tuple[Fraction, Any], None, tuple[int, bool]]:
    """The same by seeking, as long as each frame comes at the time at which it must come.

    Returns:
        The first frame that is still to come, and whether there is none.
    """
    with opened(source) as container:
        stream = container.streams.video[0]
        ticks = _ticks(source, container, stream, times_s)
        if start >= len(ticks):
            return start, False
        number, end = start, len(ticks) if stop is None else min(stop, len(ticks))
        for frame in _intact(decoded_from(container, stream, name_of(source), ticks[start]), ticks):
            if frame.pts >= ticks[start]:
                yield (frame.pts - ticks[0]) * stream.time_base, frame
                number += 1
            if number == end:
                return number, True
        return number, False


def _intact(frames: Iterator[Any], ticks: Sequence[int]) -> Iterator[Any]:
    """Frames until one is missing or damaged: up to 16 before it may have been made from it, so that many are held."""
    held: deque[Any] = deque()
    number = None
    try:
        for frame in frames:
            number = bisect_left(ticks, frame.pts) if number is None and frame.pts is not None else number
            if number is None or frame.is_corrupt or number == len(ticks) or frame.pts != ticks[number]:
                return
            number += 1
            held.append(frame)
            if len(held) > _REORDERED_FRAMES:
                yield held.popleft()
    except VideoError:  # nothing decodes from there on; the start of the file is left to try
        return
    yield from held


def _ticks(source: Path | bytes, container: Any, stream: Any, times_s: Times | None) -> list[int]:  # noqa: ANN401
    """When each frame is shown, rising, in the stream's time base; empty where that is not known for sure."""
    with opened(source) as other:
        first = next(decoded(other, other.streams.video[0], name_of(source))).pts
    if first is None:
        return []
    if times_s is None:
        ticks = shown_ticks(container, stream) or []
    else:
        ticks = [first + round(time_s / stream.time_base) for time_s in times_s]
    is_sure = ticks[:1] == [first] and all(a < b for a, b in pairwise(ticks))
    return ticks if is_sure else []


def _time_s(frame: Any, otherwise: Fraction) -> Fraction:  # noqa: ANN401
    return otherwise if frame.pts is None else frame.pts * frame.time_base


class _Upright:
    """Decoded frames -> upright RGB. Keeps the converter of one stream, which costs more to set up than to run.

    One thread: a frame is too small to share out, and more threads take 30 % more time.
    """

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._convert = VideoReformatter()
        self._matrix: np.ndarray | None = None
        self._is_first = True

    def __call__(self, frame: Any) -> UInt8[np.ndarray, "H W 3"]:  # noqa: ANN401
        pixels = self._convert.reformat(frame, format="rgb24", threads=1).to_ndarray()
        if self._is_first:
            # Asking ties frame and side data into a cycle: asked of every frame, 400 MB of 1080p wait to be collected.
            matrix = frame.side_data.get("DISPLAYMATRIX")
            self._matrix = None if matrix is None else np.frombuffer(matrix, np.int32)[:5].copy()
            self._is_first = False
        return np.ascontiguousarray(pixels if self._matrix is None else _turned(pixels, self._matrix))


def _turned(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Apply a display matrix: shown x = a x + c y, shown y = b x + d y; quarter turns and mirrors only."""
    a, b, _, c, d = (int(v) for v in matrix)
    if abs(b) + abs(c) > abs(a) + abs(d):
        pixels = pixels.transpose(1, 0, 2)
        a, d = c, b
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def read_timestamps(path: Path) -> list[float]:
    """Presentation time in seconds of every frame that decodes, starting at 0."""
    return [float(time_s) for time_s, _ in _native(path, 0, None, None)]


def read_timing(path: Path) -> Timing:
    """Read when every frame is shown: one pass over the file, in which nothing is decoded.

    Raises:
        VideoError: not a readable video.
    """
    with opened(path) as container:
        stream = container.streams.video[0]
        shown_at = packet_times(container, stream)
        last_s = max(shown_at)[1] * stream.time_base if shown_at else Fraction(0)
        return timing_of([ticks * stream.time_base for ticks, _ in shown_at], last_s, _stated_fps(stream))


def is_variable_rate(path: Path) -> bool:
    """Whether frames must be placed by their times: at the stated rate they would be shown when they were not meant.

    Raises:
        VideoError: not a readable video.
    """
    return read_timing(path).is_variable


def read_member(data: bytes) -> UInt8[np.ndarray, "T H W 3"]:
    """Decode a clip that `encode_clip` wrote: with decord, right and fast on such files, unlike on foreign ones.

    Decord pads rows to 32 pixels and then refuses to copy them, so other widths go through PyAV.
    """
    import decord

    with opened(data) as container:
        is_aligned = container.streams.video[0].width % 32 == 0
    if not is_aligned:
        return np.stack(list(read_frames(data)))
    try:
        reader = decord.VideoReader(io.BytesIO(data), num_threads=1)
        frames = reader.get_batch(range(len(reader))).asnumpy()
    except (RuntimeError, decord.DECORDError) as error:
        raise VideoError(f"a shard's video member cannot be decoded ({str(error).splitlines()[0]})") from error
    del reader  # decord decodes ahead into memory for as long as a reader lives
    return frames
