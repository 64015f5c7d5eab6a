"""Prepared convolutions: packing, folding and fused activations change nothing but speed."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lp_models.fast.convolution import ReadyConv, folded


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("spatial", [2, 3])
@pytest.mark.parametrize("activation", ["none", "relu", "leaky_relu"])
def test_the_activation_is_that_of_torch(
    packed: bool, spatial: int, activation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not packed:
        monkeypatch.setattr("lp_models.fast.convolution.can_pack", lambda x: False)
    weight, bias = torch.randn(5, 4, *(3,) * spatial), torch.randn(5)
    x = torch.randn(2, 4, *(6,) * spatial)
    plain = (F.conv2d if spatial == 2 else F.conv3d)(x, weight, bias, padding=1)
    expected = {"none": plain, "relu": plain.relu(), "leaky_relu": F.leaky_relu(plain, 0.2)}[activation]
    conv = ReadyConv(weight, bias, dtype=torch.float32, activation=activation, slope=0.2)
    with torch.inference_mode():
        assert torch.allclose(conv(x), expected, atol=1e-5)
        assert torch.allclose(conv(x[:1]), expected[:1], atol=1e-5)  # packed for another batch size


@pytest.mark.parametrize("bias", [True, False])
def test_a_folded_norm_is_the_norm(bias: bool) -> None:
    conv, norm = nn.Conv2d(3, 4, 3, bias=bias), nn.BatchNorm2d(4).eval()
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.2, 2)
    nn.init.uniform_(norm.weight, -1, 2)
    x = torch.randn(1, 3, 8, 8)
    weight, offset = folded(conv.weight, conv.bias, norm)
    assert torch.allclose(F.conv2d(x, weight, offset), norm(conv(x)), atol=1e-5)


def test_a_norm_without_statistics_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be folded"):
        folded(torch.randn(2, 2, 1, 1), None, nn.BatchNorm2d(2, track_running_stats=False))
