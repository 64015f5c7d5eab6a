"""What rows are to be made of, and what there is -> the share of each group of clips."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from data_pipeline.records import SPECIES

MAX_ROUNDS = 300
NEAR = 1e-9


class Kind(NamedTuple):
    """What tells groups of clips apart. The order is that of decisions: image or video is the first and the finest."""

    is_video: bool
    species: int
    """Position in SPECIES."""
    has_truth: bool


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """What rows are made of; the fields are the `data.mixture` options.

    Raises:
        ValueError: a share is outside 0-1 or a species is unknown.
    """

    cross_frac: float = 0.4
    """Share of the puppet video rows that are cross rows."""
    real_frac: float = 0.3
    """Share of rows from media without truth, when both kinds are there."""
    still_frac: float = 0.12
    """Share of rows that show a still: the image-video ratio."""
    species: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(SPECIES, 1.0))
    """Relative shares of the sources' species; species without clips are left out."""
    drivers: Mapping[str, float] = field(
        default_factory=lambda: {"human": 3.0, "cat": 1.0, "dog": 1.0, "panda": 1.0},
    )
    """Relative shares of the driving species in cross rows."""

    def __post_init__(self) -> None:
        for name in ("cross_frac", "real_frac", "still_frac"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"data.mixture.{name} is {getattr(self, name)}; give a share between 0 and 1")
        for name in ("species", "drivers"):
            weights = getattr(self, name)
            if unknown := sorted(set(weights) - set(SPECIES)):
                raise ValueError(f"data.mixture.{name} names {unknown[0]!r}; the species are {', '.join(SPECIES)}")
            if any(weight < 0 for weight in weights.values()) or not any(weights.values()):
                raise ValueError(f"data.mixture.{name} needs non-negative shares, one of them above 0")

    def wanted(self, present: set[int]) -> dict[str, dict[object, float]]:
        """Field of Kind -> value -> share asked for, among the species that are there."""
        weights = {species: self.species.get(SPECIES[species], 0.0) for species in present}
        total = sum(weights.values())
        return {
            "has_truth": {True: 1 - self.real_frac, False: self.real_frac},
            "is_video": {True: 1 - self.still_frac, False: self.still_frac},
            "species": {species: weight / total for species, weight in weights.items()},
        }

    def shares(self, kinds: set[Kind]) -> dict[Kind, float]:
        """The share of every kind that is there; they sum to 1.

        All three shares are met where the kinds allow it. Otherwise species and stills are met and real media give way;
        where not even these two can be, what a part of the media lacks falls to the rest of that part.
        """
        order = sorted(kinds)
        wanted = self.wanted({kind.species for kind in order})
        start = np.array([self._nested(kind, order) for kind in order])
        for fields in (("has_truth", "is_video", "species"), ("is_video", "species")):
            raked = _raked(start, order, {name: wanted[name] for name in fields})
            if raked is not None:
                return dict(zip(order, raked.tolist(), strict=True))
        return dict(zip(order, start.tolist(), strict=True))

    def _nested(self, kind: Kind, kinds: list[Kind]) -> float:
        """Truth is drawn first, then stills among what has it, then the species among these."""
        real = _present({k.has_truth for k in kinds}, self.real_frac)
        like = [k for k in kinds if k.has_truth == kind.has_truth]
        still = _present({k.is_video for k in like}, self.still_frac)
        like = [k for k in like if k.is_video == kind.is_video]
        total = sum(self.species[SPECIES[k.species]] for k in like)
        share = (1 - real if kind.has_truth else real) * (1 - still if kind.is_video else still)
        return share * self.species[SPECIES[kind.species]] / total

    def differences(self, shares: Mapping[Kind, float]) -> list[str]:
        """What is absent although it was asked for, and what has another share than was asked for."""
        wanted = self.wanted(set(range(len(SPECIES))))
        labels: dict[str, dict[object, str]] = {
            "has_truth": {True: "puppets", False: "real media"}, "is_video": {True: "clips", False: "stills"},
            "species": dict(enumerate(SPECIES)),
        }  # fmt: skip
        absent, other = [], []
        for name, of_values in wanted.items():
            got = dict.fromkeys(of_values, 0.0)
            for kind, share in shares.items():
                got[getattr(kind, name)] += share
            words = labels[name]
            absent += [words[v] for v, share in got.items() if not share and of_values[v]]
            left = sum(share for v, share in of_values.items() if got[v]) or 1.0
            other += [
                f"{words[v]} {share:.0%} of the rows instead of {of_values[v] / left:.0%}"
                for v, share in got.items()
                if share and abs(share - of_values[v] / left) > 1e-6
            ]
        # Of two shares that sum to 1 one says it all.
        other = [line for line in other if not line.startswith(("puppets", "clips"))]
        return ([f"no {', '.join(absent)}: their shares go to the rest"] if absent else []) + other


def _present(values: set[bool], share_of_false: float) -> float:
    """The share, or all or nothing where only one of the two is there."""
    return share_of_false if len(values) == 2 else float(False in values)


def _raked(
    start: Float64[np.ndarray, " K"], kinds: list[Kind], wanted: Mapping[str, Mapping[object, float]]
) -> Float64[np.ndarray, " K"] | None:
    """Iterative proportional fitting: the shares nearest to `start` with the wanted sums; None if there are none."""
    shares = start.copy()
    masks = [
        (np.array([getattr(kind, name) == value for kind in kinds]), share)
        for name, of_values in wanted.items()
        for value, share in of_values.items()
    ]
    for _ in range(MAX_ROUNDS):
        if max(abs(shares[mask].sum() - share) for mask, share in masks) < NEAR:
            return shares / shares.sum()
        for mask, share in masks:
            if (now := shares[mask].sum()) > 0:
                shares[mask] *= share / now
    return None
