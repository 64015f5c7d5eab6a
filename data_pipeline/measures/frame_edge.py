"""Boxes and the frame's size -> how often the frame's edge cuts the head."""

import numpy as np
from jaxtyping import Float32

_NEAR_FRAC = 0.01


def cut_frac(boxes: Float32[np.ndarray, "T 4"], height_px: int, width_px: int) -> float:
    """Share of the frames in which the head's box touches an edge of the frame.

    Source: the definition; "touches" is within 1 % of the box's side, because detectors clip boxes to the frame.

    Args:
        boxes: xyxy in source pixels.
        height_px: the frame's height.
        width_px: the frame's width.

    Returns:
        0 to 1.
    """
    near = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) * _NEAR_FRAC
    room = np.minimum(boxes[:, :2].min(axis=1), np.minimum(width_px - boxes[:, 2], height_px - boxes[:, 3]))
    return float((room <= near).mean())
