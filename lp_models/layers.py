"""Feature maps -> feature maps: the convolution blocks that the networks share.

Attribute names are those of the official state dict. Shape letters: B batch, C channels, D depth, H height, W width.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

Activation = Literal["relu", "lrelu"]
EPS = 1e-12
START_ITERATIONS = 10


class SameBlock2d(nn.Module):
    """3x3 convolution, batch norm, ReLU (or leaky ReLU with slope 0.01); the side stays."""

    def __init__(self, channels_in: int, channels_out: int, activation: Activation = "relu") -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels_out)
        self.slope = 0.01 if activation == "lrelu" else 0.0

    def forward(self, x: Float[Tensor, "B Cin H W"]) -> Float[Tensor, "B Cout H W"]:
        """One convolution; the side stays."""
        return F.leaky_relu(self.norm(self.conv(x)), self.slope)


class DownBlock2d(nn.Module):
    """3x3 convolution, batch norm, ReLU, then 2x2 averages: half the side."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, x: Float[Tensor, "B Cin H W"]) -> Float[Tensor, "B Cout H/2 W/2"]:
        """Half the side."""
        return F.avg_pool2d(F.relu(self.norm(self.conv(x))), 2)


class ResBlock3d(nn.Module):
    """Pre-activation residual block on a feature volume."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1)
        self.norm1 = nn.BatchNorm3d(channels)
        self.norm2 = nn.BatchNorm3d(channels)

    def forward(self, x: Float[Tensor, "B C D H W"]) -> Float[Tensor, "B C D H W"]:
        """The volume plus its correction."""
        y = self.conv1(F.relu(self.norm1(x)))
        y = self.conv2(F.relu(self.norm2(y)))
        return x + y


class DownBlock3d(nn.Module):
    """3x3x3 convolution, batch norm, ReLU, averages over 1x2x2: half the side, the depth is never pooled."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels_in, channels_out, 3, padding=1)
        self.norm = nn.BatchNorm3d(channels_out)

    def forward(self, x: Float[Tensor, "B Cin D H W"]) -> Float[Tensor, "B Cout D H/2 W/2"]:
        """Half the side, the same depth."""
        return F.avg_pool3d(F.relu(self.norm(self.conv(x))), (1, 2, 2))


class UpBlock3d(nn.Module):
    """Twice the side by nearest neighbours, then 3x3x3 convolution, batch norm, ReLU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels_in, channels_out, 3, padding=1)
        self.norm = nn.BatchNorm3d(channels_out)

    def forward(self, x: Float[Tensor, "B Cin D H W"]) -> Float[Tensor, "B Cout D H*2 W*2"]:
        """Twice the side, the same depth."""
        x = F.interpolate(x, scale_factor=(1.0, 2.0, 2.0), mode="nearest")
        return F.relu(self.norm(self.conv(x)))


class SpectralConv2d(nn.Module):
    """Convolution whose weight is divided by (an estimate of) its largest singular value.

    The state dict is that of the legacy `torch.nn.utils.spectral_norm`: `weight_orig`, `weight_u`, `weight_v`; the
    published weights hold these and the upstream loader wants them back. In eval mode the stored vectors are used as
    they are; in training mode each call makes one power iteration first.
    """

    weight_u: Tensor
    weight_v: Tensor

    def __init__(self, channels_in: int, channels_out: int, kernel: int, *, bias: bool = True) -> None:
        super().__init__()
        plain = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=bias)
        self.padding = kernel // 2
        # The parameter order (bias first) is that of the official files.
        self.bias = plain.bias
        self.weight_orig = plain.weight
        self.register_buffer("weight_u", torch.empty(channels_out).uniform_(-1, 1))
        self.register_buffer("weight_v", torch.zeros(channels_in * kernel**2))
        if not self.weight_orig.is_meta:  # arithmetic on the meta device would import torch's compiler (4 s)
            self.settle()

    def settle(self) -> None:
        """Bring fresh vectors near the largest singular pair; else an untrained generator is saturated."""
        for _ in range(START_ITERATIONS):
            self._iterate()

    @torch.no_grad()
    def _iterate(self) -> None:
        """One power iteration, in place: the vectors approach the largest singular pair."""
        matrix = self.weight_orig.flatten(1)
        self.weight_v.copy_(F.normalize(matrix.T @ self.weight_u, dim=0, eps=EPS))
        self.weight_u.copy_(F.normalize(matrix @ self.weight_v, dim=0, eps=EPS))

    def weight(self) -> Float[Tensor, "Cout Cin k k"]:
        """The normalised weight, in fp32 also under autocast."""
        with torch.autocast(self.weight_orig.device.type, enabled=False):
            if self.training:
                self._iterate()
            # Copies, because the next call changes the buffers in place before this one's backward pass.
            u, v = self.weight_u.clone(), self.weight_v.clone()
            return self.weight_orig / (u @ (self.weight_orig.flatten(1) @ v))

    def forward(self, x: Float[Tensor, "B Cin H W"]) -> Float[Tensor, "B Cout H W"]:
        """The convolution with the normalised weight."""
        return F.conv2d(x, self.weight(), self.bias, padding=self.padding)
