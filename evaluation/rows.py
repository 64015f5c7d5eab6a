"""What one method made of one pair -> a line of rows.csv and rows.parquet, and back."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_pipeline.records import Species
from data_pipeline.whole_file import whole_file, write_text
from evaluation.metrics.catalog import METRICS

TAG = "tag_"
"""Begins the names of columns that say what kind of pair it is."""


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
    source_identity: str = ""
    """Who the source is; empty where nobody knows. Intervals are clustered by it."""
    tags: dict[str, str] = field(default_factory=dict)
    """What kind of pair it is: difficulty level, motion factor."""
    pair_hash: str = ""
    """Of the pixels and everything known about them: equal in two runs that measured the same."""
    method_hash: str = ""
    worst_frame: int = 0
    """Where the result is furthest from the truth; the middle where there is no truth."""
    curve: dict[str, list[float | None]] = field(default_factory=dict)
    """Of sweeps: what was asked for in each frame (`commanded`) and what came out; None: not readable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A pair that could not be measured, and why."""

    pair_id: str
    method: str
    """Empty when the pair itself could not be read."""
    reason: str
    """One sentence."""


def table_of(rows: Sequence[PairRow]) -> tuple[list[str], list[list[Any]]]:
    """Rows -> names of columns, and cells; None is a number that was not measured."""
    names = [metric.name for metric in METRICS if not metric.of_set]
    names += sorted({name for row in rows for name in row.metrics} - set(names))
    tags = sorted({name for row in rows for name in row.tags})
    head = ["pair_id", "protocol", "species", "driver_species", "source_identity", "method", "num_frames", "seconds",
            "worst_frame", "pair_hash", "method_hash", *(TAG + tag for tag in tags), *names]  # fmt: skip
    cells = [
        [
            row.pair_id, row.protocol, row.species, row.driver_species, row.source_identity, row.method,
            row.num_frames, row.seconds, row.worst_frame, row.pair_hash, row.method_hash,
            *(row.tags.get(tag, "") for tag in tags), *(row.metrics.get(name) for name in names),
        ]
        for row in rows
    ]  # fmt: skip
    return head, cells


def write_rows(path: Path, rows: Sequence[PairRow]) -> list[Path]:
    """Write the CSV, and beside it a Parquet file where pyarrow is installed; an empty cell was not measured.

    Returns:
        What was written.
    """
    head, cells = table_of(rows)
    with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows([_text(cell) for cell in line] for line in cells)
    parquet = _write_parquet(path.with_suffix(".parquet"), head, cells)
    return [path, *([parquet] if parquet else [])]


def _text(cell: Any) -> Any:  # noqa: ANN401 - what a CSV cell may be
    if cell is None:
        return ""
    return f"{cell:.6g}" if isinstance(cell, float) else cell


def _write_parquet(path: Path, head: Sequence[str], cells: Sequence[Sequence[Any]]) -> Path | None:
    try:
        import pyarrow as pa  # pyright: ignore[reportMissingImports] - optional
        import pyarrow.parquet as pq  # pyright: ignore[reportMissingImports]
    except ImportError:
        path.unlink(missing_ok=True)  # of an earlier run: it must not contradict the CSV
        return None
    kinds = {"num_frames": pa.int64(), "worst_frame": pa.int64(), "seconds": pa.float64()}
    texts = {"pair_id", "protocol", "species", "driver_species", "source_identity", "method", "pair_hash",
             "method_hash"}  # fmt: skip
    columns = {}
    for i, name in enumerate(head):
        kind = pa.string() if name in texts or name.startswith(TAG) else kinds.get(name, pa.float64())
        columns[name] = pa.array([line[i] for line in cells], kind)
    with whole_file(path) as part:
        pq.write_table(pa.table(columns), part)
    return path


def read_rows(path: Path) -> list[PairRow]:
    """Read a rows.csv, also one of an earlier version that has fewer columns.

    Raises:
        OSError: there is none.
        KeyError, ValueError: it is not one of ours.
    """
    with path.open(newline="", encoding="utf-8") as handle:
        return [_row(cells) for cells in csv.DictReader(handle)]


def _row(cells: Mapping[str, str]) -> PairRow:
    return PairRow(
        pair_id=cells["pair_id"],
        protocol=cells["protocol"],
        species=cells["species"],  # pyright: ignore[reportArgumentType]
        driver_species=cells["driver_species"],  # pyright: ignore[reportArgumentType]
        method=cells["method"],
        num_frames=int(cells["num_frames"]),
        seconds=float(cells["seconds"]),
        metrics={metric.name: float(cells[metric.name]) for metric in METRICS if cells.get(metric.name)},
        source_identity=cells.get("source_identity", ""),
        tags={name[len(TAG) :]: value for name, value in cells.items() if name.startswith(TAG) and value},
        pair_hash=cells.get("pair_hash", ""),
        method_hash=cells.get("method_hash", ""),
        worst_frame=int(cells.get("worst_frame") or 0),
    )


def write_failures(path: Path, failures: Sequence[Failure]) -> Path | None:
    """Write failures.csv; without failures there is no such file, also where an earlier run left one."""
    if not failures:
        path.unlink(missing_ok=True)
        return None
    with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["pair_id", "method", "reason"])
        writer.writerows([one.pair_id, one.method, one.reason] for one in failures)
    return path


def read_failures(path: Path) -> list[Failure]:
    """Read a failures.csv; no file means no failures."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as handle:
        return [
            Failure(pair_id=cells["pair_id"], method=cells["method"], reason=cells["reason"])
            for cells in csv.DictReader(handle)
        ]


def write_curves(path: Path, rows: Sequence[PairRow]) -> Path | None:
    """Write the curves of sweeps; without curves there is no such file."""
    curves = [{"method": row.method, "pair_id": row.pair_id, **row.curve} for row in rows if row.curve]
    if not curves:
        path.unlink(missing_ok=True)
        return None
    write_text(path, json.dumps(curves, allow_nan=False))
    return path


def read_curves(path: Path) -> dict[tuple[str, str], dict[str, list[float | None]]]:
    """(method, pair) -> curve; no file means no curves."""
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return {(one.pop("method"), one.pop("pair_id")): one for one in found}
