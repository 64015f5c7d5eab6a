"""A picture -> scores of its patches at several depths: what judges whether a frame looks real."""

from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm


class Verdict(NamedTuple):
    """What one discriminator says."""

    scores: list[Tensor]
    """One map of patch scores per scale; above 0 means real."""
    features: list[Tensor]
    """The layers before, for feature matching."""


class PatchDiscriminator(nn.Module):
    """PatchGAN with spectral norm (pix2pix; face-vid2vid A.2), at one or more picture sizes."""

    def __init__(self, width: int = 24, max_width: int = 128, num_layers: int = 3, scales: int = 1) -> None:
        super().__init__()
        self.nets = nn.ModuleList(_patch_net(width, max_width, num_layers) for _ in range(scales))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Verdict:
        """RGB in 0-1 -> scores and features."""
        # Channels last pays for wide judges; at the starter's size it makes no difference (docs/benchmark_training.md).
        x = (image * 2 - 1).contiguous(memory_format=torch.channels_last)
        scores, features = [], []
        for index, net in enumerate(self.nets):
            if index:
                x = F.avg_pool2d(x, 2)
            y = x
            assert isinstance(net, nn.ModuleList)
            for layer in net[:-1]:
                y = F.leaky_relu(layer(y), 0.2)
                features.append(y)
            scores.append(net[-1](y))
        return Verdict(scores, features)


def _patch_net(width: int, max_width: int, num_layers: int) -> nn.ModuleList:
    widths = [3, *(min(max_width, width * 2**i) for i in range(num_layers))]
    layers: list[nn.Module] = [
        spectral_norm(nn.Conv2d(before, after, 4, stride=2, padding=1)) for before, after in pairwise(widths)
    ]
    last = min(max_width, widths[-1] * 2)
    layers.append(spectral_norm(nn.Conv2d(widths[-1], last, 3, padding=1)))
    layers.append(spectral_norm(nn.Conv2d(last, 1, 3, padding=1)))
    return nn.ModuleList(layers)


class FrozenParameters:
    """A context in which a network passes gradients through but collects none."""

    def __init__(self, net: nn.Module) -> None:
        self.parameters = [p for p in net.parameters() if p.requires_grad]

    def __enter__(self) -> None:
        for parameter in self.parameters:
            parameter.requires_grad_(False)

    def __exit__(self, *_: object) -> None:
        for parameter in self.parameters:
            parameter.requires_grad_(True)
