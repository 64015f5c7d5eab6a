"""Panels of a pair over time -> looping WebPs and contact sheets that keep within a number of bytes."""

import io
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from data_pipeline.crop import square_corners
from data_pipeline.photo import encode_jpeg
from evaluation.side_by_side import GAP_PX, row_of

HEAD_PX = 18
"""Height of a line of text."""
NUM_MOMENTS = 3
QUALITIES = (85, 78, 70, 62, 54, 46, 38, 30, 22, 14)
"""Tried in this order, until the file is small enough."""
Picture = UInt8[np.ndarray, "_H _W 3"]


class Panels(NamedTuple):
    """What is shown of one pair; all lists have one length."""

    photo: UInt8[np.ndarray, "H W 3"]
    """As it was given."""
    crop: UInt8[np.ndarray, "S S 3"]
    """What the networks see of it: copied, it is the baseline."""
    driver: Sequence[np.ndarray]
    results: Sequence[Sequence[np.ndarray] | np.ndarray]
    """Of each weights directory."""

    def at(self, frame: int) -> list[np.ndarray]:
        """One frame of all panels, side by side in the order of the page."""
        return [on_white(self.photo), self.driver[frame], self.crop, *(result[frame] for result in self.results)]


def animation(rows: Sequence[Panels], names: Sequence[str], tile_px: int) -> list[UInt8[np.ndarray, "_H _W 3"]]:
    """Pairs under each other, their panels named above: the frames of a film."""
    head = None
    frames = []
    for i in range(len(rows[0].driver)):
        lines = [row_of(row.at(i), tile_px) for row in rows]
        head = named(names, tile_px, lines[0].shape[1]) if head is None else head
        frames.append(stacked([head, *lines]))
    return frames


def moments_row(panels: Panels, tile_px: int) -> UInt8[np.ndarray, "tile_px _W 3"]:
    """A row of a contact sheet: photo, copied crop, then driver and results at the same moments."""
    at = moments(panels.driver)
    shown = [on_white(panels.photo), panels.crop]
    shown += [series[i] for series in (panels.driver, *panels.results) for i in at]
    return row_of(shown, tile_px)


def moments_names(names: Sequence[str]) -> list[str]:
    """What stands above the panels of `moments_row`, given what stands above those of `animation`."""
    photo, driver, copied, *results = names
    spread = [name if i == 1 else "" for name in (driver, *results) for i in range(NUM_MOMENTS)]
    return [photo, copied, *spread]


def moments(driver: Sequence[np.ndarray]) -> list[int]:
    """In each third of a driver, the frame that differs most from its first: where there is most to be seen."""
    first = cv2.blur(driver[0], (5, 5))
    changes = [float(cv2.absdiff(cv2.blur(frame, (5, 5)), first).mean()) for frame in driver]
    edges = np.linspace(0, len(driver), NUM_MOMENTS + 1).round().astype(int)
    return [
        int(start + np.argmax(changes[start:stop])) if stop > start else int(min(start, len(driver) - 1))
        for start, stop in pairwise(edges)
    ]


def sheet(rows: Sequence[tuple[str, Picture]], names: Sequence[str], tile_px: int) -> UInt8[np.ndarray, "_H _W 3"]:
    """Rows of equal width with a line of text above each, and the panels' names on top."""
    width_px = rows[0][1].shape[1]
    lines = [named(names, tile_px, width_px)]
    for text, picture in rows:
        lines += [text_line([(2, text)], width_px), picture]
    return stacked(lines)


def visible_square(
    from_crop: Float32[np.ndarray, "2 3"], side_px: int, height_px: int, width_px: int
) -> tuple[int, int, int]:
    """The largest square inside a frame around the middle of a crop: left, top and side, without black bars.

    Args:
        from_crop: crop pixels -> frame pixels.
        side_px: of the crop.
        height_px: of the frame.
        width_px: of the frame.
    """
    corners = square_corners(from_crop, side_px)
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    side = int(max(2, min(right - left, bottom - top, height_px, width_px)))
    x = int(np.clip((left + right - side) / 2, 0, width_px - side))
    y = int(np.clip((top + bottom - side) / 2, 0, height_px - side))
    return x, y, side


def on_white(picture: UInt8[np.ndarray, "_H _W 3"]) -> UInt8[np.ndarray, "_S _S 3"]:
    """A whole picture in the middle of a white square."""
    height, width = picture.shape[:2]
    side = max(height, width)
    square = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = picture
    return square


def named(names: Sequence[str], tile_px: int, width_px: int) -> UInt8[np.ndarray, "HEAD_PX _W 3"]:
    """A line with the name of each panel above it."""
    return text_line([(i * (tile_px + GAP_PX) + tile_px / 2, name) for i, name in enumerate(names)], width_px, "ms")


def text_line(
    words: Sequence[tuple[float | int, str]], width_px: int, anchor: str = "ls"
) -> UInt8[np.ndarray, "HEAD_PX _W 3"]:
    """Words at places, black on white."""
    from PIL import Image, ImageDraw, ImageFont

    strip = Image.new("RGB", (width_px, HEAD_PX), "white")
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(12)
    for x, word in words:
        draw.text((x, HEAD_PX - 5), word, fill=(30, 30, 30), font=font, anchor=anchor)
    return np.asarray(strip)


def stacked(lines: Sequence[Picture]) -> UInt8[np.ndarray, "_H _W 3"]:
    """Pictures of one width under each other, with a thin white gap."""
    parts: list[np.ndarray] = []
    for line in lines:
        parts += [np.full((GAP_PX, line.shape[1], 3), 255, np.uint8)] if parts else []
        parts.append(line)
    return np.concatenate(parts)


def webp_within(frames: Sequence[Picture], fps: Fraction, max_bytes: int, what: str) -> bytes:
    """An endless WebP in the best quality that keeps within the bytes.

    All frames are in memory at once and Pillow's own writer makes the file, not `data_pipeline.moving_picture`: it
    leaves out what did not change since the frame before, which saves a third, and the films are short.

    Raises:
        ValueError: no quality is small enough.
    """
    from PIL import Image

    first, *others = [Image.fromarray(frame) for frame in frames]

    def encode(quality: int) -> bytes:
        buffer = io.BytesIO()
        first.save(
            buffer, "WEBP", save_all=True, append_images=others, duration=round(1000 / fps), loop=0, quality=quality,
            method=4,
        )  # fmt: skip
        return buffer.getvalue()

    return _within(encode, max_bytes, what)


def jpeg_within(picture: Picture, max_bytes: int, what: str) -> bytes:
    """A JPEG in the best quality that keeps within the bytes.

    Raises:
        ValueError: no quality is small enough.
    """
    return _within(lambda quality: encode_jpeg(picture, quality), max_bytes, what)


def _within(encode: Callable[[int], bytes], max_bytes: int, what: str) -> bytes:
    data = b""
    for quality in QUALITIES:
        data = encode(quality)
        if len(data) <= max_bytes:
            return data
    raise ValueError(
        f"{what} needs {len(data)} bytes even at quality {QUALITIES[-1]}, and {max_bytes} are its share; give a larger "
        "max_mb, fewer frames, or a smaller tile_px"
    )
