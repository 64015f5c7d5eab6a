import numpy as np
import pytest

from evaluation.metrics.planted_faults import FAULTS, Fault, Stage
from evaluation.metrics.reaction import reactions
from evaluation.metrics.suite import MetricSuite

SMALL = Stage(num_frames=6, size_px=64)


def test_the_truth_is_nobodys_fault() -> None:
    truth = Fault(name="none", dose="", doses=(1.0, 2.0), meant=(), spoil=lambda stage, _: stage.truth)
    assert {one.verdict for one in reactions(MetricSuite(), SMALL, [truth])} == {"blind"}


def test_a_reaction_knows_its_stage_and_has_a_value_for_each_dose() -> None:
    fault = next(fault for fault in FAULTS if fault.name == "blurred")
    found = reactions(MetricSuite(), SMALL, [fault])
    assert {one.stage for one in found} == {"cat, plain"}
    assert {len(one.values) for one in found} == {1 + len(fault.doses)}
    assert next(one for one in found if one.metric == "l1").values[0] == 0


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((0.0, 1.0, 2.0), "sees it"),
        ((1.0, 0.5, 0.2), "deceived"),
        ((0.0, 2.0, 1.0), "unsteady"),
        ((0.0, 1.0, 1.0), "unsteady"),
        ((0.0, 0.001, 0.002), "blind"),
    ],
)
def test_a_reaction_is_judged_by_its_direction_and_size(values: tuple[float, ...], verdict: str) -> None:
    # The strongest reaction to any fault is 2; `background_drift` is better when it falls.
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
