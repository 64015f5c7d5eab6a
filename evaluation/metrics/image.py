"""Two equally long runs of frames -> PSNR, SSIM, L1, flicker and motion gain."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

PSNR_CAP_DB = 100.0
"""PSNR of equal frames, so that means stay finite."""


def l1(result: Float[Tensor, "T 3 S S"], truth: Float[Tensor, "T 3 S S"]) -> Float[Tensor, " T"]:
    """Mean absolute difference per frame."""
    return (result - truth).abs().mean(dim=(1, 2, 3))


def masked_l1(
    result: Float[Tensor, "T 3 S S"], truth: Float[Tensor, "T 3 S S"], mask: Bool[Tensor, "T S S"]
) -> Float[Tensor, " T"]:
    """Mean absolute difference inside the mask per frame; NaN where the mask is empty."""
    inside = mask[:, None].float()
    return ((result - truth).abs() * inside).sum(dim=(1, 2, 3)) / (3 * inside.sum(dim=(1, 2, 3)))


def psnr(result: Float[Tensor, "T 3 S S"], truth: Float[Tensor, "T 3 S S"]) -> Float[Tensor, " T"]:
    """10 log10(1 / MSE) per frame, at most 100 dB."""
    mse = (result - truth).double().square().mean(dim=(1, 2, 3))
    return (-10 * mse.clamp_min(1e-30).log10()).clamp_max(PSNR_CAP_DB).float()


def ssim(result: Float[Tensor, "T 3 S S"], truth: Float[Tensor, "T 3 S S"]) -> Float[Tensor, " T"]:
    """Structural similarity per frame (Wang 2004: Gaussian window of sigma 1.5)."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    value = structural_similarity_index_measure(result, truth, data_range=1.0, reduction="none")
    if not isinstance(value, Tensor):
        raise TypeError("torchmetrics returned an image besides the SSIM values")
    return value.reshape(-1)


def flicker(result: Float[Tensor, "T 3 S S"], truth: Float[Tensor, "T 3 S S"]) -> float:
    """Mean absolute change of the error between neighbouring frames; NaN for a single frame."""
    return float((result - truth).diff(dim=0).abs().mean())


def motion_gain(
    result: Float[Tensor, "T 3 S S"], truth: Float[Tensor, "T 3 S S"], rest: Float[Tensor, "3 S S"]
) -> float:
    """Share of the true change since the rest picture that the result makes; NaN when the truth does not move."""
    moved, made = (truth - rest).double(), (result - rest).double()
    energy = moved.square().sum()
    return float((moved * made).sum() / energy) if energy > 0 else torch.nan
