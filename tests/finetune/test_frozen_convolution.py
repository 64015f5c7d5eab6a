import pytest
import torch
from torch.nn import functional as F

from finetune.frozen_convolution import frozen_convolution


@pytest.mark.parametrize(
    ("size", "kernel"), [((1, 1, 14, 14), (12, 1, 7, 7)), ((2, 3, 13, 18), (5, 3, 3, 3)), ((1, 2, 9, 11), (4, 2, 2, 2))]
)
def test_the_gradient_is_that_of_the_convolution(size: tuple[int, ...], kernel: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x, weight = torch.rand(size, dtype=torch.float64, requires_grad=True), torch.randn(kernel, dtype=torch.float64)
    result = frozen_convolution(x, weight)
    torch.testing.assert_close(result, F.conv2d(x, weight))
    slope = torch.randn_like(result)
    (wanted,) = torch.autograd.grad(F.conv2d(x, weight), x, slope)
    (found,) = torch.autograd.grad(result, x, slope)
    torch.testing.assert_close(found, wanted)
