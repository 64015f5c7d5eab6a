"""Pairs x methods -> rows, summary and example videos: the measuring loop."""

import csv
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from data_pipeline.photo import encode_jpeg
from data_pipeline.progress import track
from data_pipeline.records import Species
from data_pipeline.shards import write_text
from data_pipeline.video import write_video
from evaluation.methods import Method
from evaluation.metrics.catalog import METRICS
from evaluation.metrics.suite import MetricSuite
from evaluation.protocols import Pair, PairFrames
from evaluation.side_by_side import row_of
from evaluation.statistics import Mean, bootstrap, paired_difference

PANEL_PX = 192
"""Side of each panel of an example video."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRow:
    """What one method made of one pair."""

    pair_id: str
    protocol: str
    species: Species
    driver_species: Species
    method: str
    num_frames: int
    seconds: float
    """Wall time of the method."""
    metrics: dict[str, float]
    """What could not be measured is not in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A pair to look at: a still of each, a video of some."""

    pair_id: str
    species: Species
    panels: tuple[str, ...]
    """What the panels show, from left to right."""
    still: Path
    """The frame on which the last method is furthest from the truth."""
    video: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Everything a report needs about one protocol."""

    protocol: str
    rows: list[PairRow]
    methods: dict[str, dict[str, Any]]
    """Name -> where it comes from, in the order of the tables."""
    not_measured: dict[str, str]
    examples: list[Example] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    """Config, machine, data: provenance."""

    @property
    def num_pairs(self) -> int:
        """How many pairs were measured."""
        return len({row.pair_id for row in self.rows})

    def values(self, method: str, metric: str, species: Species | None = None) -> dict[str, float]:
        """Pair -> number."""
        return {
            row.pair_id: row.metrics[metric]
            for row in self.rows
            if row.method == method and metric in row.metrics and species in (None, row.species)
        }

    def mean(self, method: str, metric: str, species: Species | None = None) -> Mean | None:
        """Mean over pairs; None when it was not measured."""
        return bootstrap(list(self.values(method, metric, species).values()))

    def difference(self, first: str, second: str, metric: str) -> Mean | None:
        """Second minus first on the same pairs."""
        return paired_difference(self.values(first, metric), self.values(second, metric))

    def measured(self) -> list[str]:
        """Metrics that at least one row has, in the catalog's order."""
        return [metric.name for metric in METRICS if any(metric.name in row.metrics for row in self.rows)]

    def species(self) -> list[Species]:
        """Species of the sources."""
        return sorted({row.species for row in self.rows})

    def summary(self) -> dict[str, Any]:
        """What is written to summary.json."""
        last = list(self.methods)[-1]
        return {
            "protocol": self.protocol,
            "num_pairs": self.num_pairs,
            "num_frames": sum(row.num_frames for row in self.rows) // max(1, len(self.methods)),
            "methods": self.methods,
            "means": {
                method: {one or "all": self._means(method, one) for one in (None, *self.species())}
                for method in self.methods
            },
            f"{last} minus": {other: self._differences(other, last) for other in self.methods if other != last},
            "not_measured": self.not_measured,
            "about": self.about,
        }

    def _means(self, method: str, species: Species | None) -> dict[str, Any]:
        found = {name: self.mean(method, name, species) for name in self.measured()}
        return {name: mean._asdict() for name, mean in found.items() if mean}

    def _differences(self, first: str, second: str) -> dict[str, Any]:
        found = {name: self.difference(first, second, name) for name in self.measured()}
        return {name: difference._asdict() for name, difference in found.items() if difference}


