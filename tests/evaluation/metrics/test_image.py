import math

import numpy as np
import pytest

from evaluation.metrics.image import (
    PSNR_CAP_DB,
    SMALLEST_MS_SSIM_PX,
    differences,
    frame_numbers,
    l1,
    ms_ssim,
    psnr,
    ssim,
)
from evaluation.metrics.regions import Regions


def picture(S: int = 48, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (S, S, 3), dtype=np.uint8)


def test_equal_frames_are_perfect() -> None:
    x = picture(192)
    gap = differences(x, x)
    assert l1(gap) == 0
    assert psnr(gap) == PSNR_CAP_DB
    assert ssim(x, x) == pytest.approx(1, abs=1e-6)
    assert ms_ssim(x, x) == pytest.approx(1, abs=1e-6)


def test_a_known_error_has_the_psnr_of_its_size() -> None:
    grey = np.full((16, 16, 3), 100, np.uint8)
    gap = differences(grey + 51, grey)  # 0.2
    assert l1(gap) == pytest.approx(0.2)
    assert psnr(gap) == pytest.approx(-20 * math.log10(0.2))
    assert psnr(differences(np.full_like(grey, 255), np.zeros_like(grey))) == pytest.approx(0, abs=1e-9)


def test_the_sign_of_an_error_does_not_matter_and_nothing_wraps() -> None:
    dark, bright = np.full((8, 8, 3), 10, np.uint8), np.full((8, 8, 3), 250, np.uint8)
    assert l1(differences(dark, bright)) == l1(differences(bright, dark)) == pytest.approx(240 / 255)


def test_noise_of_known_strength_has_its_psnr() -> None:
    grey = np.full((256, 256, 3), 128, np.uint8)
    noise = np.random.default_rng(0).normal(0, 12, grey.shape)
    noisy = np.round(grey + noise).astype(np.uint8)
    assert psnr(differences(noisy, grey)) == pytest.approx(20 * math.log10(255 / 12), abs=0.05)


def test_only_what_lies_inside_the_region_counts() -> None:
    true, upper = np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32), np.uint8)
    made = true.copy()
    made[:16] = 51
    upper[:16] = 1
    gap = differences(made, true)
    assert l1(gap, upper) == pytest.approx(0.2)
    assert l1(gap, 1 - upper) == 0
    assert psnr(gap, 1 - upper) == PSNR_CAP_DB
    assert math.isnan(l1(gap, np.zeros_like(upper)))
    assert math.isnan(psnr(gap, np.zeros_like(upper)))


def test_every_number_of_a_region_is_worse_where_the_error_is() -> None:
    true = picture(64)
    made = true.copy()
    made[40:50, 20:40] ^= 128
    mouth, eyes = np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8)
    mouth[40:50, 20:40] = 1
    eyes[10:20, 20:40] = 1
    values = frame_numbers(made, true, Regions(mouth | eyes, eyes, mouth, 1 - (mouth | eyes)))
    assert values["l1_mouth"] == pytest.approx(128 / 255)
    assert values["ssim_mouth"] < 0.5 < values["ssim_eyes"]
    assert values["psnr_mouth"] < values["psnr"] < values["psnr_eyes"]
    assert values["l1_eyes"] == 0
    assert math.isnan(values["ms_ssim"])


def test_a_frame_too_small_for_five_scales_has_no_ms_ssim() -> None:
    small, enough = SMALLEST_MS_SSIM_PX - 1, SMALLEST_MS_SSIM_PX
    assert math.isnan(ms_ssim(picture(small), picture(small, 4)))
    assert 0 <= ms_ssim(picture(enough), picture(enough, 4)) < 0.5
