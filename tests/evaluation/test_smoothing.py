from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.smoothing import smoothed


@pytest.mark.parametrize("name", ["exp", "R", "strong"])
def test_smoothing_equals_the_matrix_form(name: str) -> None:
    with np.load(Path(__file__).parent / "golden" / "smoothing.npz") as golden:
        sequence, variance = torch.from_numpy(golden[f"kal.{name}.in"])[:, 0], float(golden[f"kal.{name}.var"])
        expected = torch.from_numpy(golden[f"kal.{name}.out"])
    assert torch.allclose(smoothed(sequence, variance), expected, atol=2e-6)


def test_a_constant_and_a_single_frame_stay() -> None:
    constant = torch.full((7, 2), 0.3)
    assert torch.allclose(smoothed(constant, 1e-3), constant)
    assert torch.allclose(smoothed(constant[:1], 1e-3), constant[:1])
