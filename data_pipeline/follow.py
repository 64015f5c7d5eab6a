"""The squares of single frames -> squares that follow a head calmly: neither jitter nor blinks move or zoom them."""

import numpy as np
from jaxtyping import Float32, Float64
from scipy.ndimage import median_filter

from data_pipeline.smoothing import steadied

_SIZE_S = 1.2
"""Half width of the window for size; a blink is over in 0.3 s and cannot win the median."""
_STEP_FRAMES = 4
"""The path is worked out at every 4th frame: the detector looks no oftener."""


def followed(
    squares: Float32[np.ndarray, "T 2 3"], side_px: int, fps: float, follow_s: float
) -> Float32[np.ndarray, "T 2 3"]:
    """Smooth the path of a crop without lag: window functions that are symmetric in time.

    Place and roll follow the head; what looks like the detector's scatter is taken out. The size is the median over
    more than a second, smoothed.

    Args:
        squares: source_from_crop of each frame by itself.
        side_px: side of the crop.
        fps: frames per second.
        follow_s: half width of the window for place and roll.
    """
    count = len(squares)
    if count < 2 * _STEP_FRAMES or fps <= 0:
        return np.repeat(np.median(squares, axis=0, keepdims=True), count, axis=0).astype(np.float32)
    centre = (squares @ np.array([(side_px - 1) / 2, (side_px - 1) / 2, 1.0])).astype(np.float64)
    size = side_px * np.hypot(squares[:, 0, 0], squares[:, 1, 0]).astype(np.float64)
    turn = np.unwrap(np.arctan2(squares[:, 1, 0], squares[:, 0, 0]).astype(np.float64))
    unit = float(np.median(size))
    at = np.unique(np.append(np.arange(0, count, _STEP_FRAMES), count - 1))
    # A roll of r moves what lies at half a side from the middle by r / 2 sides.
    seen = np.stack([centre[at, 0], centre[at, 1], turn[at] * unit / 2], axis=1)
    path = steadied(at.astype(np.float64), seen, follow_s * fps, unit)
    frames = np.arange(count)
    x, y, arc = (np.interp(frames, at, column) for column in path.T)
    return _squares(np.stack([x, y], axis=1), _calm_size(size, fps), arc * 2 / unit, side_px)


def _calm_size(size: Float64[np.ndarray, " T"], fps: float) -> Float64[np.ndarray, " T"]:
    reach = max(1, round(_SIZE_S * fps))
    middle = median_filter(np.log(size), 2 * reach + 1, mode="nearest")
    window = np.hanning(2 * reach + 3)[1:-1]
    padded = np.pad(middle, reach, mode="edge")
    return np.exp(np.convolve(padded, window / window.sum(), mode="valid"))


def _squares(
    centre: Float64[np.ndarray, "T 2"], size: Float64[np.ndarray, " T"], turn: Float64[np.ndarray, " T"], side_px: int
) -> Float32[np.ndarray, "T 2 3"]:
    zoom = size / side_px
    cosine, sine = zoom * np.cos(turn), zoom * np.sin(turn)
    linear = np.stack([np.stack([cosine, -sine], axis=1), np.stack([sine, cosine], axis=1)], axis=1)
    offset = centre - linear @ np.full(2, (side_px - 1) / 2)
    return np.concatenate([linear, offset[:, :, None]], axis=2).astype(np.float32)
