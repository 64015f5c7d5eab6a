"""Keypoints, landmarks, flows and occlusions -> pictures to look at."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

GUIDED, FREE, MARK = (60, 220, 90), (255, 150, 40), (255, 255, 255)
"""Colours (RGB): keypoints that are tied to landmarks, the others, and the landmarks."""
BITS = 3
"""Drawing is exact to an eighth of a pixel."""
LINES = 16
"""Cells a side of the grid that is warped."""


def marked(
    image: UInt8[np.ndarray, "S S 3"],
    keypoints: Float[np.ndarray, "K _"],
    landmarks: Float[np.ndarray, "L 2"],
    guided: Sequence[int] = (),
) -> UInt8[np.ndarray, "S S 3"]:
    """Dots for keypoints (in -1 to 1; green where guided, orange elsewhere), rings for landmarks (fractions)."""
    canvas, side = image.copy(), image.shape[0]
    size = max(2.0, side / 100)
    for mark in landmarks:
        cv2.circle(canvas, _at(mark * side), _sub(1.2 * size), MARK, 1, cv2.LINE_AA, BITS)
    for index, point in enumerate((keypoints[:, :2] + 1) / 2 * side):
        colour = GUIDED if index in guided else FREE
        cv2.circle(canvas, _at(point), _sub(size + 1), (0, 0, 0), -1, cv2.LINE_AA, BITS)
        cv2.circle(canvas, _at(point), _sub(size), colour, -1, cv2.LINE_AA, BITS)
    return canvas


def warped_grid(
    image: UInt8[np.ndarray, "S S 3"], flow: Float[np.ndarray, "D H W 3"], depth: int | None = None
) -> UInt8[np.ndarray, "S S 3"]:
    """An output picture under a square grid of the source, moved as the flow moves the source.

    Args:
        image: what the grid is drawn on.
        flow: of that picture: where each voxel looks in the source, -1 to 1.
        depth: slice of the flow; None for the middle one.
    """
    side = image.shape[0]
    plane = flow[flow.shape[0] // 2 if depth is None else depth, :, :, :2]
    # Flows have their end points at -1 and 1 (lp_models/dense_motion.py): corners stay corners when enlarged.
    at = np.linspace(0, 1, side, dtype=np.float32)
    height, width = plane.shape[:2]
    columns, rows = np.meshgrid(at * (width - 1), at * (height - 1))
    source = cv2.remap(plane.astype(np.float32), columns, rows, cv2.INTER_LINEAR)
    # Distance to the nearest line in cells, over its slope: a distance in pixels, so that lines stay equally wide.
    cells = (source + 1) / 2 * LINES
    ink = np.zeros((side, side), np.float32)
    for axis in (0, 1):
        off = np.abs(cells[..., axis] - np.round(cells[..., axis]))
        down, across = np.gradient(cells[..., axis])
        slope = np.hypot(down, across)
        ink = np.maximum(ink, np.clip(1.3 - off / np.maximum(slope, 1e-3), 0, 1))
    beyond = (np.abs(source) > 1 + 1e-3).any(axis=-1)
    ink[beyond] = 0
    dimmed = 0.55 * image.astype(np.float32)
    colour = np.array([90, 220, 255], np.float32)
    return np.round(dimmed + ink[..., None] * (colour - dimmed)).astype(np.uint8)


def occlusion_map(occlusion: Float[np.ndarray, "H W"], side_px: int) -> UInt8[np.ndarray, "side side 3"]:
    """White where the source's features pass, black where they are held back."""
    sized = cv2.resize(occlusion.astype(np.float32), (side_px, side_px), interpolation=cv2.INTER_LINEAR)
    grey = np.round(np.clip(sized, 0, 1) * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _at(point: np.ndarray) -> tuple[int, int]:
    # OpenCV's pixel centres are whole numbers, ours lie half a pixel further.
    x, y = (float(v) for v in np.clip(point[:2] - 0.5, -4096, 4096))
    return round(x * 2**BITS), round(y * 2**BITS)


def _sub(length_px: float) -> int:
    return round(length_px * 2**BITS)
