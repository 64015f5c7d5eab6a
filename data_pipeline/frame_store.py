"""Frames of one decoding pass -> the parts of them that crops may need, as many as fit into a limit."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, UInt8

from data_pipeline.buffers import lent


class Region(NamedTuple):
    """A part of a frame and where it lies in it."""

    pixels: UInt8[np.ndarray, "_ _ 3"]
    left_px: int
    top_px: int


class FrameStore:
    """Parts of native frames by number. Full is full: what came first stays.

    Args:
        limit_bytes: of pixels; 0 keeps nothing.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._space = lent((limit_bytes,)) if limit_bytes else np.zeros(0, np.uint8)
        self._parts: dict[int, Region] = {}
        self._bytes = 0
        self._is_full = False

    def __len__(self) -> int:
        return len(self._parts)

    @property
    def num_bytes(self) -> int:
        """Of the pixels that are kept."""
        return self._bytes

    def keep(self, number: int, frame: UInt8[np.ndarray, "H W 3"], area_xyxy: Float64[np.ndarray, "4"]) -> None:
        """Copy the frame's pixels inside the area (source pixels), if there is room."""
        height, width = frame.shape[:2]
        left, top, right, bottom = clipped(area_xyxy, height, width)
        if self._is_full or right <= left or bottom <= top:
            return
        size = (right - left) * (bottom - top) * 3
        if self._bytes + size > len(self._space):
            self._is_full = True
            return
        pixels = self._space[self._bytes : self._bytes + size].reshape(bottom - top, right - left, 3)
        pixels[:] = frame[top:bottom, left:right]
        self._parts[number] = Region(pixels, left, top)
        self._bytes += size

    def find(self, number: int, area_xyxy: Float64[np.ndarray, "4"], height_px: int, width_px: int) -> Region | None:
        """What is kept of a frame, if it holds all of the area that lies inside the picture."""
        part = self._parts.get(number)
        if part is None:
            return None
        left, top, right, bottom = clipped(area_xyxy, height_px, width_px)
        height, width = part.pixels.shape[:2]
        if left < part.left_px or top < part.top_px:
            return None
        return part if right <= part.left_px + width and bottom <= part.top_px + height else None

    def clear(self) -> None:
        """Forget everything and give the memory back."""
        self._parts.clear()
        self._space = np.zeros(0, np.uint8)
        self._bytes = 0


def clipped(area_xyxy: Float64[np.ndarray, "4"], height_px: int, width_px: int) -> tuple[int, int, int, int]:
    """Whole pixels that an area touches, inside the picture: left, top, right and bottom, the last two exclusive."""
    x0, y0, x1, y1 = area_xyxy.tolist()
    left, top = min(max(math.floor(x0), 0), width_px), min(max(math.floor(y0), 0), height_px)
    return left, top, min(max(math.ceil(x1), 0), width_px), min(max(math.ceil(y1), 0), height_px)
