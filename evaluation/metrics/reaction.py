"""A measure, a fault in growing doses and a stage -> how each metric reacts: sees it, is blind to it, is deceived."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from evaluation.metrics.catalog import BY_NAME
from evaluation.metrics.metric import Direction
from evaluation.metrics.planted_faults import FAULTS, Fault, Stage
from evaluation.protocols.pairs import PairFrames

Verdict = Literal["sees it", "blind", "unsteady", "deceived"]
"""Worse with each dose; no reaction; a reaction that does not grow with the dose; better though it is worse."""
BLIND_SHARE = 0.03
"""A reaction below this share of the metric's strongest one to any fault (but for lost frames) is none."""


class Reaction(NamedTuple):
    """One metric under one fault on one stage."""

    stage: str
    fault: str
    metric: str
    values: tuple[float, ...]
    """Of dose 0 and of each dose."""
    verdict: Verdict


def reactions(
    measure: Callable[[np.ndarray, PairFrames], Mapping[str, float]], stage: Stage, faults: Sequence[Fault] = FAULTS
) -> list[Reaction]:
    """Spoil, measure, judge; metrics that are not measured at every dose are left out.

    Args:
        measure: a `MetricSuite`, or `Everything`.
        stage: what is spoiled.
        faults: in which ways.
    """
    perfect = measure(stage.truth, stage.pair)
    series: dict[tuple[str, str], tuple[float, ...]] = {}
    for fault in faults:
        answers = [perfect, *(measure(fault.spoil(stage, dose), stage.pair) for dose in fault.doses)]
        for name in perfect:
            if name in BY_NAME and all(name in answer for answer in answers):
                series[fault.name, name] = tuple(answer[name] for answer in answers)
    fine = {key: values for key, values in series.items() if not any(f.is_ruin for f in faults if f.name == key[0])}
    strongest = {name: _strongest(fine, name) or _strongest(series, name) for _, name in series}
    return [
        Reaction(stage.name, fault, name, values, _verdict(values, BY_NAME[name].better, strongest[name]))
        for (fault, name), values in series.items()
    ]


def badness(value: float, better: Direction) -> float:
    """How wrong a value is: grows the worse it gets."""
    return {"up": -value, "down": value, "one": abs(value - 1), "zero": abs(value)}[better]


def _strongest(series: Mapping[tuple[str, str], tuple[float, ...]], name: str) -> float:
    """The largest change for the worse that any fault makes."""
    better = BY_NAME[name].better
    changes = [
        badness(value, better) - badness(values[0], better)
        for (_, metric), values in series.items()
        if metric == name
        for value in values
    ]
    return max(changes, default=0.0)


def _verdict(values: Sequence[float], better: Direction, strongest: float) -> Verdict:
    bad = [badness(value, better) for value in values]
    floor = max(BLIND_SHARE * strongest, 1e-9)
    if max(abs(value - bad[0]) for value in bad) <= floor:
        return "blind"
    if bool((np.diff(bad) > 0).all()):
        return "sees it"
    return "deceived" if max(bad) <= bad[0] + floor else "unsteady"
