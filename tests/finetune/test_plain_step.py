"""The straight step is worth comparing with only as long as it does the same."""

import pytest
import torch

from finetune.plain_step import PlainStep
from finetune.step_ways import alone
from tests.finetune.rows import CAT, HUMAN, batch, module

WEIGHTS = {
    "reconstruction": 20.0, "perceptual": 10.0, "gan": 0.1, "feature_matching": 1.0, "equivariance": 10.0,
    "prior": 1.0, "pose": 0.3, "delta": 1.0, "guide": 10.0, "agreement": 1.0,
}  # fmt: skip


def test_three_steps_give_the_losses_and_the_weights_of_the_real_step() -> None:
    rows = batch([HUMAN, CAT, CAT, HUMAN], truth=[True, True, False, False], cross=[False, True, False, False])
    real, straight = module(WEIGHTS).train(), module(WEIGHTS).train()
    real.max_steps = 10
    step, plain = alone(real), PlainStep(straight)
    plain.max_steps = 10
    for number in range(3):
        theirs, ours = step(rows), plain(rows)
        assert ours.keys() == theirs.keys() - {"total", "grad_norm", "lr"}
        for name, value in ours.items():
            assert value == pytest.approx(theirs[name], rel=2e-3, abs=2e-5), (number, name)
        if number == 0:
            for name, value in straight.model.named_parameters():
                slope = real.model.get_parameter(name).grad
                assert (value.grad is None) == (slope is None), name
                if value.grad is not None:
                    torch.testing.assert_close(value.grad, slope, rtol=1e-3, atol=1e-5, msg=name)
    # Adam turns the signs of vanishing gradients into whole steps, so weights are compared as a whole.
    assert real.ema is not None
    start = module(WEIGHTS).model.state_dict()
    for name in ("motion", "warping", "generator", "appearance"):
        keys = [key for key in start if key.startswith(name) and start[key].is_floating_point()]
        moved = sum(float((real.ema.values[key] - start[key]).abs().sum()) for key in keys)
        apart = sum(float((real.ema.values[key] - plain.average[key]).abs().sum()) for key in keys)
        assert moved > 0
        assert apart < 0.05 * moved, name


def test_without_cross_rows_and_judge_it_goes_too() -> None:
    rows = batch([HUMAN, CAT])
    found = PlainStep(module({"reconstruction": 1.0, "guide": 1.0}).train())(rows)
    assert set(found) == {"reconstruction", "guide"}
    assert all(value > 0 for value in found.values())


def test_what_is_not_written_down_is_refused() -> None:
    with pytest.raises(ValueError, match="flip"):
        PlainStep(module({"reconstruction": 1.0, "flip": 1.0}))
