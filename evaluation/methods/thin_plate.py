"""A pair -> the source bent like a thin plate through its landmarks: the strongest warp without a network."""

from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from evaluation.methods.baselines import CopySource, transferred
from evaluation.protocols.pairs import PairFrames

GRID = 33
"""Places along each side at which the plate is evaluated; between them it is nearly a plane."""
SMOOTHING = 1e-4
"""In squares of the side: landmarks may give way by a fraction of a pixel, and may coincide (closed lips)."""


class ThinPlateWarp:
    """Bends the source so that its landmarks move as the driver's do; the border of the picture stays.

    Dense landmarks where both have them, else the five points. What opens has nothing in it: a mouth shows stretched
    lips, and a head that turns shows no new side.
    """

    name = "thin plate warp"

    def __init__(self) -> None:
        self.about: dict[str, Any] = {"kind": "baseline", "smoothing": SMOOTHING, "grid": GRID}

    def __call__(self, pair: PairFrames) -> UInt8[np.ndarray, "T S S 3"]:
        """Bent sources; the source itself where points are unknown."""
        points = landmarks_of(pair)
        if points is None:
            return CopySource()(pair)
        source, driving = points
        return np.stack([bent(pair.source, source, wanted) for wanted in transferred(source, driving)])


def landmarks_of(pair: PairFrames) -> tuple[Float32[np.ndarray, "L 2"], Float32[np.ndarray, "T L 2"]] | None:
    """The densest points that source and driver share, without those that some frame lacks; None for none."""
    for source, driving in (
        (pair.source_landmarks, pair.driving_landmarks),
        (pair.source_points, pair.driving_points),
    ):
        if source is None or driving is None or len(source) != driving.shape[1]:
            continue
        known = np.isfinite(source).all(axis=1) & np.isfinite(driving).all(axis=(0, 2))
        if known.sum() >= 3:
            return source[known], driving[:, known]
    return None


def bent(
    image: UInt8[np.ndarray, "S S 3"], source: Float32[np.ndarray, "L 2"], wanted: Float32[np.ndarray, "L 2"]
) -> UInt8[np.ndarray, "S S 3"]:
    """The picture in which each source point has moved to where it is wanted."""
    from scipy.interpolate import RBFInterpolator

    side = len(image)
    if np.abs(wanted - source).max() < 1e-3:
        return image.copy()
    ends = np.array([0, (side - 1) / 2, side - 1], np.float64)
    border = np.stack(np.meshgrid(ends, ends), axis=-1).reshape(-1, 2)
    border = np.delete(border, 4, axis=0)  # the middle is no border
    # From result to source, as pictures are resampled; in units of the side, so that the smoothing has a meaning.
    there = np.concatenate([wanted.astype(np.float64), border]) / side
    back = np.concatenate([source.astype(np.float64), border]) / side
    plate = RBFInterpolator(there, back - there, kernel="thin_plate_spline", smoothing=SMOOTHING)
    steps = np.linspace(0, side - 1, GRID)
    grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2) / side
    moved = (plate(grid) * side).reshape(GRID, GRID, 2).astype(np.float32)
    shift = _between(moved, side)
    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    return cv2.remap(
        image, columns + shift[..., 0], rows + shift[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def _between(grid: Float32[np.ndarray, "G G 2"], side: int) -> Float32[np.ndarray, "S S 2"]:
    """Values at GRID places from edge to edge -> at every pixel."""
    at = np.linspace(0, GRID - 1, side, dtype=np.float32)
    columns, rows = np.meshgrid(at, at)
    return cv2.remap(grid, columns, rows, cv2.INTER_LINEAR)
