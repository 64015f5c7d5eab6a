"""Translations by matrices and weighted rows give grid_sample's numbers."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from lp_models.dense_motion import deformed_volumes, sparse_motions
from lp_models.fast.sampling import sampled_rows, translated, translation_matrix
from lp_models.geometry import identity_grid

sides = st.integers(2, 9)


@settings(deadline=None, max_examples=25)
@given(d=sides, h=sides, w=sides, count=st.integers(1, 4), spread=st.floats(0, 1.5), seed=st.integers(0, 99))
def test_translations_equal_grid_sample(d: int, h: int, w: int, count: int, spread: float, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    volume = torch.randn(2, 3, d, h, w, generator=g)
    kp_source, kp_driving = spread * torch.randn(2, 2, count, 3, generator=g)
    motions = sparse_motions(identity_grid(d, h, w, like=volume), kp_source, kp_driving)
    offsets = F.pad(kp_source - kp_driving, (0, 0, 1, 0))
    ours = translated(volume, offsets).permute(0, 4, 5, 1, 2, 3)
    assert torch.allclose(ours, deformed_volumes(volume, motions), atol=2e-5)


def test_rows_of_a_translation_sum_to_what_lies_inside() -> None:
    inside = translation_matrix(8, torch.tensor(0.0))
    assert torch.allclose(inside[1:-1].sum(dim=1), torch.ones(6))
    assert translation_matrix(8, torch.tensor(5.0)).abs().sum() == 0


@settings(deadline=None, max_examples=25)
@given(d=sides, h=sides, w=sides, spread=st.floats(0, 4), seed=st.integers(0, 99))
def test_weighted_rows_equal_grid_sample(d: int, h: int, w: int, spread: float, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    volume = torch.randn(1, 5, d, h, w, generator=g)
    places = spread * torch.randn(1, 40, 3, generator=g)
    expected = F.grid_sample(volume, places[:, None, None], align_corners=False)[0, :, 0, 0].T
    rows = volume[0].permute(1, 2, 3, 0).reshape(-1, 5)
    assert torch.allclose(sampled_rows(rows, (d, h, w), places[0].T), expected, atol=2e-5)


def test_absurd_places_are_outside() -> None:
    rows = torch.ones(8, 2)
    places = torch.tensor([[1e30, 0.0, 0.0], [0.0, -1e30, 0.0]])
    assert sampled_rows(rows, (2, 2, 2), places.T).abs().sum() == 0
