import pytest
import torch

from finetune.flops import measured_peak_flops, row_flops
from finetune.stitching_module import StitchingModule
from lp_models.cost import DRIVING_PATH, costs
from tests.finetune.rows import module


def test_a_step_costs_three_forward_passes_of_what_learns_and_leaves_no_trace() -> None:
    trained = module({"reconstruction": 1.0, "equivariance": 1.0}).train()
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    flops = row_flops(trained)
    passes = {name: 2e9 * cost.gmac for name, cost in costs(trained.averaged().eval()).items()}
    wanted = sum(passes[name] for name in (*DRIVING_PATH, "appearance"))
    # Motion reads source, driving and the warped half of the drivings.
    assert flops == pytest.approx(3 * (wanted + passes["motion"] * 1.5))
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())
    assert trained.training


def test_judges_features_and_cross_rows_add_to_it() -> None:
    plain = row_flops(module({"reconstruction": 1.0}))
    assert row_flops(module({"reconstruction": 1.0}), cross_frac=1.0) > plain
    assert row_flops(module({"reconstruction": 1.0, "perceptual": 1.0})) > plain
    judged = module({"reconstruction": 1.0, "gan": 1.0, "gan_face": 1.0})
    vectors = {name: value.clone() for name, value in judged.judges.state_dict().items()}
    assert row_flops(judged) > row_flops(module({"reconstruction": 1.0, "gan": 1.0})) > plain
    assert all(torch.equal(value, vectors[name]) for name, value in judged.judges.state_dict().items())


def test_a_recipe_without_a_count_has_none() -> None:
    assert row_flops(StitchingModule.__new__(StitchingModule)) == 0


def test_the_peak_is_that_of_a_matrix_product() -> None:
    assert 1e8 < measured_peak_flops(torch.device("cpu"), torch.float32, repeats=1) < 1e15
