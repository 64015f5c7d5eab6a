"""Two models -> whether they hold the same numbers."""

import torch

from lp_models import LivePortrait


def assert_same_state(a: LivePortrait, b: LivePortrait) -> None:
    left, right = a.state_dict(), b.state_dict()
    assert left.keys() == right.keys()
    different = [key for key in left if not torch.equal(left[key], right[key]) or left[key].dtype != right[key].dtype]
    assert different == []
