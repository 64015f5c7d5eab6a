"""Styles of enlarged label maps and norms of enlarged maps, computed on the small ones."""

import pytest
import torch
from torch.nn import functional as F

from lp_models.fast.generator import EnlargedStyles, normalised
from lp_models.generator import SpadeNorm


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("size", [(4, 6), (1, 3)])
def test_styles_are_those_of_the_enlarged_label(factor: int, size: tuple[int, int]) -> None:
    norms = [SpadeNorm(6, 5, 8) for _ in range(3)]
    label = torch.randn(2, 5, *size)
    large = F.interpolate(label, scale_factor=float(factor), mode="nearest")
    with torch.inference_mode():
        ours = EnlargedStyles(norms, factor, torch.float32)(label)
        for style, norm in zip(ours, norms, strict=True):
            assert torch.allclose(style, norm.mlp_shared(large), atol=1e-5)


def test_a_second_label_of_another_size_is_not_mixed_up_with_the_first() -> None:
    norm = SpadeNorm(6, 5, 8)
    styles = EnlargedStyles([norm], 2, torch.float32)
    with torch.inference_mode():
        for size in ((4, 6), (6, 4), (3, 3)):
            label = torch.randn(1, 5, *size)
            expected = norm.mlp_shared(F.interpolate(label, scale_factor=2.0, mode="nearest"))
            assert torch.allclose(styles(label)[0], expected, atol=1e-5)


def test_the_norm_is_the_instance_norm() -> None:
    x = 3 + 5 * torch.randn(2, 7, 9, 4)
    assert torch.allclose(normalised(x), F.instance_norm(x), atol=1e-5)
