"""A CSV, TSV, JSON-lines or Parquet table of files, heads and times -> the files to curate."""

import csv
import importlib.util
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from data_pipeline.adapters.folder import MediaFile, SourceError
from data_pipeline.adapters.walk import picked, species_named
from data_pipeline.records import ClipSpan, KnownHead
from data_pipeline.whole_file import shown

TEXT_FIELDS = ("path", "licence", "origin", "identity", "species")
BOX_FIELDS = ("x0", "y0", "x1", "y1")
POINT_FIELDS = (
    "reye_x",
    "reye_y",
    "leye_x",
    "leye_y",
    "nose_x",
    "nose_y",
    "mouthr_x",
    "mouthr_y",
    "mouthl_x",
    "mouthl_y",
)
"""The animal's own sides, in the order of records.POINT_NAMES."""
TIME_FIELDS = ("start_s", "stop_s")
FIELDS = (*TEXT_FIELDS, *BOX_FIELDS, *POINT_FIELDS, *TIME_FIELDS)
_ENDINGS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSource:
    """One row for each file, head or part of a video; several rows of one photo are its heads.

    Fields (docs/sources.md): path, licence, origin, identity, species; x0 y0 x1 y1, the head's box;
    reye_x ... mouthl_y, the five points by the animal's own sides; start_s stop_s, a part of a video. Path is needed.
    """

    path: str
    """Folder that the table's paths start from."""
    manifest: str
    """The table: .csv, .tsv, .jsonl, .ndjson or .parquet (needs pyarrow)."""
    columns: dict[str, str] | None = None
    """Our field -> the table's column, where they differ, e.g. {path: file_name}."""
    classes: dict[str, str] | None = None
    """The table's word for a species -> our species."""
    only: dict[str, str] | None = None
    """Columns and the value that rows must have."""
    licence: str = "unknown"
    origin: str = ""
    limit: int = 0

    def __call__(self) -> list[MediaFile]:
        """The files, sorted by path; rows that cannot be used become drops.

        Raises:
            SourceError: the table cannot be read or lacks a column that is asked for.
        """
        root = Path(self.path)
        if not root.is_dir():
            raise SourceError(f"source.path {shown(root)} is no folder; give the one that the table's paths start from")
        table = Path(self.manifest)
        table = table if table.exists() else root / self.manifest
        if unknown := set(self.columns or {}) - set(FIELDS):
            raise SourceError(f"source.columns has unknown fields {sorted(unknown)}; known are {', '.join(FIELDS)}")
        files: dict[tuple[Path, ClipSpan | None], MediaFile] = {}
        for number, row in enumerate(self._rows(table), start=1):
            if any(str(row.get(column)) != str(value) for column, value in (self.only or {}).items()):
                continue
            made = self._file(root, table, number, row)
            before = files.get((made.path, made.span))
            files[made.path, made.span] = replace(before, heads=(*before.heads, *made.heads)) if before else made
        return picked(files.values(), self.limit, root, f"file that {table.name} names")

    def _rows(self, table: Path) -> Iterator[Mapping[str, Any]]:
        """The table's rows, after a look at its columns."""
        columns = self.columns or {}
        needed = {columns.get("path", "path"), *columns.values(), *(self.only or {})}
        try:
            rows = iter(_read(table))
            first = next(rows, None)
            if first is None:
                raise SourceError(f"source.manifest {shown(table)} has no rows")
            if _BROKEN not in first and (missing := sorted(needed - set(first))):
                raise SourceError(
                    f"source.manifest {shown(table)} has no column {', '.join(missing)} "
                    f"(it has {', '.join(map(str, first))}); name the right one, e.g. 'source.columns={{path: file}}'"
                )
            yield first
            yield from rows
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise SourceError(f"source.manifest {shown(table)} cannot be read ({error})") from error

    def _file(self, root: Path, table: Path, number: int, row: Mapping[str, Any]) -> MediaFile:
        values = {name: row.get((self.columns or {}).get(name, name)) for name in FIELDS}
        text = {name: "" if values[name] is None else str(values[name]).strip() for name in TEXT_FIELDS}
        broken = row.get(_BROKEN)
        if broken or not text["path"]:
            why = str(broken or "the row has no path")
            return MediaFile(path=table.parent / f"{table.name}#row{number}", problem="row unreadable", detail=why)
        path = root / text["path"]
        try:
            box, points, times = (_numbers(values, names) for names in (BOX_FIELDS, POINT_FIELDS, TIME_FIELDS))
        except ValueError as error:
            return MediaFile(path=path, problem="row unreadable", detail=f"{table.name} row {number}: {error}")
        if not path.is_file():
            return MediaFile(path=path, problem="listed but absent", detail=f"{table.name} row {number}")
        species = species_named(text["species"], self.classes)
        heads: tuple[KnownHead, ...] = ()
        if species and (box is not None or points is not None):
            five = None if points is None else points.reshape(5, 2)
            heads = (KnownHead(species=species, box_xyxy=box, points_xy=five),)
        return MediaFile(
            path=path,
            licence=text["licence"] or self.licence,
            origin=text["origin"] or self.origin,
            identity=text["identity"],
            species=None if heads else species,
            heads=heads,
            span=None if times is None else ClipSpan(start=float(times[0]), stop=float(times[1])),
        )


_BROKEN = "\0broken"
"""Key under which a line that is no row carries what is wrong with it."""


def _read(table: Path) -> Iterator[Mapping[str, Any]]:
    ending = table.suffix.lower()
    if ending in _ENDINGS:
        with table.open(newline="", encoding="utf-8-sig") as handle:
            yield from csv.DictReader(handle, delimiter=_ENDINGS[ending])
    elif ending in (".jsonl", ".ndjson"):
        with table.open(encoding="utf-8") as handle:
            for line in handle:
                if line.strip():
                    yield _json_row(line)
    elif ending == ".parquet":
        yield from _read_parquet(table)
    else:
        raise SourceError(f"source.manifest {shown(table)} ends in none of .csv .tsv .jsonl .ndjson .parquet")


def _json_row(line: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        return {_BROKEN: f"no JSON ({error})"}
    return row if isinstance(row, dict) else {_BROKEN: "no JSON object"}


def _read_parquet(table: Path) -> Iterator[Mapping[str, Any]]:
    if importlib.util.find_spec("pyarrow") is None:
        raise SourceError(
            f"source.manifest {shown(table)} is Parquet, which needs pyarrow: "
            "pip install pyarrow, or save the table as CSV"
        )
    import pyarrow  # pyright: ignore[reportMissingImports] - optional
    from pyarrow import parquet  # pyright: ignore[reportMissingImports]

    try:
        with parquet.ParquetFile(table) as stored:
            for batch in stored.iter_batches():
                yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise SourceError(f"source.manifest {shown(table)} cannot be read as Parquet ({error})") from error


def _numbers(values: Mapping[str, Any], names: tuple[str, ...]) -> np.ndarray | None:
    """All of the fields as numbers; None when the row leaves all or some of them empty.

    Raises:
        ValueError: one is no number.
    """
    given = [values[name] for name in names]
    if any(value is None or str(value).strip() == "" for value in given):
        return None
    try:
        numbers = np.array([float(value) for value in given], np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{', '.join(names)} are not all numbers ({error})") from error
    if any(math.isnan(value) for value in numbers):
        return None
    if len(names) in (2, 4) and not (numbers[len(names) // 2 :] > numbers[: len(names) // 2]).all():
        raise ValueError(f"{', '.join(names)} are in the wrong order: {numbers.tolist()}")
    return numbers
