"""Driving keypoints + corrections -> the keypoints the generator receives: stitching, eye and lip retargeting."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from evaluation.driving import amplified

CLOSED_LIP_RATIO = 0.03
"""Lip ratio below which a mouth counts as closed already and is not normalised (upstream's threshold)."""
CLOSED_EYE_RATIO = 0.18
OPEN_EYE_RATIO = 0.39
"""A source video whose first frame has eyes below the first ratio is opened to the second (upstream's values)."""


@runtime_checkable
class Corrections(Protocol):
    """What is needed of `lp_models.stitching.StitchingRetargeting`."""

    def stitch(self, x_s: Tensor, x_d: Tensor) -> Tensor: ...  # noqa: D102
    def retarget_eyes(self, x_s: Tensor, eyes: Tensor) -> Tensor: ...  # noqa: D102
    def retarget_lips(self, x_s: Tensor, lips: Tensor) -> Tensor: ...  # noqa: D102


def closed_lips_delta(
    corrections: Corrections, x_s: Float[Tensor, "T K 3"], lip_ratio: Float[Tensor, "T 1"]
) -> Float[Tensor, "T K 3"]:
    """Change that closes the source's lips before it is animated; zero where they are closed already."""
    delta = corrections.retarget_lips(x_s, torch.cat((lip_ratio, torch.zeros_like(lip_ratio)), dim=1))
    return delta * (lip_ratio >= CLOSED_LIP_RATIO)[:, :, None]


def open_eyes_delta(
    corrections: Corrections, x_s: Float[Tensor, "T K 3"], eye_ratios: Float[Tensor, "T 2"]
) -> Float[Tensor, "T K 3"]:
    """Change that keeps a source video's eyes as open as in its first frame."""
    wanted = float(eye_ratios[0].mean())
    wanted = OPEN_EYE_RATIO if wanted < CLOSED_EYE_RATIO else wanted
    goal = torch.full_like(eye_ratios[:, :1], wanted)
    return corrections.retarget_eyes(x_s, torch.cat((eye_ratios, goal), dim=1))


def eyes_delta(
    corrections: Corrections,
    x_s: Float[Tensor, "T K 3"],
    source_ratios: Float[Tensor, "T 2"],
    wanted: Float[Tensor, "T 1"],
) -> Float[Tensor, "T K 3"]:
    """Change that opens the source's eyes to the wanted ratio."""
    return corrections.retarget_eyes(x_s, torch.cat((source_ratios, wanted), dim=1))


def lips_delta(
    corrections: Corrections,
    x_s: Float[Tensor, "T K 3"],
    source_ratio: Float[Tensor, "T 1"],
    wanted: Float[Tensor, "T 1"],
) -> Float[Tensor, "T K 3"]:
    """Change that opens the source's lips to the wanted ratio."""
    return corrections.retarget_lips(x_s, torch.cat((source_ratio, wanted), dim=1))


def finished(
    x_s: Float[Tensor, "T K 3"],
    x_d: Float[Tensor, "T K 3"],
    stitch: Callable[[Tensor, Tensor], Tensor] | None,
    multiplier: float,
    after_stitching: Float[Tensor, "#T K 3"] | None = None,
    rest: Float[Tensor, "#T K 3"] | None = None,
    *,
    stitch_last: bool = False,
) -> Float[Tensor, "T K 3"]:
    """Driving keypoints -> stitched, corrected, amplified; in upstream's order.

    Args:
        x_s: keypoints of the source, repeated for every frame.
        x_d: keypoints from the driving rules (or from x_s plus retargeting deltas).
        stitch: `corrections.stitch`, or None for none.
        multiplier: factor on the whole motion, applied last.
        after_stitching: closed-lip and open-eye changes, which stitching must not undo.
        rest: keypoints from which motion is amplified, when the source's face was edited; None for x_s.
        stitch_last: amplify first, so that stitching sees the motion that is shown (not upstream's order).
    """
    rest = x_s if rest is None else rest
    if stitch_last:
        x_d = amplified(rest, x_d, multiplier)
    if stitch is not None:
        x_d = stitch(x_s, x_d)
    if after_stitching is not None:
        x_d = x_d + after_stitching
    return x_d if stitch_last else amplified(rest, x_d, multiplier)
