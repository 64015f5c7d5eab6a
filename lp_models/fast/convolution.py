"""A trained convolution -> the same one, ready for inference: norm folded in, weight packed, activation fused."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Activation = Literal["none", "relu", "leaky_relu"]


class ReadyConv(nn.Module):
    """A 2-D or 3-D convolution with stride 1 and its activation, in one precision, channels last.

    On the CPU, oneDNN gets the weight in its own blocked layout once, instead of at every call, and applies the
    activation while the result is still in cache. Elsewhere (or without oneDNN) plain torch operators do the same.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        *,
        dtype: torch.dtype,
        padding: int | None = None,
        activation: Activation = "none",
        slope: float = 0.0,
    ) -> None:
        """Take the weight [Cout, Cin, (k,) k, k] and bias [Cout]; padding None keeps the side."""
        super().__init__()
        self.spatial = weight.ndim - 2
        self.padding = weight.shape[-1] // 2 if padding is None else padding
        self.dtype = dtype
        self.activation: Activation = activation
        self.slope = slope
        self.register_buffer("weight", weight.detach().to(dtype).contiguous(memory_format=channels_last(self.spatial)))
        self.register_buffer("bias", None if bias is None else bias.detach().to(dtype))
        self._packed: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """The convolution and its activation, in the layer's precision."""
        x = x.to(self.dtype)
        if can_pack(x):
            return self._with_onednn(x)
        convolve = F.conv2d if self.spatial == 2 else F.conv3d
        y = convolve(x, self.weight, self.bias, padding=self.padding)
        if self.activation == "relu":
            return F.relu_(y)
        return F.leaky_relu_(y, self.slope) if self.activation == "leaky_relu" else y

    def _with_onednn(self, x: Tensor) -> Tensor:
        ones, padding = [1] * self.spatial, [self.padding] * self.spatial
        if self._packed is None:
            self._packed = _packed(self.weight.to_mkldnn(), padding, ones, list(x.shape))
            self.weight = self.weight[:0]  # the packed copy is the only one that is needed now
        scalars = [self.slope] if self.activation == "leaky_relu" else []
        return torch.ops.mkldnn._convolution_pointwise(
            x, self._packed, self.bias, padding, ones, ones, 1, self.activation, scalars, ""
        )


def _packed(weight: Tensor, padding: list[int], ones: list[int], size: list[int]) -> Tensor:
    """The weight in the layout that oneDNN likes best for inputs of this size; others work, too."""
    nn_ops: Any = torch._C._nn  # pyright: ignore[reportAttributeAccessIssue]
    pack = nn_ops.mkldnn_reorder_conv2d_weight if len(ones) == 2 else nn_ops.mkldnn_reorder_conv3d_weight
    return pack(weight, padding, ones, ones, 1, size)


def can_pack(x: Tensor) -> bool:
    """Whether oneDNN's packed convolutions can be used for this input."""
    return x.device.type == "cpu" and torch.backends.mkldnn.is_available() and bool(torch.backends.mkldnn.enabled)


def channels_last(spatial: int) -> torch.memory_format:
    """The memory format that keeps a pixel's (or voxel's) channels together."""
    return torch.channels_last if spatial == 2 else torch.channels_last_3d


def folded(weight: Tensor, bias: Tensor | None, norm: nn.BatchNorm2d | nn.BatchNorm3d) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution followed by a batch norm in eval mode, as one convolution."""
    mean, var = norm.running_mean, norm.running_var
    if mean is None or var is None:
        raise ValueError("a batch norm without running statistics cannot be folded")
    factor = norm.weight.double() * (var.double() + norm.eps).rsqrt()
    start = torch.zeros_like(mean) if bias is None else bias
    shape = (-1,) + (1,) * (weight.ndim - 1)
    new_weight = (weight.double() * factor.view(shape)).float()
    return new_weight, ((start.double() - mean.double()) * factor + norm.bias.double()).float()
