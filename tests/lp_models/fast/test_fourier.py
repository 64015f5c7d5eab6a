"""The frequency domain gives the direct convolution's numbers for every size of map, kernel and batch."""

import pytest
import torch
from torch.nn import functional as F

from lp_models.fast.fourier import TILE_PX, FourierConv3d


@pytest.mark.parametrize("kernel", [1, 3, 7])
@pytest.mark.parametrize("size", [(1, 4, 4), (4, 16, 16), (5, TILE_PX, TILE_PX + 1), (16, 40, 23)])
def test_it_is_the_direct_convolution(kernel: int, size: tuple[int, int, int]) -> None:
    weight, bias = torch.randn(3, 4, kernel, kernel, kernel), torch.randn(3)
    x = torch.randn(2, 4, *size)
    expected = F.conv3d(x, weight, bias, padding=kernel // 2)
    ours = FourierConv3d(weight, bias, size[0])(x)
    assert torch.allclose(ours, expected, atol=1e-5 * float(expected.abs().max()) + 1e-6)
