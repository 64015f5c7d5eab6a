"""Grey crops of one clip -> how much of the picture looks like writing laid over it."""

import cv2
import numpy as np
from jaxtyping import UInt8

_EDGE_GREY = 60
_JOIN_PX = 7
_LOWEST_PX, _HIGHEST_PX = 6, 48
_NARROWEST = 2.5
_FILLED = 0.5
_STROKES = 1.2
_LEVEL_FRAC = 0.5


def text_frac(greys: list[UInt8[np.ndarray, "S S"]]) -> float:
    """Share of the picture inside line-like groups of hard, upright strokes that stay where they are.

    Strokes are steps of 60 or more grey levels in every given frame; groups are joined sideways and must be level,
    wider than 2.5 times their height, well filled, and cross from background to stroke at least 1.2 times for each
    height's width. Source: the classical gradient-and-closing text finder; its measured hit and false-alarm
    rates are in docs/quality.md. Stripes, fences and grass can look like writing; writing that is faint, slanted or
    larger than a fifth of the crop is missed.

    Args:
        greys: the crop at 256 pixels a side, frames spread over the clip.

    Returns:
        0 to 1.
    """
    kernel = np.ones((3, 3), np.uint8)
    steady = np.min([cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, kernel) for grey in greys], axis=0)
    strokes = (steady >= _EDGE_GREY).astype(np.uint8)
    joined = cv2.morphologyEx(strokes, cv2.MORPH_CLOSE, np.ones((1, _JOIN_PX), np.uint8))
    count, _, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=4)
    mean = np.mean(greys, axis=0)
    height, width, pixels = stats[:, 3], stats[:, 2], stats[:, 4]
    is_line = (height >= _LOWEST_PX) & (height <= _HIGHEST_PX) & (width >= _NARROWEST * height)
    is_line &= pixels >= _FILLED * width * height
    covered = sum(_area(stats[i], mean) for i in range(1, count) if is_line[i])
    return float(covered / joined.size)


def _area(stat: np.ndarray, mean: np.ndarray) -> int:
    """Of a group that has the shape of a line of writing, if it has its strokes too."""
    x, y, width, height = (int(value) for value in stat[:4])
    patch = mean[y : y + height, x : x + width]
    ink = patch > (patch.min() + patch.max()) * _LEVEL_FRAC
    crossings = np.abs(np.diff(ink.astype(np.int8), axis=1)).sum(axis=1)
    middle = float(np.median(crossings[height // 4 : height - height // 4]))
    return width * height if middle >= 2 * _STROKES * width / height else 0
