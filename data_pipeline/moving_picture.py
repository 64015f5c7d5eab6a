"""RGB frames -> animated GIF and WebP files, written frame by frame: memory holds two frames, however many come.

Pillow codes one picture after the other and this file puts them together, because both of Pillow's own animation
writers keep every frame until the end. Only the rectangle that changed is coded: a photo in which one head moves is
mostly still.
"""

import io
import struct
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from data_pipeline.whole_file import WriteError, shown, whole_binary, write_errors

MIN_GIF_DELAY = 2
"""Hundredths of a second; browsers show frames with less for ten."""
_MAX_RIFF_BYTES = 2**32 - 2


class _Window(NamedTuple):
    """The part of a frame that is coded."""

    x_px: int
    y_px: int
    pixels: UInt8[np.ndarray, "H W 3"]


def write_gif(path: Path, frames: Iterable[UInt8[np.ndarray, "H W 3"]], fps: Fraction) -> int:
    """Write an endless GIF with 256 colours of each frame's own; it appears whole or not at all.

    Delays are whole hundredths of a second that add up to the right time: 30 frames/s become 3, 4, 3, 3, 4, ... Above
    50 frames/s no frame is dropped, and the animation plays at 50.

    Returns:
        How many frames were written.

    Raises:
        WriteError: there is no frame, frames differ in size, or the file cannot be written.
    """
    return _write(path, frames, fps, _Gif())


def write_webp(
    path: Path, frames: Iterable[UInt8[np.ndarray, "H W 3"]], fps: Fraction, quality: int = 85, method: int = 2
) -> int:
    """Write an endless lossy WebP; it appears whole or not at all.

    Durations are whole milliseconds that add up to the right time.

    Args:
        path: where to.
        frames: all of one size.
        fps: frames per second.
        quality: 0 to 100.
        method: 0 (fast) to 6 (small). Measured on a 384 px face at quality 80: 2 takes 3.4 ms a frame and 6.8 KB,
            4 takes 9.9 ms and 6.5 KB.

    Returns:
        How many frames were written.

    Raises:
        WriteError: there is no frame, frames differ in size, or the file cannot be written.
    """
    return _write(path, frames, fps, _WebP(path, quality, method))


@runtime_checkable
class _Format(Protocol):
    """What the two formats differ in."""

    ticks_hz: int
    """In what parts of a second it counts."""
    min_ticks: int
    """How long a frame is shown at least."""
    max_side_px: int
    grid_px: int
    """Where windows may begin: at multiples of this."""

    def begin(self, file: BinaryIO, height_px: int, width_px: int) -> None:
        """Write what comes before the frames."""
        ...

    def add(self, file: BinaryIO, window: _Window, ticks: int) -> None:
        """Write a frame that is shown for so long."""
        ...

    def end(self, file: BinaryIO) -> None:
        """Write what comes after the frames."""
        ...


def _write(path: Path, frames: Iterable[np.ndarray], fps: Fraction, form: _Format) -> int:
    """The one pass over the frames."""
    first, count, before = None, 0, None
    ticks = _ticks(fps, form, path)
    with whole_binary(path) as file:
        start = next(ticks)
        for frame in frames:
            if first is None:
                first = frame.shape
                _check_side(path, first, form.max_side_px)
                with write_errors(path):
                    form.begin(file, *first[:2])
            if frame.shape != first:
                raise WriteError(
                    f"{shown(path)}: frame {count} is {frame.shape[:2]} pixels high and wide, the first one was "
                    f"{first[:2]}; give frames of one size"
                )
            stop = next(ticks)
            with write_errors(path):
                form.add(file, _changed(before, frame, form.grid_px), stop - start)
            before, start, count = frame, stop, count + 1
        if first is None:
            raise WriteError(f"{shown(path)}: there is no frame to write; the input gave none")
        with write_errors(path):
            form.end(file)
    return count


def _check_side(path: Path, shape: tuple[int, ...], max_side_px: int) -> None:
    if max(shape[:2]) > max_side_px:
        raise WriteError(
            f"{shown(path)}: frames of {shape[1]}x{shape[0]} px are too large for it; {max_side_px} a side are possible"
        )


def _ticks(fps: Fraction, form: _Format, path: Path) -> Iterator[int]:
    """When frames 0, 1, 2, ... begin, in ticks of the format."""
    if fps <= 0:
        raise WriteError(f"{shown(path)}: {fps} frames a second is no frame rate; give one above 0")
    at, number = 0, 0
    while True:
        yield at
        number += 1
        at = max(at + form.min_ticks, round(number * form.ticks_hz / fps))


