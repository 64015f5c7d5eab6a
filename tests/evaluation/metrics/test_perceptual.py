import pytest
import torch
from torch.nn import functional as F

from evaluation.metrics.perceptual import Lpips, gradient_distance, linear_weights


def texture(seed: int, S: int = 128) -> torch.Tensor:
    noise = torch.rand(1, 3, S // 8, S // 8, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, size=(S, S), mode="bicubic").clamp(0, 1)


def test_equal_frames_have_no_distance_and_unrelated_ones_about_one() -> None:
    assert float(gradient_distance(texture(0), texture(0))) == 0
    assert 0.7 < float(gradient_distance(texture(0), texture(1))) < 1.2


def test_distance_grows_with_a_shift_and_with_blur() -> None:
    x = texture(0)
    shifted = [float(gradient_distance(x.roll(k, dims=3), x)) for k in (0, 1, 2, 4)]
    assert shifted == sorted(shifted)
    blurred = [float(gradient_distance(F.avg_pool2d(x, k, 1, k // 2), x)) for k in (1, 5, 9, 17)]
    assert blurred == sorted(blurred)


def test_more_light_counts_less_than_a_moved_edge() -> None:
    x = texture(0) * 0.8
    assert float(gradient_distance(x + 0.1, x)) < 0.02
    assert float(gradient_distance(x.roll(3, dims=3), x)) > 0.1


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
    a, b = texture(0), texture(1)
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
