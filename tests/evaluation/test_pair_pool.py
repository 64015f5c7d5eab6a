from dataclasses import replace
from functools import partial

import pytest

from evaluation.bench import build_bench
from evaluation.evaluate import RunOptions, measure
from evaluation.methods import CopySource
from evaluation.metrics.suite import MetricSuite
from evaluation.pair_work import Bench
from evaluation.protocols import SelfReenactment


def options_of(weights: object) -> dict:
    """As lp-evaluate composes them: tests cannot be imported by other processes, the package can."""
    return {
        "detector": None, "judge": None, "networks": {}, "lpips_weights": None, "weights": str(weights),
        "baseline_weights": None,
        "methods": {"copy_source": True, "affine": True, "tps": False, "external": None, "external_resize": False},
        "stitching": False, "multiplier": 1.0, "batch_frames": 4, "device": "cpu",
    }  # fmt: skip


@pytest.mark.slow
def test_rows_do_not_depend_on_the_number_of_processes(puppet_set, tiny_weights, tmp_path) -> None:
    pairs = SelfReenactment()(puppet_set, "quick", 64, None)
    make = partial(build_bench, options_of(tiny_weights))
    one = measure(pairs, make(0), RunOptions(out=tmp_path / "one"))
    two = measure(pairs, make(0), RunOptions(out=tmp_path / "two", workers=2, build=make))
    assert [replace(row, seconds=0.0) for row in two.rows] == [replace(row, seconds=0.0) for row in one.rows]
    assert [e.panels for e in two.examples] == [e.panels for e in one.examples]
    # What several processes kept, one process goes on from.
    again = measure(pairs, make(0), RunOptions(out=tmp_path / "two"))
    assert again.about["reused"] == "6 of 6 results"


def test_several_processes_need_to_know_how_to_begin(puppet_set) -> None:
    pairs = SelfReenactment()(puppet_set, "quick", 64, None)
    with pytest.raises(ValueError, match="workers=2 needs build="):
        measure(pairs, Bench(methods=[CopySource()], suite=MetricSuite()), RunOptions(workers=2))
