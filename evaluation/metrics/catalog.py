"""Metric names -> what each number is: the one list from which columns, arrows and footnotes are made."""

from dataclasses import dataclass
from typing import Literal

Direction = Literal["up", "down", "one"]
"""More is better, less is better, or 1 is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number per pair."""

    name: str
    """Key in rows and summaries."""
    title: str
    unit: str
    better: Direction
    definition: str
    is_stand_in: bool = False
    """Measured in place of another metric that needs weights which are not at hand."""
    digits: int = 4


METRICS: tuple[Metric, ...] = (
    Metric(
        name="l1", title="L1", unit="0-1", better="down",
        definition="mean absolute difference of RGB in 0-1, per frame, then per pair",
    ),
    Metric(
        name="psnr", title="PSNR", unit="dB", better="up", digits=2,
        definition="10 log10(1 / mean squared error of RGB in 0-1), per frame, capped at 100 dB, then per pair; "
        "not comparable with the PSNR column of the LivePortrait paper, which exceeds the bound its own L1 column sets",
    ),
    Metric(
        name="ssim", title="SSIM", unit="0-1", better="up",
        definition="structural similarity (Gaussian window 11, sigma 1.5, range 1; equals scikit-image), per frame",
    ),
    Metric(
        name="lpips", title="LPIPS", unit="", better="down",
        definition="LPIPS-Alex v0.1 on RGB in -1..1; needs the torchvision AlexNet weights at metrics.lpips_weights",
    ),
    Metric(
        name="grad_distance", title="gradient distance", unit="0-2", better="down", is_stand_in=True,
        definition="gradient-feature distance, a stand-in, not LPIPS: colour gradients (Sobel) at 4 scales, "
        "each divided by its local strength (9x9 window), half the mean squared difference; 0 for equal frames, about "
        "1 for unrelated ones",
    ),
    Metric(
        name="l1_face", title="L1 head", unit="0-1", better="down",
        definition="L1 inside the true head mask (ears included); without masks, inside a disc around the five points",
    ),
    Metric(
        name="l1_eyes", title="L1 eyes", unit="0-1", better="down",
        definition="L1 inside the true eye regions, grown by 3 px; without masks, discs around the two eye points",
    ),
    Metric(
        name="l1_mouth", title="L1 mouth", unit="0-1", better="down",
        definition="L1 inside the true mouth region, grown by 3 px; without masks, a disc over the two mouth points",
    ),
    Metric(
        name="l1_background", title="L1 background", unit="0-1", better="down",
        definition="L1 outside head and shoulders; without masks, outside the disc around the five points",
    ),
    Metric(
        name="point_error", title="point error", unit="% of face", better="down", digits=2,
        definition="distance of the detector's five points on the result from the true ones, in percent of the true "
        "face size (mean of eye distance and eye-to-mouth distance), over the frames in which a head is found",
    ),
    Metric(
        name="detected", title="head found", unit="% of frames", better="up", digits=1,
        definition="share of result frames in which the detector finds a head of the right species",
    ),
    Metric(
        name="motion_gain", title="motion gain", unit="1 is right", better="one", digits=3,
        definition="how much of the true change the result makes: regression of (result - its first frame) on (truth - "
        "its first frame) over all pixels and frames; 0 for a frozen picture, 1 for the truth, below 0 if opposite",
    ),
    Metric(
        name="flicker", title="flicker", unit="0-1", better="down",
        definition="mean absolute change between neighbouring frames of the error (result - truth)",
    ),
    Metric(
        name="csim", title="identity (CSIM)", unit="cosine", better="up",
        definition="cosine of identity embeddings; needs an identity network, none is shipped",
    ),
    Metric(
        name="eye_error", title="eye-open error", unit="ratio", better="down",
        definition="difference of eye-open ratios; needs a dense landmark network for animals, none is shipped",
    ),
    Metric(
        name="lip_error", title="lip-open error", unit="ratio", better="down",
        definition="difference of lip-open ratios; needs a dense landmark network for animals, none is shipped",
    ),
)  # fmt: skip

BY_NAME = {metric.name: metric for metric in METRICS}

HEADLINE = ("l1", "psnr", "ssim", "grad_distance", "l1_face", "l1_eyes", "l1_mouth", "motion_gain")
"""Shown in figures; the tables show all."""
