"""The process' random generators <-> tensors and plain values, so that a checkpoint can hold them."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def random_states() -> dict[str, Any]:
    """States of torch's, NumPy's and Python's generators, and of every GPU's where CUDA is in use."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002
    version, inner, spare = random.getstate()
    found: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": [str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), int(position), int(has_gauss),
                  float(gauss)],
        "python": [version, list(inner), spare],
    }  # fmt: skip
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        found["cuda"] = torch.cuda.get_rng_state_all()
    return found


def set_random_states(states: "Mapping[str, Any] | Tensor") -> None:
    """Go on from `random_states`; checkpoints of before hold torch's alone.

    States of GPUs are taken where as many are there as were saved.
    """
    if isinstance(states, Tensor):
        torch.set_rng_state(states)
        return
    torch.set_rng_state(states["torch"])
    name, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))  # noqa: NPY002
    version, inner, spare = states["python"]
    random.setstate((version, tuple(inner), spare))
    if "cuda" in states and torch.cuda.is_available() and torch.cuda.device_count() == len(states["cuda"]):
        torch.cuda.set_rng_state_all(states["cuda"])
