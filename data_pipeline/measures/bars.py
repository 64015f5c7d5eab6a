"""Source frames -> the black bars at their edges, and the share of a crop that they fill."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from data_pipeline.crop import move_points

_DARK_GREY = 20
_FLAT_RANGE = 10
_GRID = 32


class Bars(NamedTuple):
    """Thickness of each bar in pixels; 0: none."""

    top_px: int
    bottom_px: int
    left_px: int
    right_px: int


def bars(frame: UInt8[np.ndarray, "H W 3"]) -> Bars:
    """Rows and columns at the frame's edges that are dark and of one tone from end to end.

    Source: the definition of letterboxing; video black is 16 in studio range, so darker than 20 with a range of 10 or
    less counts. Bars of other colours are not looked for: studio backgrounds look the same. A frame that is dark
    all over has no bars.
    """
    # Most frames have none, and their outermost rows and columns say so.
    edges = (frame[:1], frame[-1:], frame[:, :1], frame[:, -1:])
    if not any(_is_flat(_brightest(edge)) for edge in edges):
        return Bars(0, 0, 0, 0)
    step_y, step_x = (max(1, n // 256) for n in frame.shape[:2])
    rows, columns = _brightest(frame[:, ::step_x]), _brightest(frame[::step_y])
    flat_rows = (rows.max(axis=1) < _DARK_GREY) & (np.ptp(rows, axis=1) <= _FLAT_RANGE)
    if flat_rows.all():
        return Bars(0, 0, 0, 0)
    flat_columns = (columns.max(axis=0) < _DARK_GREY) & (np.ptp(columns, axis=0) <= _FLAT_RANGE)
    return Bars(_run(flat_rows), _run(flat_rows[::-1]), _run(flat_columns), _run(flat_columns[::-1]))


def _brightest(frame: np.ndarray) -> np.ndarray:
    # numpy's max over three channels takes ten times as long
    return np.maximum(np.maximum(frame[..., 0], frame[..., 1]), frame[..., 2])


def _is_flat(edge: np.ndarray) -> bool:
    """Looser than what makes a bar: every 16th pixel."""
    few = edge.reshape(-1)[::16]
    return bool(few.max() < _DARK_GREY)


def _run(flat: np.ndarray) -> int:
    return int(np.argmin(flat)) if not flat.all() else 0


def smallest(found: Sequence[Bars]) -> Bars:
    """Bars that are there in every looked-at frame of a clip."""
    return Bars(*np.array(found).min(axis=0).tolist()) if found else Bars(0, 0, 0, 0)


def bars_frac(
    found: Bars, source_from_crop: Float32[np.ndarray, "2 3"], side_px: int, height_px: int, width_px: int
) -> float:
    """Share of the crop's picture that shows bars.

    Returns:
        0 to 1, of the part of the crop that lies inside the source frame.
    """
    if not any(found):
        return 0.0
    steps = (np.arange(_GRID, dtype=np.float32) + 0.5) * side_px / _GRID
    x, y = np.moveaxis(move_points(source_from_crop, np.stack(np.meshgrid(steps, steps), axis=-1)), -1, 0)
    inside = (x >= 0) & (x < width_px) & (y >= 0) & (y < height_px)
    clear = (x >= found.left_px) & (x < width_px - found.right_px)
    clear &= (y >= found.top_px) & (y < height_px - found.bottom_px)
    return float(1 - clear[inside].mean()) if inside.any() else 0.0
