"""Small frames of a video -> where it is cut."""

import itertools
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from data_pipeline.records import MediaItem, Shot

THUMB_PX = 32


def thumbnail(frame: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "32 32 3"]:
    """The small picture on which cuts are looked for."""
    return cv2.resize(frame, (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA)


def colour_histogram(thumbs: UInt8[np.ndarray, "T 32 32 3"]) -> Float32[np.ndarray, "T 64"]:
    """Share of pixels in each of 4x4x4 colour cells."""
    cells = (thumbs >> 6).astype(np.int64)
    codes = cells[..., 0] * 16 + cells[..., 1] * 4 + cells[..., 2]
    flat = codes.reshape(len(thumbs), -1)
    return np.stack([np.bincount(row, minlength=64) for row in flat]).astype(np.float32) / flat.shape[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShotSplitter:
    """Cuts where picture and palette change at once, far more than around that place, and do not change back."""

    min_pixel_change: float = 0.10
    """Mean absolute difference of the small frames, 0-1. Head turns in the mini corpus stay below 0.06."""
    min_palette_change: float = 0.30
    """Share of pixels that change their colour cell. Fades change it slowly, cuts at once."""
    min_peak: float = 3.0
    """The change must be this many times the median change of the surrounding second."""
    window_frames: int = 12
    min_frames: int = 8
    """Shorter shots are joined to the one before: they are flashes or dissolves."""

    def __call__(self, media: MediaItem, thumbs: UInt8[np.ndarray, "T 32 32 3"]) -> list[Shot]:
        """Shots that cover all frames, in order."""
        bounds = [0, *self.cuts(thumbs), len(thumbs)]
        return [Shot(media=media, start=a, stop=b) for a, b in itertools.pairwise(bounds) if b > a]

    def cuts(self, thumbs: UInt8[np.ndarray, "T 32 32 3"]) -> list[int]:
        """Frames that start a new shot."""
        if len(thumbs) < 2 * self.min_frames:
            return []
        pixels = thumbs.astype(np.float32) / 255
        palette = colour_histogram(thumbs)
        change = np.abs(np.diff(pixels, axis=0)).mean(axis=(1, 2, 3))
        shift = np.abs(np.diff(palette, axis=0)).sum(axis=1) / 2
        found: list[int] = []
        for i in np.flatnonzero((change > self.min_pixel_change) & (shift > self.min_palette_change)):
            around = np.concatenate(
                [change[max(0, i - self.window_frames) : i], change[i + 1 : i + 1 + self.window_frames]]
            )
            is_peak = change[i] > self.min_peak * max(float(np.median(around)), 1e-3)
            start = int(i) + 1
            previous = found[-1] if found else 0
            long_enough = start - previous >= self.min_frames and len(thumbs) - start >= self.min_frames
            if is_peak and long_enough and not self._is_flash(pixels, int(i)):
                found.append(start)
        return found

    def _is_flash(self, pixels: Float32[np.ndarray, "T 32 32 3"], i: int) -> bool:
        """Soon after frame i the picture is again as in i, or shortly before i + 1 it was already as in i + 1."""
        pairs = ((pixels[i + 3 : i + 7], pixels[i]), (pixels[max(0, i - 6) : max(0, i - 2)], pixels[i + 1]))
        same = self.min_pixel_change / 2
        return any(bool((np.abs(near - one).mean(axis=(1, 2, 3)) < same).any()) for near, one in pairs if len(near))
