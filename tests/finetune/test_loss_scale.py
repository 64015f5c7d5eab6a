import torch
from torch import nn

from finetune.loss_scale import LossScale


def parameter(slope: list[float]) -> nn.Parameter:
    found = nn.Parameter(torch.zeros(len(slope)))
    found.grad = torch.tensor(slope)
    return found


def test_gradients_come_back_to_their_size():
    scale, held = LossScale(value=8.0), parameter([8.0, 16.0])
    assert scale.at(0) == 8
    assert scale.unscale([held, nn.Parameter(torch.zeros(1))])
    assert held.grad.tolist() == [1, 2]


def test_an_overflow_takes_all_gradients_and_halves_the_next_steps_scale():
    scale = LossScale(value=8.0, grow_after=2)
    good, bad = parameter([8.0]), parameter([float("inf")])
    scale.at(0)
    assert not scale.unscale([good, bad])
    assert good.grad is None
    assert bad.grad is None
    assert scale.at(0) == 8  # the other optimiser's losses of the same step
    assert [scale.at(step) for step in (1, 2, 3, 4, 5)] == [4, 4, 8, 8, 16]
    assert scale.skipped == 1


def test_a_scale_of_one_that_overflows_is_exhausted():
    scale = LossScale(value=1.0)
    scale.at(0)
    scale.unscale([parameter([float("nan")])])
    assert scale.is_exhausted
    assert scale.at(1) == 1


def test_a_state_goes_on_as_if_nothing_had_happened():
    one, other = LossScale(value=8.0, grow_after=3), LossScale(grow_after=3)
    for step in range(2):
        one.at(step)
    other.load(one.state())
    assert [one.at(step) for step in (2, 3, 4, 5)] == [other.at(step) for step in (2, 3, 4, 5)]
