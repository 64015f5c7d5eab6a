"""Planted faults in growing doses -> how each metric reacts: which see the fault, which are blind, which are deceived.

`python -m evaluation.metrics.fault_reactions FILE.md` writes the table.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from data_pipeline.cli_errors import user_errors
from data_pipeline.shards import write_text
from evaluation.metrics.catalog import BY_NAME, METRICS
from evaluation.metrics.metric import Direction
from evaluation.metrics.planted_faults import FAULTS, Fault, Frames, Stage
from evaluation.metrics.suite import MetricSuite, SetMeasure
from evaluation.protocols.pairs import PairFrames

Verdict = Literal["sees it", "blind", "unsteady", "deceived"]
"""Worse with each dose; no reaction; a reaction that does not grow with the dose; better though it is worse."""
SIGNS: dict[Verdict, str] = {"sees it": "**yes**", "blind": "–", "unsteady": "~", "deceived": "wrong way"}
BLIND_SHARE = 0.03
"""A reaction below this share of the metric's strongest one to any fault is none."""
OTHERS = (1, 2, 3)
"""Numbers of the individuals that fill the gallery."""


class Reaction(NamedTuple):
    """One metric under one fault."""

    fault: str
    metric: str
    values: tuple[float, ...]
    """Of dose 0 and of each dose."""
    verdict: Verdict


@dataclass
class Everything:
    """Measures one result with a suite and with set measures, as if the pair were all of a run.

    Galleries are filled with the first frames of other individuals.
    """

    suite: MetricSuite
    of_set: Sequence[SetMeasure] = ()
    _others: dict[str, list[tuple[str, dict[str, np.ndarray]]]] = field(default_factory=dict)

    def __call__(self, result: Frames, pair: PairFrames) -> dict[str, float]:
        """All numbers."""
        values = self.suite(result, pair)
        for measure in self.of_set:
            found = measure.features(pair, result)
            if found:
                others = self._fill(measure, pair) if "source" in found else []
                values |= measure.values([("this", found), *others])
        return values

    def _fill(self, measure: SetMeasure, pair: PairFrames) -> list[tuple[str, dict[str, np.ndarray]]]:
        if measure.name not in self._others:
            entries = []
            for index in OTHERS:
                stage = Stage(species=pair.species, index=index, num_frames=2, size_px=pair.source.shape[0])
                found = measure.features(stage.pair, stage.truth)
                entries.append((str(index), found | {"result": found["result"][:0]}))  # in the gallery, not asked about
            self._others[measure.name] = entries
        return self._others[measure.name]


def reactions(
    measure: Callable[[Frames, PairFrames], Mapping[str, float]], stage: Stage, faults: Sequence[Fault] = FAULTS
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
    return [
        Reaction(fault, name, values, _verdict(values, BY_NAME[name].better, _strongest(series, name)))
        for (fault, name), values in series.items()
    ]


def fault_table(found: Sequence[Reaction], faults: Sequence[Fault] = FAULTS) -> str:
    """Reactions -> a Markdown table, a line per metric, a column per fault; underlined where it must see the fault."""
    by_place = {(one.fault, one.metric): one for one in found}
    meant = {(fault.name, name) for fault in faults for name in fault.meant}
    names = [fault.name for fault in faults if any(one.fault == fault.name for one in found)]
    lines = [f"| metric | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for metric in METRICS:
        cells = []
        for name in names:
            one = by_place.get((name, metric.name))
            sign = "" if one is None else SIGNS[one.verdict]
            cells.append(f"<u>{sign}</u>" if sign and (name, metric.name) in meant else sign)
        if any(cells):
            lines.append(f"| {metric.title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def badness(value: float, better: Direction) -> float:
    """How wrong a value is: grows the worse it gets."""
    return {"up": -value, "down": value, "one": abs(value - 1), "zero": abs(value)}[better]


def _strongest(series: Mapping[tuple[str, str], tuple[float, ...]], name: str) -> float:
    """The largest change for the worse that any fault makes."""
    better = BY_NAME[name].better
    return max(
        badness(value, better) - badness(values[0], better)
        for (_, metric), values in series.items()
        if metric == name
        for value in values
    )


def _verdict(values: Sequence[float], better: Direction, strongest: float) -> Verdict:
    bad = [badness(value, better) for value in values]
    floor = max(BLIND_SHARE * strongest, 1e-9)
    if max(abs(value - bad[0]) for value in bad) <= floor:
        return "blind"
    if bool((np.diff(bad) > 0).all()):
        return "sees it"
    return "deceived" if max(bad) <= bad[0] + floor else "unsteady"


def everything() -> Everything:
    """All measures that need no file of the user: the shipped detector and face reader, and the stand-ins."""
    from data_pipeline.detect import OnnxHeadDetector
    from evaluation.metrics.motion import MotionFidelity
    from evaluation.metrics.reader import FaceReader
    from evaluation.metrics.standard import standard_measures

    detector = OnnxHeadDetector(flip=False)
    measures = standard_measures(detector)
    suite = MetricSuite(detector=detector, extra=[*measures.per_pair, MotionFidelity(reader=FaceReader())])
    return Everything(replace(suite, detector_every=1), measures.of_set)


@user_errors
def main() -> None:
    """Write the table of the catalog's metrics under all faults."""
    if len(sys.argv) != 2:
        raise ValueError("give one file to write: python -m evaluation.metrics.fault_reactions FILE.md")
    write_text(Path(sys.argv[1]), fault_table(reactions(everything(), Stage())))


if __name__ == "__main__":
    main()
