"""Our numbers against those of other people's libraries, on fixed inputs. The tolerance is part of the claim."""

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from evaluation.metrics.features import frechet_distance, kernel_distance, moments
from evaluation.metrics.image import differences, ms_ssim, psnr, ssim
from evaluation.metrics.perceptual import Lpips
from evaluation.metrics.suite import to_float


def scene(seed: int, S: int = 192) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (S // 6, S // 6, 3), dtype=np.uint8)
    return cv2.resize(noise, (S, S), interpolation=cv2.INTER_CUBIC)


def spoiled(true: np.ndarray, kind: str) -> np.ndarray:
    if kind == "noise":
        return np.clip(true + np.random.default_rng(9).normal(0, 12, true.shape), 0, 255).astype(np.uint8)
    return {"blur": cv2.GaussianBlur(true, (0, 0), 2), "shift": np.roll(true, 3, 1), "other": scene(5)}[kind]


KINDS = ["noise", "blur", "shift", "other"]


@pytest.mark.parametrize("kind", KINDS)
def test_psnr_and_ssim_are_those_of_scikit_image(kind: str) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    true = scene(1)
    made = spoiled(true, kind)
    assert psnr(differences(made, true)) == pytest.approx(metrics.peak_signal_noise_ratio(true, made), abs=1e-6)
    a, b = (x.astype(np.float64) / 255 for x in (made, true))
    theirs = metrics.structural_similarity(
        b, a, data_range=1, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert ssim(made, true) == pytest.approx(theirs, abs=2e-5)


def theirs_without_borders(a: torch.Tensor, b: torch.Tensor) -> tuple[float, float]:
    """SSIM and its contrast term by torchmetrics, which keeps borders in the one and not in the other."""
    from torchmetrics.functional.image import structural_similarity_index_measure as theirs

    _, whole = theirs(a, b, data_range=1.0, return_full_image=True)
    _, contrast = theirs(a, b, data_range=1.0, return_contrast_sensitivity=True)
    return float(whole[..., 5:-5, 5:-5].mean()), float(contrast)


@pytest.mark.parametrize("kind", KINDS)
def test_ssim_is_that_of_torchmetrics_without_its_borders(kind: str) -> None:
    true = scene(1)
    made = spoiled(true, kind)
    theirs, _ = theirs_without_borders(to_float(made[None]), to_float(true[None]))
    assert ssim(made, true) == pytest.approx(theirs, abs=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_ms_ssim_is_made_of_torchmetrics_scales(kind: str) -> None:
    true = scene(1)
    made = spoiled(true, kind)
    a, b = to_float(made[None]), to_float(true[None])
    expected = 1.0
    for number, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        if number:
            a, b = torch.nn.functional.avg_pool2d(a, 2), torch.nn.functional.avg_pool2d(b, 2)
        whole, contrast = theirs_without_borders(a, b)
        expected *= max(0.0, whole if number == 4 else contrast) ** weight
    assert ms_ssim(made, true) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("kind", ["noise", "blur"])
def test_ms_ssim_is_near_that_of_torchmetrics_which_keeps_borders_at_the_coarsest_scale(kind: str) -> None:
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    true = scene(1, 256)
    made = spoiled(true, kind)
    theirs = multiscale_structural_similarity_index_measure(to_float(made[None]), to_float(true[None]), data_range=1.0)
    assert ms_ssim(made, true) == pytest.approx(float(theirs), abs=5e-3)


def rows(seed: int, N: int, D: int = 24, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(7).normal(0, 1, (D, D)) / np.sqrt(D)
    return (rng.normal(shift, 1, (N, D)) @ mixing).astype(np.float32)


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_frechet_distance_is_that_of_torchmetrics(shift: float) -> None:
    from torchmetrics.image.fid import _compute_fid

    a, b = rows(0, 200), rows(1, 150, shift=shift)
    x, y = (torch.from_numpy(part).double() for part in (a, b))
    theirs = _compute_fid(x.mean(0), torch.cov(x.T), y.mean(0), torch.cov(y.T))
    assert frechet_distance(moments(a), moments(b)) == pytest.approx(float(theirs), rel=1e-6)


def test_kernel_distance_is_that_of_torchmetrics() -> None:
    from torchmetrics.image.kid import poly_mmd

    a, b = rows(0, 120), rows(1, 120, shift=0.3)
    theirs = float(poly_mmd(torch.from_numpy(a).double(), torch.from_numpy(b).double()))
    assert kernel_distance(a, b) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_frechet_and_kernel_distance_are_those_of_torch_fidelity() -> None:
    pytest.importorskip("torch_fidelity", exc_type=ImportError)
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric

    a, b = rows(0, 300), rows(1, 300, shift=0.4)
    x, y = (fid_features_to_statistics(torch.from_numpy(part)) for part in (a, b))
    fid = fid_statistics_to_metric(x, y, False)["frechet_inception_distance"]
    assert frechet_distance(moments(a), moments(b)) == pytest.approx(fid, rel=1e-5)
    kid = kid_features_to_metric(
        torch.from_numpy(a), torch.from_numpy(b), kid_subsets=1, kid_subset_size=300, verbose=False
    )
    assert kernel_distance(a, b) == pytest.approx(kid["kernel_inception_distance_mean"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")
def test_lpips_is_that_of_the_lpips_package(tmp_path) -> None:
    lpips = pytest.importorskip("lpips", exc_type=ImportError)
    from torchvision.models import alexnet

    torch.manual_seed(0)
    backbone = alexnet(weights=None)
    torch.save(backbone.state_dict(), tmp_path / "alexnet.pth")
    theirs = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    parts: list[nn.Module] = [getattr(theirs.net, f"slice{i}") for i in range(1, 6)]
    for part in parts:
        for name, layer in part.named_children():
            layer.load_state_dict(backbone.features[int(name)].state_dict())
    ours = Lpips.from_file(tmp_path / "alexnet.pth")
    a, b = to_float(scene(0)[None]), to_float(scene(1)[None])
    with torch.inference_mode():
        assert float(ours(a, b)) == pytest.approx(float(theirs(2 * a - 1, 2 * b - 1)), rel=1e-4)
