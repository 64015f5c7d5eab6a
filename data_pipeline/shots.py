"""Small frames of a video -> where it is cut."""

import itertools
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from data_pipeline.records import MediaItem, Shot

THUMB_PX = 32
_BLOCK_PX, _REACH_PX = 8, 4
"""Blocks of this side look for their like in another picture, this far away."""
_ACROSS = ((0, 1), (-1, 2), (0, 4), (-3, 1), (-2, 3), (-3, 4))
"""Pairs of frames with a place between them, counted from the last one before it: the nearest, then past a flash."""
_BESIDE = ((-1, 0), (1, 2), (-3, 0), (1, 4), (-3, -2))
"""Pairs on one side of it."""
_LEAST_DEVIATION = 2.0
"""Added to a picture's standard deviation, in grey levels: what is flatter than this is noise."""


def thumbnail(frame: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "32 32 3"]:
    """The small picture on which cuts are looked for."""
    return cv2.resize(frame, (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShotSplitter:
    """Cuts where nothing explains how the picture changes: not motion, light, a flash, nor what is usual around there.

    How unlike two pictures are is measured on grey pictures of mean 0 and variance 1, as a mean squared difference: 0
    for the same picture in any light, 2 for two that have nothing in common.
    """

    min_unlike: float = 0.03
    """All frames before a cut are at least this unlike those after it, wherever blocks of them may have moved."""
    min_excess: float = 0.02
    """And by this much more so than what is usual: how unlike frames on one side of the cut are each other."""
    min_change: float = 0.1
    """Mean absolute difference of neighbouring frames from which on a place is looked at; saves time."""
    min_peak: float = 2.0
    """The same, as a multiple of the median of the places around it: while all moves, nothing is told from motion."""
    window_frames: int = 12
    """How far around a place that median reaches on each side."""
    min_frames: int = 8
    """Of cuts that are nearer to each other than this, only the clearest counts."""

    def __call__(self, media: MediaItem, thumbs: UInt8[np.ndarray, "T 32 32 3"]) -> list[Shot]:
        """Shots that cover all frames, in order."""
        bounds = [0, *self.cuts(thumbs), len(thumbs)]
        return [Shot(media=media, start=a, stop=b) for a, b in itertools.pairwise(bounds) if b > a]

    def cuts(self, thumbs: UInt8[np.ndarray, "T 32 32 3"]) -> list[int]:
        """Frames that start a new shot, in order."""
        if len(thumbs) < 2:
            return []
        grey = np.stack([cv2.cvtColor(thumb, cv2.COLOR_RGB2GRAY) for thumb in thumbs])
        plain = grey.astype(np.float32)
        plain -= plain.mean(axis=(1, 2), keepdims=True)
        plain /= plain.std(axis=(1, 2), keepdims=True) + _LEAST_DEVIATION
        change = np.abs(np.diff(plain, axis=0)).mean(axis=(1, 2))
        clear: dict[int, float] = {}
        for last in (int(i) for i in np.flatnonzero(change > self.min_change)):
            low, high = max(0, last - self.window_frames), last + 1 + self.window_frames
            around = np.concatenate([change[low:last], change[last + 1 : high], [0.0]])
            if change[last] > self.min_peak * (float(np.median(around)) + self.min_excess):
                clear[last + 1] = self._unexplained(grey, plain, last)
        found: list[int] = []
        for start in sorted((s for s in clear if clear[s] > 0), key=lambda s: -clear[s]):
            if all(abs(start - other) >= self.min_frames for other in found):
                found.append(start)
        return sorted(found)

    def _unexplained(
        self, grey: UInt8[np.ndarray, "T 32 32"], plain: Float32[np.ndarray, "T 32 32"], last: int
    ) -> float:
        """How unlike the most alike frames on both sides of a place are; 0 if that is not enough for a cut."""
        end = len(plain) - 1
        beside = [(last + a, last + b) for a, b in _BESIDE if last + a >= 0 and last + b <= end]
        # Two of five pairs, so that a flash beside a cut does not hide it.
        most, second = sorted((0.0, 0.0, *(_unlike(plain[a], plain[b]) for a, b in beside)))[:-3:-1]
        usual = 0.4 * most + 0.7 * second
        bar, least = max(self.min_unlike, usual + self.min_excess), float("inf")
        for a, b in ((max(0, last + a), min(end, last + b)) for a, b in _ACROSS):
            if b - a <= 3:
                least = min(least, _unlike_in_any_light(grey[a], grey[b]))
            if least > bar:
                least = min(least, _unlike(plain[a], plain[b]), _unlike(plain[b], plain[a]))
            if least <= bar:
                return 0.0
        return least


def _unlike(a: Float32[np.ndarray, "32 32"], b: Float32[np.ndarray, "32 32"]) -> float:
    """Mean squared difference of b's blocks from the best places for them in a."""
    field = cv2.copyMakeBorder(a, _REACH_PX, _REACH_PX, _REACH_PX, _REACH_PX, cv2.BORDER_REFLECT_101)
    total, reach = 0.0, _BLOCK_PX + 2 * _REACH_PX
    for y, x in itertools.product(range(0, THUMB_PX, _BLOCK_PX), repeat=2):
        block = b[y : y + _BLOCK_PX, x : x + _BLOCK_PX]
        total += float(cv2.matchTemplate(field[y : y + reach, x : x + reach], block, cv2.TM_SQDIFF).min())
    return max(0.0, total / THUMB_PX**2)


def _unlike_in_any_light(a: UInt8[np.ndarray, "32 32"], b: UInt8[np.ndarray, "32 32"]) -> float:
    """The part of one picture that no tone curve makes of the other: exposure and clipping explain the rest."""
    return min(_beyond_tones(a, b), _beyond_tones(b, a))


def _beyond_tones(a: UInt8[np.ndarray, "32 32"], b: UInt8[np.ndarray, "32 32"]) -> float:
    tones, values = (a >> 3).ravel(), b.ravel().astype(np.float64)
    means = np.bincount(tones, values, 32) / np.maximum(np.bincount(tones, minlength=32), 1)
    return float(((values - means[tones]) ** 2).mean() / (values.std() + _LEAST_DEVIATION) ** 2)
