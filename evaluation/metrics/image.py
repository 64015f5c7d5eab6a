"""Two equally long runs of frames -> PSNR, SSIM, L1, flicker and motion gain."""

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

PSNR_CAP_DB = 100.0
"""PSNR of equal frames, so that means stay finite."""
SSIM_WINDOW_PX, SSIM_SIGMA_PX = 11, 1.5


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
    """Structural similarity per frame, on the CPU (Wang 2004: Gaussian window of sigma 1.5, K 0.01 and 0.03, range 1).

    The window is cut at 11 pixels and borders that it overhangs are left out: the numbers are scikit-image's. Blurring
    frame by frame with OpenCV takes a sixth of the time of torchmetrics' two-dimensional convolution.
    """
    pairs = zip(_channels_last(result), _channels_last(truth), strict=True)
    return torch.tensor([_ssim(a, b) for a, b in pairs], dtype=torch.float32)


def _ssim(a: Float32[np.ndarray, "S S 3"], b: Float32[np.ndarray, "S S 3"]) -> float:
    edge = SSIM_WINDOW_PX // 2

    def window_mean(image: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(image, (SSIM_WINDOW_PX, SSIM_WINDOW_PX), SSIM_SIGMA_PX)[edge:-edge, edge:-edge]

    mean_a, mean_b = window_mean(a), window_mean(b)
    across = mean_a * mean_b
    squares = mean_a * mean_a + mean_b * mean_b
    variances = window_mean(a * a + b * b) - squares
    covariance = window_mean(a * b) - across
    c1, c2 = 0.01**2, 0.03**2
    similarity = ((2 * across + c1) * (2 * covariance + c2)) / ((squares + c1) * (variances + c2))
    return float(similarity.mean())


def _channels_last(frames: Float[Tensor, "T 3 S S"]) -> Float32[np.ndarray, "T S S 3"]:
    return frames.permute(0, 2, 3, 1).float().contiguous().cpu().numpy()


def flicker(result: Float[Tensor, "T 3 S S"], truth: Float[Tensor, "T 3 S S"]) -> float:
    """Mean absolute change of the error between neighbouring frames; NaN for a single frame."""
    return float((result - truth).diff(dim=0).abs().mean())


def motion_gain(result: Float[Tensor, "T 3 S S"], truth: Float[Tensor, "T 3 S S"]) -> float:
    """Share of the true change since the first frame that the result makes since its own; NaN if the truth is still."""
    moved, made = (frames - frames[:1] for frames in (truth, result))
    energy = moved.square().sum(dtype=torch.float64)
    return float((moved * made).sum(dtype=torch.float64) / energy) if energy > 0 else torch.nan
