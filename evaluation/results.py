"""Rows of all pairs and methods -> means, differences, the worst pairs, and what summary.json says."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_pipeline.records import Species
from data_pipeline.whole_file import write_text
from evaluation.metric_groups import main_of
from evaluation.metrics.catalog import BY_NAME, METRICS
from evaluation.metrics.metric import Metric
from evaluation.rows import Failure, PairRow
from evaluation.statistics import Comparison, Mean, bootstrap, compare, corrected, paired_difference

COPY = "copy source"
"""The method that does nothing: what others are measured by, and no panel of its own beside the source."""
WORST_BY = ("l1_face", "l1", "commanded_error", "csim", "csim_stand_in")
"""The first of these that was measured ranks the pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A pair to look at."""

    pair_id: str
    species: Species
    panels: tuple[str, ...]
    """What the panels show, from left to right."""
    still: Path | None = None
    """The frame on which the method in question is furthest from the truth."""
    video: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Everything a report needs about one protocol."""

    protocol: str
    rows: list[PairRow]
    methods: dict[str, dict[str, Any]]
    """Name -> where it comes from, in the order of the tables."""
    not_measured: dict[str, str]
    """Metric -> why."""
    examples: list[Example] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    """Config, machine, data: provenance."""
    failures: list[Failure] = field(default_factory=list)
    set_values: dict[str, dict[str, float]] = field(default_factory=dict)
    """Method -> metrics of all its pairs together (FID, gallery rank)."""
    reference: str = ""
    """The method that the others are compared with; empty: the one before the last."""
    _known: dict[tuple[Any, ...], Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Means and comparisons by what was asked: summary and report ask for the same ones, and drawing them is slow."""

    @property
    def num_pairs(self) -> int:
        """How many pairs were measured."""
        return len({row.pair_id for row in self.rows})

    @property
    def num_frames(self) -> int:
        """Frames of all pairs together, each counted once."""
        return sum({row.pair_id: row.num_frames for row in self.rows}.values())

    def values(
        self, method: str, metric: str, species: Species | None = None, tags: dict[str, str] | None = None
    ) -> dict[str, float]:
        """Pair -> number."""
        wanted = (tags or {}).items()
        return {
            row.pair_id: row.metrics[metric]
            for row in self.rows
            if row.method == method and metric in row.metrics and species in (None, row.species)
            and all(row.tags.get(name) == value for name, value in wanted)
        }  # fmt: skip

    @property
    def identities(self) -> dict[str, str]:
        """Pair -> who its source is."""
        return {row.pair_id: row.source_identity for row in self.rows}

    def mean(
        self, method: str, metric: str, species: Species | None = None, tags: dict[str, str] | None = None
    ) -> Mean | None:
        """Mean over pairs, its interval over source identities; None when it was not measured."""
        key = ("mean", method, metric, species, *sorted((tags or {}).items()))
        if key not in self._known:
            values, identities = self.values(method, metric, species, tags), self.identities
            self._known[key] = bootstrap(list(values.values()), [identities[pair] for pair in values])
        return self._known[key]

    def value(self, method: str, metric: Metric) -> float | None:
        """The one number of a method, whether of pairs or of the whole set."""
        if metric.of_set:
            return self.set_values.get(method, {}).get(metric.name)
        mean = self.mean(method, metric.name)
        return mean.mean if mean else None

    def difference(self, first: str, second: str, metric: str) -> Mean | None:
        """Second minus first on the same pairs."""
        return paired_difference(self.values(first, metric), self.values(second, metric), self.identities)

    def comparisons(self, first: str, second: str, names: Sequence[str] | None = None) -> list[Comparison]:
        """Second against first, corrected for the number of metrics (Holm).

        Where 1 or 0 is the right value, the distances from it are compared.

        Args:
            first: a method.
            second: another one.
            names: the metrics that are tested together; None: all that were measured on pairs.
        """
        wanted = self.measured() if names is None else names
        found = (self._comparison(first, second, name) for name in wanted if not BY_NAME[name].of_set)
        return corrected([one for one in found if one is not None])

    def _comparison(self, first: str, second: str, metric: str) -> Comparison | None:
        key = ("comparison", first, second, metric)
        if key not in self._known:
            self._known[key] = compare(
                metric, self._errors(first, metric), self._errors(second, metric), self.identities
            )
        return self._known[key]

    @property
    def main(self) -> list[Metric]:
        """The numbers that are looked at first and tested together."""
        measured = [name for name in self.measured() if not BY_NAME[name].of_set]
        return [BY_NAME[name] for name in main_of(measured)]

    def _errors(self, method: str, metric: str) -> dict[str, float]:
        values, goal = self.values(method, metric), {"one": 1.0, "zero": 0.0}.get(BY_NAME[metric].better)
        return values if goal is None else {pair: abs(value - goal) for pair, value in values.items()}

    def measured(self) -> list[str]:
        """Metrics that at least one method has, in the catalog's order."""
        of_pairs = {name for row in self.rows for name in row.metrics}
        of_sets = {name for values in self.set_values.values() for name in values}
        return [metric.name for metric in METRICS if metric.name in (of_sets if metric.of_set else of_pairs)]

    def species(self) -> list[Species]:
        """Species of the sources."""
        return sorted({row.species for row in self.rows})

    def tag_values(self) -> dict[str, list[str]]:
        """Kind of tag -> its values, where there is more than one."""
        found: dict[str, list[str]] = {}
        for row in self.rows:
            for name, value in row.tags.items():
                if value not in found.setdefault(name, []):
                    found[name].append(value)
        return {name: sorted(values) for name, values in found.items() if len(values) > 1}

    @property
    def compared(self) -> list[tuple[str, str]]:
        """(first, second) methods whose difference is reported."""
        names = list(self.methods)
        if len(names) < 2:
            return []
        if self.reference:
            others = [name for name in names if name != self.reference]
            others.sort(key=lambda name: self.methods[name].get("kind") == "baseline")  # baselines last
            return [(self.reference, name) for name in others]
        return [(name, names[-1]) for name in names[:-1]]

    @property
    def in_question(self) -> str:
        """The last method that measured anything: worst cases are its own."""
        measured = {row.method for row in self.rows}
        return next(name for name in reversed(self.methods) if name in measured)

    def worst(self, method: str, count: int) -> list[tuple[PairRow, float]]:
        """The worst rows of one method, the worst first, and the number that says so."""
        name = self.worst_by
        ranked = [(row, row.metrics[name]) for row in self.rows if row.method == method and name in row.metrics]
        sign = 1 if ranked and BY_NAME[name].better == "up" else -1
        return sorted(ranked, key=lambda entry: (sign * entry[1], entry[0].pair_id))[:count]

    @property
    def worst_by(self) -> str:
        """The metric by which pairs are called worst."""
        measured = self.measured()
        return next((name for name in WORST_BY if name in measured), "")

    def summary(self) -> dict[str, Any]:
        """What is written to summary.json."""
        return {
            "protocol": self.protocol,
            "num_pairs": self.num_pairs,
            "num_frames": self.num_frames,
            "methods": self.methods,
            "means": {
                method: {one or "all": self._means(method, one) for one in (None, *self.species())}
                for method in self.methods
            },
            "set_values": self.set_values,
            "comparisons": [
                {
                    "first": first,
                    "second": second,
                    "main": [_plain(one) for one in self.comparisons(first, second, [one.name for one in self.main])],
                    "all": [_plain(one) for one in self.comparisons(first, second)],
                }
                for first, second in self.compared
            ],
            "reference": self.reference,
            "not_measured": self.not_measured,
            "num_failures": len(self.failures),
            "examples": [_example_entry(example) for example in self.examples],
            "about": self.about,
        }

    def _means(self, method: str, species: Species | None) -> dict[str, Any]:
        found = {name: self.mean(method, name, species) for name in self.measured()}
        return {name: mean._asdict() for name, mean in found.items() if mean}


def write_summary(path: Path, summary: dict[str, Any]) -> None:
    """Summary -> JSON without NaN."""
    write_text(path, json.dumps(summary, indent=1, allow_nan=False, default=str))


def examples_from(entries: Sequence[dict[str, Any]], folder: Path) -> list[Example]:
    """The examples that a summary names and that are still in its folder."""
    found = []
    for entry in entries:
        still, video = (folder / entry[kind] if entry.get(kind) else None for kind in ("still", "video"))
        still, video = (path if path and path.exists() else None for path in (still, video))
        if still or video:
            found.append(
                Example(
                    pair_id=entry["pair_id"], species=entry["species"], panels=tuple(entry["panels"]),
                    still=still, video=video,
                )
            )  # fmt: skip
    return found


def _example_entry(example: Example) -> dict[str, Any]:
    names = {"still": example.still, "video": example.video}
    files = {kind: f"examples/{path.name}" for kind, path in names.items() if path}
    return {"pair_id": example.pair_id, "species": example.species, "panels": example.panels, **files}


def _plain(one: Comparison) -> dict[str, Any]:
    return one._asdict() | {"difference": one.difference._asdict()}
