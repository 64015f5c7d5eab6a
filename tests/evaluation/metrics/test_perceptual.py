import cv2
import numpy as np
import pytest
import torch

from evaluation.metrics.perceptual import Lpips, gradient_distance, linear_weights
from evaluation.metrics.suite import to_float


def texture(seed: int, S: int = 128) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (S // 8, S // 8, 3), dtype=np.uint8)
    return cv2.resize(noise, (S, S), interpolation=cv2.INTER_CUBIC)


def test_equal_frames_have_no_distance_and_unrelated_ones_about_one() -> None:
    assert gradient_distance(texture(0), texture(0)) == pytest.approx(0, abs=1e-6)
    assert 0.7 < gradient_distance(texture(0), texture(1)) < 1.2


def test_opposite_edges_are_twice_as_far_as_unrelated_ones() -> None:
    assert 1.7 < gradient_distance(255 - texture(0), texture(0)) < 2


def test_distance_grows_with_a_shift_and_with_blur() -> None:
    x = texture(0)
    shifted = [gradient_distance(np.roll(x, k, axis=1), x) for k in (0, 1, 2, 4)]
    assert shifted == sorted(shifted)
    blurred = [gradient_distance(cv2.GaussianBlur(x, (0, 0), k), x) for k in (0.3, 2, 4, 8)]
    assert blurred == sorted(blurred)


def test_more_light_counts_less_than_a_moved_edge() -> None:
    x = (texture(0) * 0.8).astype(np.uint8)
    assert gradient_distance(x + 25, x) < 0.02
    assert gradient_distance(np.roll(x, 3, axis=1), x) > 0.1


@pytest.mark.slow
def test_lpips_equals_torchmetrics_on_the_same_backbone(tmp_path) -> None:
    from torchmetrics.functional.image.lpips import _LPIPS
    from torchvision.models import alexnet

    torch.manual_seed(0)
    net = alexnet(weights=None)
    torch.save(net.state_dict(), tmp_path / "alexnet.pth")
    theirs = _LPIPS(pretrained=True, net="alex", pnet_rand=True)
    for part in (getattr(theirs.net, f"slice{i}") for i in range(1, 6)):
        for name, layer in part.named_children():
            layer.load_state_dict(net.features[int(name)].state_dict())
    a, b = to_float(texture(0)[None]), to_float(texture(1)[None])
    ours = Lpips.from_file(tmp_path / "alexnet.pth")
    assert float(ours(a, b)) == pytest.approx(float(theirs(a, b, normalize=True)), rel=1e-4)
    assert float(ours(a, a)) == 0
    assert len(linear_weights()) >= 5


def test_missing_lpips_weights_are_named(tmp_path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        Lpips.from_file(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("<html>")
    with pytest.raises(ValueError, match="not torchvision's AlexNet"):
        Lpips.from_file(tmp_path / "text.pth")
