from itertools import pairwise

import numpy as np
import pytest

from evaluation.metrics.catalog import BY_NAME
from evaluation.metrics.planted_faults import FAULTS, STAGES, Fault, Stage

SMALL = Stage(num_frames=6, size_px=64)


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_fault_comes_in_growing_doses_that_differ_and_repeat(fault: Fault) -> None:
    before = SMALL.truth.copy()
    assert len(fault.doses) >= 3
    assert list(fault.doses) == sorted(fault.doses)
    made = [fault.spoil(SMALL, dose) for dose in fault.doses]
    assert all(one.shape == before.shape for one in made)
    assert not any(np.array_equal(one, before) for one in made)
    assert not any(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairwise(made))
    again = fault.spoil(SMALL, fault.doses[-1])
    assert np.array_equal(again, made[-1], equal_nan=again.dtype.kind == "f")
    assert np.array_equal(SMALL.truth, before)


def test_every_metric_that_is_meant_exists() -> None:
    assert {name for fault in FAULTS for name in fault.meant} <= BY_NAME.keys()
    assert all(fault.meant for fault in FAULTS)


def test_stages_are_of_several_levels_and_species() -> None:
    assert len({stage.level for stage in STAGES}) >= 3
    assert len({stage.name for stage in STAGES}) == len(STAGES)
    assert "human" not in {stage.species for stage in STAGES}


def test_a_level_changes_the_motion_or_the_driver_and_never_the_truth() -> None:
    plain, turned, lit = (
        Stage(level=level, num_frames=6, size_px=64) for level in ("plain", "large_pose", "other_light")
    )
    assert np.abs(turned.motion[:, 1]).max() > 1.5 * np.abs(plain.motion[:, 1]).max()
    assert np.array_equal(lit.truth, plain.truth)
    assert not np.array_equal(lit.pair.driving[-1], plain.pair.driving[-1])
    assert np.array_equal(plain.pair.driving, Stage(num_frames=6, size_px=64).pair.driving)
