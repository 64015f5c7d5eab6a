"""A picture -> one feature vector: the ConvNeXt-V2 body of the motion network (arXiv 2301.00808)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

EPS = 1e-6


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of a B C H W map."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=EPS)

    def forward(self, input: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Normalise every pixel's channel vector."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class GlobalResponseNorm(nn.Module):
    """Lets the channels of a B H W C map compete by their energy over the whole map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, channels))

    def forward(self, x: Float[Tensor, "B H W C"]) -> Float[Tensor, "B H W C"]:
        """The map plus its scaled, competing copy."""
        energy = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True, dtype=torch.float32)
        relative = energy / (energy.mean(dim=-1, keepdim=True) + EPS)
        # gamma (x n) + beta + x, with the two factors of x joined first: they are small.
        return x * (1 + self.gamma * relative).to(x.dtype) + self.beta.to(x.dtype)


class Block(nn.Module):
    """Depthwise 7x7, then a two-layer network on every pixel, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=EPS)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.act = nn.GELU()
        self.grn = GlobalResponseNorm(4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The map plus its correction."""
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        y = self.pwconv2(self.grn(self.act(self.pwconv1(y))))
        return x + y.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """ConvNeXt-V2 without its classifier; the motion network hangs its heads on this module."""

    def __init__(self, dims: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(3, dims[0], 4, stride=4), ChannelNorm(dims[0]))
        halvings = [
            nn.Sequential(ChannelNorm(before), nn.Conv2d(before, after, 2, stride=2))
            for before, after in pairwise(dims)
        ]
        self.downsample_layers = nn.ModuleList([stem, *halvings])
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(dim) for _ in range(depth))) for dim, depth in zip(dims, depths, strict=True)
        )
        self.norm = nn.LayerNorm(dims[-1], eps=EPS)
        self.apply(_initialise)

    def features(self, image: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B C"]:
        """The normalised mean over the last map, in fp32."""
        # The blocks work on the channels of each pixel; with the channels last in memory, their permutes are free.
        x = image.contiguous(memory_format=torch.channels_last)
        for downsample, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(downsample(x))
        with torch.autocast(x.device.type, enabled=False):
            return self.norm(x.float().mean(dim=(2, 3)))


def _initialise(module: nn.Module) -> None:
    """Weights by fan-in. ConvNeXt's fixed 0.02 suits wide networks; in narrow ones the blocks start next to silent.

    After 300 steps of 32 puppets the starter's pose error was 4.4 degrees with this start, 5.7 with 0.02.
    """
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=module.weight[0].numel() ** -0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, Block):
        with torch.no_grad():
            module.pwconv1.weight.mul_(2**0.5)  # the GELU behind it halves the variance
            module.pwconv2.weight.mul_(0.5)  # fifteen residual branches add up
