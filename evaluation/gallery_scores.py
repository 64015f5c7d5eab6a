"""Numbers of all pairs of a gallery -> shares that reach the goals, and the pairs that went worst."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from evaluation.gallery_cast import Animal
from evaluation.gallery_rows import COPY, TUNED
from evaluation.metrics.identity import GalleryRank

IDENTITY_GOAL = 0.9
"""Share of frames whose nearest source is the right one."""
POSE_GOAL = 0.7
"""Correlation of the head's pose in the driver and in the result."""
POSE = "pose_corr"
POSES = ("yaw_corr", "pitch_corr", "roll_corr")
"""Of which the pose correlation is the mean, where they are measured."""
IDENTITY, LOOK = "gallery_rank_stand_in", "csim_stand_in"
WORST_OF_EACH = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PairScore:
    """What was measured on one animal and one driver."""

    animal: Animal
    driver: str
    values: Mapping[str, Mapping[str, float]]
    """Method -> metric -> value; what cannot be measured is absent."""

    @property
    def name(self) -> str:
        """For tables and pictures."""
        return f"{self.animal.name} / {self.driver}"

    def value(self, metric: str, method: str = TUNED) -> float:
        """NaN where it was not measured."""
        return self.values[method].get(metric, math.nan)


class Fault(NamedTuple):
    """A way in which a pair can go wrong."""

    metric: str
    title: str
    worst: Literal["lowest", "highest"]


FAULTS = (
    Fault(IDENTITY, "another animal", "lowest"),
    Fault(LOOK, "colours and edges of the head changed", "lowest"),
    Fault(POSE, "the head does not follow", "lowest"),
    Fault("detected", "no head of the species to be found", "lowest"),
    Fault("warp_error", "tears and boils", "highest"),
    Fault("flicker_excess", "flickers", "highest"),
)
_SECOND = FAULTS[1]
"""Decides between pairs that are equally bad."""
_NO_FAULT = {IDENTITY: -1.0, POSE: -POSE_GOAL, "detected": 0.0}
"""Badness of pairs that have nothing of the fault, or reach its goal."""


class Worst(NamedTuple):
    """One of the pairs that went worst in one way."""

    fault: Fault
    pair: PairScore
    value: float


class Share(NamedTuple):
    """How many of how many."""

    reached: int
    of: int

    @property
    def percent(self) -> float:
        """NaN of nothing."""
        return 100 * self.reached / self.of if self.of else math.nan


def with_identity(
    pairs: Sequence[PairScore], features: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]], rank: GalleryRank
) -> list[PairScore]:
    """Add to each pair the share of frames nearest to their own photo, which needs all photos, and the mean pose.

    Args:
        pairs: all of the gallery.
        features: pair's name -> method -> what `GalleryRank.features` gave.
        rank: asked for one pair at a time, among the sources of all.
    """
    individuals = {pair.name: pair.animal.name for pair in pairs}
    found = []
    for pair in pairs:
        values = {method: dict(known) for method, known in pair.values.items()}
        for method, known in values.items():
            others = [
                (other.name, {**features[other.name][method], "result": features[other.name][method]["result"][:0]})
                for other in pairs
                if other.name != pair.name and features[other.name][method]
            ]
            if features[pair.name][method]:
                own = (pair.name, features[pair.name][method])
                known |= rank.values([own, *others], individuals)
            pose = [known[name] for name in POSES if name in known]
            known |= {POSE: float(np.mean(pose))} if pose else {}
        found.append(PairScore(animal=pair.animal, driver=pair.driver, values=values))
    return found


def mean(pairs: Sequence[PairScore], metric: str, method: str) -> float:
    """Over the pairs that have it; NaN where none has."""
    known = [value for pair in pairs if math.isfinite(value := pair.value(metric, method))]
    return float(np.mean(known)) if known else math.nan


def share(pairs: Sequence[PairScore], metric: str, method: str, goal: float) -> Share:
    """How many of the pairs that have it reach a goal."""
    known = [value for pair in pairs if math.isfinite(value := pair.value(metric, method))]
    return Share(sum(value >= goal for value in known), len(known))


def worst_cases(pairs: Sequence[PairScore], count: int = WORST_OF_EACH) -> list[Worst]:
    """For each fault the pairs of the tuned weights that went worst, the worst first; pairs without it are left out.

    A head that the detector does not find in the photo itself is no fault of the weights: what counts is what was
    lost against the copied source.
    """
    found = []
    for fault in FAULTS:
        faulty = [pair for pair in pairs if _badness(pair, fault) > _NO_FAULT.get(fault.metric, -math.inf)]
        faulty.sort(key=lambda pair: (-_badness(pair, fault), -_badness(pair, _SECOND), pair.name))
        found += [Worst(fault, pair, pair.value(fault.metric)) for pair in faulty[:count]]
    return found


def _badness(pair: PairScore, fault: Fault) -> float:
    """More is worse; minus infinity where it was not measured."""
    value = pair.value(fault.metric)
    if fault.metric == "detected":
        value -= pair.value(fault.metric, COPY)
    if not math.isfinite(value):
        return -math.inf
    return -value if fault.worst == "lowest" else value
