"""Folders of finished evaluations -> one evaluation of all their methods on the pairs that they share."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evaluation.evaluate import STORE
from evaluation.examples import make_examples, read_index
from evaluation.methods import unique_names
from evaluation.metrics.catalog import METRICS
from evaluation.pair_store import PLACES
from evaluation.results import COPY, Evaluation
from evaluation.rows import Failure, PairRow
from evaluation.stored import read_evaluation

NOT_NETWORKS = ("baseline", "external")


def compare_runs(folders: Sequence[Path], out: Path, *, num_videos: int = 4, num_worst: int = 20) -> Evaluation:
    """Join runs of one protocol; the first one's method in question is what the others are compared with.

    A method of equal name and provenance in several runs (copy source, say) counts once. Other methods of equal names
    get their run's name. Only pairs of equal pixels in all runs are kept.

    Args:
        folders: finished evaluations.
        out: where the example videos go.
        num_videos: how many of them.
        num_worst: how many pictures of worst pairs.

    Raises:
        ValueError: a folder is no evaluation, or the runs have no pair in common.
    """
    runs = [read_evaluation(folder) for folder in folders]
    if len({run.protocol for run in runs}) > 1:
        told = ", ".join(f"{folder}: {run.protocol}" for folder, run in zip(folders, runs, strict=True))
        raise ValueError(f"these runs are of different protocols and cannot be compared ({told}); give runs of one")
    shared = _shared_pairs(runs)
    if not shared:
        raise ValueError(
            f"{' and '.join(map(str, folders))} have no pair in common; evaluate all with the same data, size and "
            "side_px"
        )
    labels = _labels(folders, runs)
    order = _ordered(labels, runs)
    is_whole = all(run.num_pairs == len(shared) for run in runs)
    missing = _not_measured(runs)
    if not is_whole:
        of_sets = [metric.name for metric in METRICS if metric.of_set]
        missing |= dict.fromkeys(of_sets, "the runs measured different sets of pairs")
    result = Evaluation(
        protocol=runs[0].protocol,
        rows=[replace(row, method=label) for label, i, name in order for row in _rows(runs[i], name, shared)],
        methods={label: runs[i].methods[name] for label, i, name in order},
        not_measured=missing,
        about=_about(folders, runs, len(shared)) | _notes(folders, runs, labels),
        failures=_failures(runs, labels),
        set_values={label: runs[i].set_values.get(name, {}) for label, i, name in order} if is_whole else {},
        reference=labels[0][runs[0].in_question],
    )
    footage = _footage(folders, order, shared)
    result.examples.extend(make_examples(result, footage, out / "examples", num_videos=num_videos, num_worst=num_worst))
    return result


def _shared_pairs(runs: Sequence[Evaluation]) -> set[str]:
    """Pairs of equal pixels in all runs; rows of older versions have no hash and are taken at their names."""
    known = [{row.pair_id: row.pair_hash for row in run.rows} for run in runs]
    names = set.intersection(*(set(pairs) for pairs in known))
    return {name for name in names if len({pairs[name] for pairs in known if pairs[name]}) <= 1}


def _labels(folders: Sequence[Path], runs: Sequence[Evaluation]) -> list[dict[str, str]]:
    """Of each run: its name for a method -> the name in the comparison."""
    names = unique_names([str(folder) for folder in folders])
    meanings: dict[str, set[str]] = {}
    for run in runs:
        for name, about in run.methods.items():
            meanings.setdefault(name, set()).add(_identity(about))
    labels = []
    for run_name, run in zip(names, runs, strict=True):
        own = [name for name in run.methods if len(meanings[name]) > 1]
        labels.append(
            {
                name: name if name not in own else (run_name if len(own) == 1 else f"{run_name}: {name}")
                for name in run.methods
            }
        )
    return labels


def _ordered(labels: Sequence[dict[str, str]], runs: Sequence[Evaluation]) -> list[tuple[str, int, str]]:
    """(label, run, its name there): copy first, then other baselines, then networks; each once."""
    seen: dict[str, tuple[str, int, str]] = {}
    for i, run in enumerate(runs):
        for name in run.methods:
            seen.setdefault(labels[i][name], (labels[i][name], i, name))

    def rank(entry: tuple[str, int, str]) -> int:
        label, i, name = entry
        return 0 if label == COPY else 1 if runs[i].methods[name].get("kind") in NOT_NETWORKS else 2

    return sorted(seen.values(), key=rank)


def _identity(about: dict[str, Any]) -> str:
    return json.dumps({name: value for name, value in about.items() if name not in PLACES}, sort_keys=True, default=str)


def _rows(run: Evaluation, method: str, shared: set[str]) -> list[PairRow]:
    return [row for row in run.rows if row.method == method and row.pair_id in shared]


def _not_measured(runs: Sequence[Evaluation]) -> dict[str, str]:
    """What is missing in every run."""
    names = set.intersection(*(set(run.not_measured) for run in runs))
    return {name: why for name, why in runs[0].not_measured.items() if name in names}


def _about(folders: Sequence[Path], runs: Sequence[Evaluation], num_shared: int) -> dict[str, Any]:
    about: dict[str, Any] = {"runs": len(runs), "pairs": f"{num_shared} that all runs share"}
    for folder, run in zip(folders, runs, strict=True):
        facts = {name: value for name, value in run.about.items() if name not in ("config", "says")}
        about[str(folder)] = {"pairs": run.num_pairs, **facts}
    return about


def _notes(
    folders: Sequence[Path], runs: Sequence[Evaluation], labels: Sequence[dict[str, str]]
) -> dict[str, list[str]]:
    """What a reader would wonder about: networks that are the same in two runs are one column."""
    first: dict[str, Path] = {}
    notes = []
    for folder, run, names in zip(folders, runs, labels, strict=True):
        for name, about in run.methods.items():
            if about.get("kind") in NOT_NETWORKS:
                continue
            before = first.setdefault(names[name], folder)
            if before is not folder:
                notes.append(
                    f"“{name}” of {folder} has the same weights and options as in {before}: it is one column here."
                )
    return {"notes": notes} if notes else {}


def _failures(runs: Sequence[Evaluation], labels: Sequence[dict[str, str]]) -> list[Failure]:
    """Of all runs; what failed in several for one reason is told once."""
    found = [
        replace(failure, method=labels[i].get(failure.method, failure.method))
        for i, run in enumerate(runs)
        for failure in run.failures
    ]
    return list(dict.fromkeys(found))


def _footage(
    folders: Sequence[Path], order: Sequence[tuple[str, int, str]], shared: set[str]
) -> dict[str, dict[str, Path]]:
    found: dict[str, dict[str, Path]] = {pair: {} for pair in shared}
    indices = [read_index(folder / STORE) for folder in folders]
    for pair, methods in found.items():
        for index in indices:
            if "" in index.get(pair, {}):
                methods.setdefault("", index[pair][""])
        for label, i, name in order:
            if name in indices[i].get(pair, {}):
                methods[label] = indices[i][pair][name]
    return found
