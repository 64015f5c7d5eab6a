"""Pairs x methods -> rows, failures and example videos: the measuring loop, which goes on where it was stopped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from data_pipeline.progress import track
from evaluation.examples import make_examples, write_index
from evaluation.methods import Method
from evaluation.metrics.identity import GalleryRank
from evaluation.metrics.suite import MetricSuite, SetMeasure
from evaluation.pair_features import PairFeatures
from evaluation.pair_pool import Build, outcomes
from evaluation.pair_store import PairStore
from evaluation.pair_work import Bench, Outcome
from evaluation.protocols import Pair
from evaluation.results import Evaluation, write_summary
from evaluation.rows import Failure, PairRow, write_curves, write_failures, write_rows

STORE = ".pairs"
"""Folder of finished pairs inside of `out`."""
Collected = dict[str, dict[str, PairFeatures]]
"""Method -> measure of the whole set -> what each pair contributes to it."""
__all__ = [
    "Bench", "Evaluation", "PairRow", "RunOptions", "evaluate", "measure", "write_evaluation", "write_rows",
    "write_summary",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a run works; none of it changes a number."""

    out: Path | None = None
    """Where finished pairs and examples go; None keeps nothing and makes no examples."""
    cache: Path | None = None
    """A second folder of finished pairs, which several runs share."""
    workers: int = 1
    """Processes."""
    build: Build | None = None
    """Makes the bench of another process; needed for workers > 1."""
    num_videos: int = 4
    """Example videos, of different species first."""
    num_worst: int = 20
    """Pictures of the worst pairs."""
    reference: str = ""
    """The method that the others are compared with; empty: each with the last."""


def evaluate(
    pairs: Sequence[Pair],
    methods: Sequence[Method],
    suite: MetricSuite,
    *,
    out: Path | None = None,
    about: dict[str, Any] | None = None,
) -> Evaluation:
    """Run every method on every pair in this process and measure; see `measure` for all that can be told.

    Raises:
        ValueError: there is nothing to do, two methods have one name, or no pair could be measured.
    """
    return measure(pairs, Bench(methods=methods, suite=suite), RunOptions(out=out), about)


def measure(
    pairs: Sequence[Pair], bench: Bench, options: RunOptions | None = None, about: dict[str, Any] | None = None
) -> Evaluation:
    """Run every method on every pair and measure; memory holds one pair at a time in each process.

    A finished pair and method is a file in `<out>/.pairs`, so that the same call goes on where it was stopped.

    Args:
        pairs: from a protocol; measured in their order.
        bench: methods and measures. The last method is the one in question: worst cases are its own.
        options: how the run works.
        about: provenance for summary and report.

    Raises:
        ValueError: there is nothing to do, two methods have one name, or no pair could be measured.
    """
    options = options or RunOptions()
    names = [method.name for method in bench.methods]
    _check(pairs, names)
    store = PairStore(options.out / STORE, options.cache) if options.out else None
    rows: list[PairRow] = []
    failures: list[Failure] = []
    keys: dict[str, dict[str, str]] = {}
    collected: Collected = {name: {} for name in names}
    num_reused = 0
    found = outcomes(pairs, bench, store, options.workers, options.build)
    for pair, outcome in zip(pairs, track(found, len(pairs), "evaluating", "pairs"), strict=True):
        rows += outcome.rows
        failures += outcome.failures
        keys[pair.pair_id] = outcome.keys
        num_reused += outcome.num_reused
        _collect(collected, pair, outcome, store)
    if not rows:
        raise ValueError(f"no pair could be measured; the first reason: {failures[0].reason}")
    result = Evaluation(
        protocol=pairs[0].protocol,
        rows=rows,
        methods={method.name: method.about for method in bench.methods},
        not_measured=_missing(bench),
        about=(about or {}) | ({"reused": f"{num_reused} of {len(rows)} results"} if num_reused else {}),
        failures=failures,
        set_values={name: _set_values(bench.set_measures, collected[name], pairs) for name in names},
        reference=options.reference,
    )
    if options.out and store:
        footage = {pair: {name: store.pixels(key) for name, key in found.items()} for pair, found in keys.items()}
        write_index(store.folder, footage)
        examples = make_examples(
            result, footage, options.out / "examples", num_videos=options.num_videos, num_worst=options.num_worst
        )
        result = replace(result, examples=examples)
    return result


def _check(pairs: Sequence[Pair], names: Sequence[str]) -> None:
    if not pairs or not names or len(set(names)) != len(names):
        raise ValueError(f"nothing to evaluate, or equal names: {len(pairs)} pairs, methods {list(names)}")
    if len({pair.pair_id for pair in pairs}) != len(pairs):
        raise ValueError("two pairs have one name; make their names differ")


def write_evaluation(out: Path, result: Evaluation) -> list[Path]:
    """Rows, curves, failures and summary -> files in `out`; returns those that there are."""
    written = write_rows(out / "rows.csv", result.rows)
    written += [path for path in (write_curves(out / "curves.json", result.rows),
                                  write_failures(out / "failures.csv", result.failures)) if path]  # fmt: skip
    write_summary(out / "summary.json", result.summary())
    return [*written, out / "summary.json"]


def _collect(collected: Collected, pair: Pair, outcome: Outcome, store: PairStore | None) -> None:
    for method, measures in outcome.features.items():
        for name, arrays in measures.items():
            found = collected[method].setdefault(name, PairFeatures(name, store))
            found.add(pair.pair_id, outcome.keys[method], arrays)


def _set_values(
    measures: Sequence[SetMeasure], collected: Mapping[str, PairFeatures], pairs: Sequence[Pair]
) -> dict[str, float]:
    who = {pair.pair_id: str(pair.facts.get("source_identity") or pair.pair_id) for pair in pairs}
    values: dict[str, float] = {}
    for one in measures:
        if one.name in collected:
            known = collected[one.name]
            values |= one.values(known, who) if isinstance(one, GalleryRank) else one.values(known)
    return {name: float(value) for name, value in values.items() if np.isfinite(value)}


def _missing(bench: Bench) -> dict[str, str]:
    missing = dict(bench.suite.missing())
    for one in bench.set_measures:
        missing |= one.missing()
    return missing
