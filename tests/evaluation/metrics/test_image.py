import numpy as np
import pytest
import torch

from evaluation.metrics.image import PSNR_CAP_DB, flicker, l1, masked_l1, motion_gain, psnr, ssim


def pictures(T: int = 2, S: int = 48) -> torch.Tensor:
    return torch.rand(T, 3, S, S, generator=torch.Generator().manual_seed(3))


def test_equal_frames_are_perfect() -> None:
    x = pictures()
    assert torch.equal(l1(x, x), torch.zeros(2))
    assert torch.equal(psnr(x, x), torch.full((2,), PSNR_CAP_DB))
    assert torch.allclose(ssim(x, x), torch.ones(2), atol=1e-5)
    assert flicker(x, x) == 0
    assert motion_gain(x, x) == pytest.approx(1)


def test_a_known_error_has_the_psnr_of_its_size() -> None:
    x = torch.full((1, 3, 16, 16), 0.5)
    assert float(psnr(x + 0.1, x)) == pytest.approx(20, abs=1e-4)
    assert float(l1(x + 0.1, x)) == pytest.approx(0.1, abs=1e-6)


def test_noise_of_known_strength_has_its_psnr() -> None:
    x = torch.full((1, 3, 256, 256), 0.5)
    noisy = x + 0.05 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    assert float(psnr(noisy, x)) == pytest.approx(-20 * np.log10(0.05), abs=0.05)


def test_psnr_and_ssim_agree_with_scikit_image() -> None:
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    truth = torch.nn.functional.avg_pool2d(pictures(2, 96), 3, stride=1, padding=1)
    result = (truth + 0.05 * pictures(2, 96)).clamp(0, 1)
    ours = ssim(result, truth)
    for i in range(2):
        a, b = (x[i].permute(1, 2, 0).double().numpy() for x in (result, truth))
        assert float(psnr(result, truth)[i]) == pytest.approx(peak_signal_noise_ratio(b, a, data_range=1), abs=1e-4)
        other = structural_similarity(
            b, a, data_range=1, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        assert float(ours[i]) == pytest.approx(other, abs=2e-5)


def test_only_what_lies_inside_the_mask_counts() -> None:
    truth, mask = torch.zeros(1, 3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.bool)
    result = truth.clone()
    result[:, :, :4] = 0.5
    mask[:, :4] = True
    assert float(masked_l1(result, truth, mask)) == pytest.approx(0.5)
    assert float(masked_l1(result, truth, ~mask)) == 0
    assert torch.isnan(masked_l1(result, truth, torch.zeros_like(mask))).all()


def test_a_frozen_picture_gains_no_motion_and_half_of_it_gains_half() -> None:
    truth = pictures(4)
    rest = truth[0]
    assert motion_gain(rest.expand_as(truth), truth) == pytest.approx(0)
    assert motion_gain(torch.full_like(truth, 0.5), truth) == pytest.approx(0)
    assert motion_gain(rest + 0.5 * (truth - rest), truth) == pytest.approx(0.5, abs=1e-6)
    assert motion_gain(rest - (truth - rest), truth) == pytest.approx(-1)


def test_a_constant_error_does_not_flicker_and_a_changing_one_does() -> None:
    truth = pictures(4)
    assert flicker(truth + 0.1, truth) == pytest.approx(0, abs=1e-6)
    jitter = torch.tensor([0.1, -0.1, 0.1, -0.1])[:, None, None, None]
    assert flicker(truth + jitter, truth) == pytest.approx(0.2, abs=1e-6)
