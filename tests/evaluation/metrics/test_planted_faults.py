import numpy as np
import pytest

from evaluation.metrics.catalog import BY_NAME
from evaluation.metrics.fault_reactions import Reaction, everything, fault_table, reactions
from evaluation.metrics.planted_faults import FAULTS, Fault, Stage
from evaluation.metrics.suite import MetricSuite

SMALL = Stage(num_frames=12, size_px=96)
QUICK = ("mouth frozen", "time lag", "mirrored motion", "jitter added", "background moved", "texture boils")


@pytest.fixture(scope="module")
def seen() -> list[Reaction]:
    """What the suite alone says about the faults that need no detector."""
    return reactions(MetricSuite(), SMALL, [fault for fault in FAULTS if fault.name in QUICK])


@pytest.mark.parametrize("name", QUICK)
def test_the_metrics_meant_to_see_a_fault_get_worse_with_each_dose(seen: list[Reaction], name: str) -> None:
    fault = next(fault for fault in FAULTS if fault.name == name)
    found = {one.metric: one for one in seen if one.fault == name}
    asked = [metric for metric in fault.meant if metric in found]
    assert asked
    for metric in asked:
        assert found[metric].verdict == "sees it", found[metric]


def test_the_table_says_which_metrics_do_not_see_a_fault(seen: list[Reaction]) -> None:
    verdicts = {(one.fault, one.metric): one.verdict for one in seen}
    assert verdicts["background moved", "l1_face"] == "blind"
    assert verdicts["background moved", "l1_mouth"] == "blind"
    assert verdicts["mouth frozen", "background_drift"] == "blind"
    assert verdicts["time lag", "flicker_excess"] in ("blind", "deceived")
    table = fault_table(seen)
    lines = {line.split(" | ")[0].strip("| "): line for line in table.splitlines()}
    assert lines["metric"].count("|") == len(QUICK) + 2
    assert "<u>**yes**</u>" in lines["L1 mouth"]
    assert "–" in lines["L1 head"]


def test_the_truth_is_nobodys_fault() -> None:
    truth = Fault(name="none", dose="", doses=(1.0, 2.0), meant=(), spoil=lambda stage, _: stage.truth)
    assert {one.verdict for one in reactions(MetricSuite(), SMALL, [truth])} == {"blind"}


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((0.0, 1.0, 2.0), "sees it"),
        ((1.0, 0.5, 0.2), "deceived"),
        ((0.0, 2.0, 1.0), "unsteady"),
        ((0.0, 0.001, 0.002), "blind"),
    ],
)
def test_a_reaction_is_judged_by_its_direction_and_size(values: tuple[float, ...], verdict: str) -> None:
    # The strongest reaction to any fault is 2; `drift` is better when it falls.
    answers = {"planted": values, "strong": (values[0], values[0] + 1, values[0] + 2)}
    series = {name: iter(row[1:]) for name, row in answers.items()}

    def measure(frames: np.ndarray, pair: object) -> dict[str, float]:
        return {"background_drift": next(now[0])} if now else {"background_drift": values[0]}

    now: list = []

    def spoiling(name: str):
        def spoil(stage: Stage, dose: float) -> np.ndarray:
            now[:] = [series[name]]
            return stage.truth

        return spoil

    faults = [Fault(name=name, dose="", doses=(1.0, 2.0), meant=(), spoil=spoiling(name)) for name in answers]
    found = reactions(measure, SMALL, faults)
    assert next(one for one in found if one.fault == "planted").verdict == verdict


def test_faults_are_the_same_at_every_call_and_leave_the_truth_alone() -> None:
    before = SMALL.truth.copy()
    for fault in FAULTS:
        dose = fault.doses[-1]
        if fault.name in ("jitter added", "texture boils"):
            assert np.array_equal(fault.spoil(SMALL, dose), fault.spoil(SMALL, dose))
        made = fault.spoil(SMALL, dose)
        assert made.shape == before.shape
        assert not np.array_equal(made, before), fault.name
    assert np.array_equal(SMALL.truth, before)
    assert list(FAULTS[0].doses) == sorted(FAULTS[0].doses)


def test_every_metric_that_is_meant_exists() -> None:
    assert {name for fault in FAULTS for name in fault.meant} <= BY_NAME.keys()


@pytest.mark.slow
def test_every_fault_is_seen_by_all_that_are_meant_to() -> None:
    """With detector, stand-ins and, where its weights are, the face reader; nothing is blind to everything."""
    measure = everything()
    missing = measure.suite.missing()
    found = {(one.fault, one.metric): one for one in reactions(measure, Stage())}
    for fault in FAULTS:
        for metric in fault.meant:
            if metric in missing:
                continue
            assert found[fault.name, metric].verdict == "sees it", found[fault.name, metric]
    for metric in {one.metric for one in found.values()} - {"broken"}:
        assert any(one.verdict == "sees it" for one in found.values() if one.metric == metric), metric