def evaluate(
    pairs: Sequence[Pair],
    methods: Sequence[Method],
    suite: MetricSuite,
    *,
    examples_dir: Path | None = None,
    num_examples: int = 4,
    about: dict[str, Any] | None = None,
) -> Evaluation:
    """Run every method on every pair and measure; memory holds one pair at a time.

    Args:
        pairs: from a protocol; measured in their order.
        methods: the last one is the one in question: differences and examples are about it.
        suite: what is measured.
        examples_dir: where stills and example videos go; None makes none.
        num_examples: how many videos, of different species first.
        about: provenance for summary and report.

    Raises:
        ValueError: there is nothing to do, or two methods have one name.
    """
    names = [method.name for method in methods]
    if not pairs or not methods or len(set(names)) != len(names):
        raise ValueError(f"nothing to evaluate, or equal names: {len(pairs)} pairs, methods {names}")
    shown = {pair.pair_id for pair in _to_show(pairs, num_examples)} if examples_dir else set()
    rows: list[PairRow] = []
    examples: list[Example] = []
    for pair, method, frames, results in track(_runs(pairs, methods), len(pairs) * len(methods), "evaluating", "runs"):
        start = time.monotonic()
        made = method(frames)
        seconds = time.monotonic() - start
        results[method.name] = made
        rows.append(
            PairRow(
                pair_id=pair.pair_id, protocol=pair.protocol, species=pair.species, driver_species=pair.driver_species,
                method=method.name, num_frames=len(made), seconds=round(seconds, 3), metrics=suite(made, frames.truth),
            )
        )  # fmt: skip
        if method is methods[-1] and examples_dir is not None:
            examples.append(_example(pair, frames, results, examples_dir, with_video=pair.pair_id in shown))
    return Evaluation(
        protocol=pairs[0].protocol,
        rows=rows,
        methods={method.name: method.about for method in methods},
        not_measured=suite.missing(),
        examples=examples,
        about=about or {},
    )


def write_rows(path: Path, rows: Sequence[PairRow]) -> None:
    """Rows -> CSV; an empty cell is a number that was not measured."""
    names = [metric.name for metric in METRICS]
    head = ["pair_id", "protocol", "species", "driver_species", "method", "num_frames", "seconds", *names]
    part = path.with_name(path.name + ".part")
    with part.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        for row in rows:
            numbers = [f"{row.metrics[name]:.6g}" if name in row.metrics else "" for name in names]
            about = (
                row.pair_id,
                row.protocol,
                row.species,
                row.driver_species,
                row.method,
                row.num_frames,
                row.seconds,
            )
            writer.writerow([*about, *numbers])
    os.replace(part, path)  # noqa: PTH105


def write_summary(path: Path, summary: dict[str, Any]) -> None:
    """Summary -> JSON without NaN."""
    write_text(path, json.dumps(summary, indent=1, allow_nan=False, default=str))


def _runs(
    pairs: Sequence[Pair], methods: Sequence[Method]
) -> Iterator[tuple[Pair, Method, PairFrames, dict[str, np.ndarray]]]:
    for pair in pairs:
        frames, results = pair.load(), {}
        for method in methods:
            yield pair, method, frames, results


def _to_show(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """The first pair of each species, then the second of each, ..."""
    seen: dict[str, int] = {}
    ranked = []
    for pair in pairs:
        seen[pair.species] = seen.get(pair.species, 0) + 1
        ranked.append((seen[pair.species], pair.species, pair.pair_id, pair))
    return [pair for *_, pair in sorted(ranked, key=lambda entry: entry[:3])[:count]]


def _example(
    pair: Pair, frames: PairFrames, results: dict[str, np.ndarray], folder: Path, *, with_video: bool
) -> Example:
    is_self = pair.protocol == "self"
    # Copying the source is seen in the source panel already.
    shown = {name: made for name, made in results.items() if name != "copy source"}
    panels = ["source", *([] if is_self else ["driver"]), "truth", *shown]

    def row(i: int) -> np.ndarray:
        driver = [] if is_self else [frames.driving[i]]
        made = [result[i] for result in shown.values()]
        return row_of([frames.source, *driver, frames.truth.frames[i], *made], PANEL_PX)

    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w-]+", "-", pair.pair_id)[:120]
    video, still = folder / f"{name}.mp4", folder / f"{name}.jpg"
    if with_video:
        rate = Fraction(pair.fps / pair.stride if pair.fps else 25).limit_denominator(1001)
        write_video(video, (row(i) for i in range(len(frames.driving))), max(Fraction(5), rate), crf=24)
    last = results[list(results)[-1]]
    errors = [float(np.abs(a.astype(np.int16) - b).mean()) for a, b in zip(last, frames.truth.frames, strict=True)]
    worst = row(int(np.argmax(errors)))
    still.write_bytes(encode_jpeg(worst, quality=90))
    return Example(
        pair_id=pair.pair_id,
        species=pair.species,
        panels=tuple(panels),
        still=still,
        video=video if with_video else None,
    )
