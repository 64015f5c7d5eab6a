"""A made frame and the true one -> PSNR, L1, SSIM and MS-SSIM, whole and inside a region."""

import math
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32, UInt8, UInt16

from evaluation.metrics.metric import Direction, Metric
from evaluation.metrics.regions import Mask, Regions

PSNR_CAP_DB = 100.0
"""PSNR of equal frames, so that means stay finite."""
SSIM_WINDOW_PX, SSIM_SIGMA_PX = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales of MS-SSIM (Wang 2003)."""
SMALLEST_MS_SSIM_PX = (SSIM_WINDOW_PX - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1
"""161: below, the window does not fit into the smallest scale."""
Frame = UInt8[np.ndarray, "S S 3"]

_IN_REGION = {
    "face": "inside the true head mask (ears included); without masks, inside a disc around the five points",
    "eyes": "inside the true eye regions, grown by 3 px; without masks, discs around the two eye points",
    "mouth": "inside the true mouth region, grown by 3 px; without masks, a disc over the two mouth points",
    "background": "outside head and shoulders; without masks, outside a disc around the five points",
}
_TITLES = {"face": "head", "eyes": "eyes", "mouth": "mouth", "background": "background"}
WHOLE_METRICS = (
    Metric(
        name="l1", title="L1", unit="0-1", better="down", source="LivePortrait (arXiv 2407.03168), section 4",
        definition="mean absolute difference of RGB in 0-1, per frame, then per pair",
    ),
    Metric(
        name="psnr", title="PSNR", unit="dB", better="up", digits=2, source="equals scikit-image, data_range 1",
        definition="10 log10(1 / mean squared error of RGB in 0-1), per frame, capped at 100 dB, then per pair; "
        "not comparable with the PSNR column of the LivePortrait paper, which exceeds the bound its own L1 column sets",
    ),
    Metric(
        name="ssim", title="SSIM", unit="0-1", better="up", source="Wang 2004; equals scikit-image",
        definition="structural similarity of RGB (Gaussian window 11, sigma 1.5, range 1, borders left out), per frame",
    ),
    Metric(
        name="ms_ssim", title="MS-SSIM", unit="0-1", better="up", source="Wang 2003; scales equal torchmetrics",
        definition="structural similarity over five scales, halved each time (exponents 0.0448, 0.2856, 0.3001, "
        f"0.2363, 0.1333), of RGB, borders left out at each; not measured below {SMALLEST_MS_SSIM_PX} px",
    ),
)  # fmt: skip
_KINDS: tuple[tuple[str, str, str, Direction, int, str], ...] = (
    ("l1", "L1", "0-1", "down", 4, ""),
    ("psnr", "PSNR", "dB", "up", 2, "; mean squared error over the region's pixels"),
    ("ssim", "SSIM", "0-1", "up", 4, "; mean of the SSIM map over the region's pixels"),
)
REGION_METRICS = tuple(
    Metric(
        name=f"{kind}_{part}", title=f"{title} {_TITLES[part]}", unit=unit, better=better, digits=digits, source="ours",
        definition=f"{title} {where}{note}",
    )
    for kind, title, unit, better, digits, note in _KINDS
    for part, where in _IN_REGION.items()
)  # fmt: skip


class Differences(NamedTuple):
    """Exact integer differences of two frames, from which means over any region are cheap."""

    absolute: UInt8[np.ndarray, "S S 3"]
    squared: UInt16[np.ndarray, "S S 3"]


class Similarity(NamedTuple):
    """One scale of SSIM, without the border that the window overhangs."""

    whole: Float32[np.ndarray, "R R 3"]
    contrast: Float32[np.ndarray, "R R 3"]


def frame_numbers(made: Frame, true: Frame, regions: Regions | None) -> dict[str, float]:
    """All image metrics of one frame; NaN for a region that is empty or a frame that is too small."""
    gap, first = differences(made, true), similarity(in_unit(made), in_unit(true))
    values = {"l1": l1(gap), "psnr": psnr(gap), "ssim": _mean(first.whole), "ms_ssim": ms_ssim(made, true, first)}
    if regions is not None:
        for part, mask in zip(Regions._fields, regions, strict=True):
            values[f"l1_{part}"] = l1(gap, mask)
            values[f"psnr_{part}"] = psnr(gap, mask)
            values[f"ssim_{part}"] = _mean(first.whole, _inner(mask))
    return values


def differences(made: Frame, true: Frame) -> Differences:
    """Absolute and squared difference of each pixel."""
    absolute = cv2.absdiff(made, true)
    return Differences(absolute, cv2.multiply(absolute, absolute, dtype=cv2.CV_16U))


def l1(gap: Differences, mask: Mask | None = None) -> float:
    """Mean absolute difference in 0-1; NaN for an empty region."""
    return _mean(gap.absolute, mask) / 255


def psnr(gap: Differences, mask: Mask | None = None) -> float:
    """10 log10(1 / MSE), at most 100 dB; NaN for an empty region."""
    mse = _mean(gap.squared, mask) / 255**2
    return mse if math.isnan(mse) else min(PSNR_CAP_DB, -10 * math.log10(max(mse, 1e-30)))


def ssim(made: Frame, true: Frame) -> float:
    """Structural similarity (Wang 2004: Gaussian window of sigma 1.5, K 0.01 and 0.03, range 1)."""
    return _mean(similarity(in_unit(made), in_unit(true)).whole)


def ms_ssim(made: Frame, true: Frame, first: Similarity | None = None) -> float:
    """Structural similarity over five scales; NaN for frames below 161 px.

    Args:
        made: the frame in question.
        true: what it should be.
        first: the finest scale, when it is known already.
    """
    if len(made) < SMALLEST_MS_SSIM_PX:
        return math.nan
    a, b = in_unit(made), in_unit(true)
    scale, product, last = first or similarity(a, b), 1.0, len(SCALE_WEIGHTS) - 1
    for number, weight in enumerate(SCALE_WEIGHTS):
        if number:
            a, b = _halved(a), _halved(b)
            scale = similarity(a, b)
        # A negative contrast has no power; it counts as none (as in torchmetrics).
        product *= max(0.0, _mean(scale.whole if number == last else scale.contrast)) ** weight
    return product


def similarity(a: Float32[np.ndarray, "S S 3"], b: Float32[np.ndarray, "S S 3"]) -> Similarity:
    """The maps of SSIM and of its contrast term.

    The window is cut at 11 pixels and borders that it overhangs are left out: the numbers are scikit-image's. Blurring
    with OpenCV takes a sixth of the time of torchmetrics' two-dimensional convolution.
    """
    edge = slice(SSIM_WINDOW_PX // 2, -(SSIM_WINDOW_PX // 2))
    # Whole contiguous pictures until the end, and in place: views and fresh memory cost more than the arithmetic.
    mean_a, mean_b = _window_mean(a), _window_mean(b)
    energy, product = _window_mean(cv2.add(a * a, b * b)), _window_mean(a * b)
    across = mean_a * mean_b
    product -= across
    product *= 2
    product += C2
    mean_a *= mean_a
    mean_b *= mean_b
    mean_a += mean_b
    energy -= mean_a
    energy += C2
    contrast = product
    contrast /= energy
    across *= 2
    across += C1
    mean_a += C1
    across /= mean_a
    across *= contrast
    return Similarity(across[edge, edge], contrast[edge, edge])


def _window_mean(image: Float32[np.ndarray, "S S 3"]) -> Float32[np.ndarray, "S S 3"]:
    return cv2.GaussianBlur(image, (SSIM_WINDOW_PX, SSIM_WINDOW_PX), SSIM_SIGMA_PX)


def _inner(mask: Mask) -> np.ndarray:
    edge = SSIM_WINDOW_PX // 2
    return np.ascontiguousarray(mask[edge:-edge, edge:-edge])


def _halved(image: Float32[np.ndarray, "S S 3"]) -> Float32[np.ndarray, "H H 3"]:
    even = len(image) // 2 * 2
    return cv2.resize(image[:even, :even], (even // 2, even // 2), interpolation=cv2.INTER_AREA)


def in_unit(frame: Frame) -> Float32[np.ndarray, "S S 3"]:
    """RGB in 0-1."""
    return np.multiply(frame, np.float32(1 / 255), dtype=np.float32)


def _mean(image: np.ndarray, mask: np.ndarray | None = None) -> float:
    if mask is None:
        return sum(cv2.mean(image)[:3]) / 3
    return sum(cv2.mean(image, mask)[:3]) / 3 if mask.any() else math.nan