def _changed(before: np.ndarray | None, frame: np.ndarray, grid_px: int) -> _Window:
    """The smallest rectangle that holds all changes; it begins on a grid, and is never empty."""
    if before is None:
        return _Window(0, 0, frame)
    differs = (frame != before).any(axis=2)
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if not len(rows):
        return _Window(0, 0, frame[:grid_px, :grid_px])
    y0, x0 = int(rows[0]) // grid_px * grid_px, int(columns[0]) // grid_px * grid_px
    return _Window(x0, y0, np.ascontiguousarray(frame[y0 : rows[-1] + 1, x0 : columns[-1] + 1]))


class _Gif:
    """GIF89a: the bytes that Pillow makes of single pictures, put at their places."""

    ticks_hz, min_ticks = 100, MIN_GIF_DELAY
    max_side_px, grid_px = 65_535, 1

    def begin(self, file: BinaryIO, height_px: int, width_px: int) -> None:
        file.write(b"GIF89a" + struct.pack("<HHBBB", width_px, height_px, 0x70, 0, 0))
        file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")  # play endlessly

    def add(self, file: BinaryIO, window: _Window, ticks: int) -> None:
        from PIL import Image

        # Median cut without dithering: noise that flickers costs size and looks worse than the little banding.
        picture = Image.fromarray(window.pixels).quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        coded = io.BytesIO()
        picture.save(coded, "GIF", optimize=False, interlace=False)
        data = coded.getvalue()
        depth = data[10] & 0x07
        palette = data[13 : 13 + 3 * 2 ** (depth + 1)]
        at = _after_extensions(data, 13 + len(palette))
        width_px, height_px = struct.unpack("<2H", data[at + 5 : at + 9])
        file.write(b"\x21\xf9\x04" + struct.pack("<BHBB", 0x04, min(ticks, 0xFFFF), 0, 0))
        file.write(b"\x2c" + struct.pack("<4HB", window.x_px, window.y_px, width_px, height_px, 0x80 | depth))
        file.write(palette + data[at + 10 : -1])

    def end(self, file: BinaryIO) -> None:
        file.write(b"\x3b")


def _after_extensions(data: bytes, at: int) -> int:
    """Where the picture's own block begins."""
    while data[at] == 0x21:
        at += 2
        while data[at]:
            at += data[at] + 1
        at += 1
    return at


class _WebP:
    """RIFF: the chunks that Pillow makes of single pictures, put at their places."""

    ticks_hz, min_ticks = 1000, 1
    max_side_px, grid_px = 16_383, 2

    def __init__(self, path: Path, quality: int, method: int) -> None:
        self._path, self._quality, self._method = path, quality, method

    def begin(self, file: BinaryIO, height_px: int, width_px: int) -> None:
        canvas = _u24(width_px - 1) + _u24(height_px - 1)
        file.write(b"RIFF\0\0\0\0WEBP" + _chunk(b"VP8X", b"\x02\0\0\0" + canvas))
        file.write(_chunk(b"ANIM", b"\xff\xff\xff\xff\0\0"))  # white behind, play endlessly

    def add(self, file: BinaryIO, window: _Window, ticks: int) -> None:
        from PIL import Image

        coded = io.BytesIO()
        Image.fromarray(window.pixels).save(coded, "WEBP", quality=self._quality, method=self._method)
        height_px, width_px = window.pixels.shape[:2]
        place = _u24(window.x_px // 2) + _u24(window.y_px // 2) + _u24(width_px - 1) + _u24(height_px - 1)
        # 0x02: do not blend with the frame before. After 12 bytes of RIFF header come the chunks of the one picture.
        block = _chunk(b"ANMF", place + _u24(min(ticks, 0xFFFFFF)) + b"\x02" + coded.getvalue()[12:])
        if file.tell() + len(block) > _MAX_RIFF_BYTES:
            raise WriteError(f"{shown(self._path)}: a WebP ends at 4 GB; write an mp4 instead")
        file.write(block)

    def end(self, file: BinaryIO) -> None:
        length = file.tell()
        file.seek(4)
        file.write(struct.pack("<I", length - 8))


def _u24(value: int) -> bytes:
    return struct.pack("<I", value)[:3]


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
