"""A convolution whose kernel never learns -> the same, with a quicker way back to a picture of few channels.

oneDNN takes twenty times as long for the gradient of a one-channel picture as for the convolution itself. The gradient
is a convolution too; here it gives a block of 4 x 4 pixels as 16 channels, which fill a vector, and then moves them to
their places: 32 ms become 5 (4 pictures of 256 px, 12 kernels of 7 px, 2 cores).
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

BLOCK = 4


def frozen_convolution(x: Float[Tensor, "B C H W"], kernel: Float[Tensor, "N C k k"]) -> Float[Tensor, "B N H2 W2"]:
    """`F.conv2d(x, kernel)`; no gradient goes to the kernel."""
    return _Frozen.apply(x, kernel)  # pyright: ignore[reportReturnType]


class _Frozen(torch.autograd.Function):
    """The operator with its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor) -> Tensor:  # noqa: ANN401  (autograd's context)
        ctx.save_for_backward(kernel)
        ctx.size = x.shape[2:]
        return F.conv2d(x, kernel)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401  (autograd's context)
        (kernel,), (height, width) = ctx.saved_tensors, ctx.size
        reach = kernel.shape[-1] - 1
        turned = kernel.flip(-1, -2).transpose(0, 1)
        padded = F.pad(slopes[0], (reach, reach - width % -BLOCK, reach, reach - height % -BLOCK))
        blocks = F.conv2d(padded, in_blocks(turned), stride=BLOCK)
        return F.pixel_shuffle(blocks, BLOCK)[:, :, :height, :width], None


def in_blocks(kernel: Float[Tensor, "N C k k"]) -> Float[Tensor, "N*16 C k2 k2"]:
    """A kernel -> one that gives the 4 x 4 results of a block as channels, in the order of pixel_shuffle."""
    num, channels, side = kernel.shape[:3]
    wide = side + BLOCK - 1
    spread = kernel.new_zeros(num, BLOCK, BLOCK, channels, wide, wide)
    for i in range(BLOCK):
        for j in range(BLOCK):
            spread[:, i, j, :, i : i + side, j : j + side] = kernel
    return spread.reshape(num * BLOCK**2, channels, wide, wide)
