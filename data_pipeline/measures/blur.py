"""Grey pictures -> the width of their blur and the head size that they really resolve."""

import cv2
import numpy as np
from jaxtyping import UInt8

_REBLUR_PX = 1.0
_EDGE_SHARE = 0.02
_WEAKEST_EDGE = 4.0
_SLOPE_VARIANCE = 0.62
"""px^2, what measuring slopes on a pixel grid adds: fitted on ideal edges blurred by 0.5 to 3 px."""
WIDEST_PX = 8.0
"""Nothing wider can be told from a flat picture."""
GRID_PX = 0.6
"""Blur that lenses, demosaicing and video compression leave in a sharp picture: the median of the media set."""


def blur_px(grey: UInt8[np.ndarray, "H W"]) -> float:
    """Standard deviation of the blur at the strongest edges.

    Blurring once more by a known width lowers a sharp edge's slope more than a soft one's; the ratio of slopes gives
    the width (Zhuo and Sim, "Defocus map estimation from a single image", 2011). Measured on source pixels, enlarging
    the crop does not change it.

    Args:
        grey: source pixels, at least 8 on a side.

    Returns:
        Pixels of `grey`, 0.2 to 8; 8 for a picture without edges.
    """
    picture = grey.astype(np.float32)
    softer = cv2.GaussianBlur(picture, (0, 0), _REBLUR_PX)
    slope, soft_slope = _slope(picture), _slope(softer)
    edges = slope >= max(float(np.quantile(slope[::3, ::3], 1 - _EDGE_SHARE)), _WEAKEST_EDGE)
    if not edges.any():
        return WIDEST_PX
    ratio = float(np.median(slope[edges] / np.maximum(soft_slope[edges], 1e-3)))
    variance = _REBLUR_PX**2 / max(ratio**2 - 1, 1e-6) - _SLOPE_VARIANCE
    return float(np.clip(np.sqrt(max(variance, 0.0)), 0.2, WIDEST_PX))


def _slope(picture: np.ndarray) -> np.ndarray:
    return cv2.magnitude(cv2.Sobel(picture, cv2.CV_32F, 1, 0), cv2.Sobel(picture, cv2.CV_32F, 0, 1)) / 8


def resolved_px(head_px: float, blur: float) -> float:
    """The side of the smallest picture of the head that shows as much as this one.

    Args:
        head_px: shorter side of the head's box in source pixels.
        blur: width of the blur in source pixels.

    Returns:
        Pixels, 0 to head_px: a head blown up to twice its size, or out of focus, resolves half of its pixels.
    """
    return head_px * min(1.0, GRID_PX / max(blur, 1e-6))
