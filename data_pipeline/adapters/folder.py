"""A folder (or one file), with or without a CSV that describes it -> the files to curate."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_pipeline.media import MASKS_SUFFIX, TRUTH_SUFFIX
from data_pipeline.records import SPECIES, ClipSpan, KnownHead, Species

SIDECARS = (TRUTH_SUFFIX, MASKS_SUFFIX)
NOT_MEDIA = {
    ".csv",
    ".json",
    ".jsonl",
    ".md",
    ".txt",
    ".npz",
    ".npy",
    ".yaml",
    ".yml",
    ".html",
    ".tar",
    ".py",
    ".log",
    ".part",
    ".xml",
    ".pts",
    ".cat",
    ".mat",
    ".parquet",
}


class SourceError(ValueError):
    """The source does not exist or cannot be understood; the message says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFile:
    """A file to look into and what its collector says about it."""

    path: Path
    licence: str = ""
    origin: str = ""
    identity: str = ""
    species: Species | None = None
    heads: tuple[KnownHead, ...] = ()
    """Heads that its annotations describe; empty: nothing is known, the detector looks."""
    span: ClipSpan | None = None
    """The part of a video that is meant; None: all of it."""
    problem: str = ""
    """Why it cannot be used, in a few stable words: it becomes a drop without being opened."""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSource:
    """Every file below a folder, in a fixed order; hidden files and known non-media endings are left out.

    With `manifest`, a CSV with a column `path` (relative to the folder) and optionally `licence`, `origin`, `identity`,
    `species`, only the listed files are taken.
    """

    path: str
    manifest: str = ""
    only: dict[str, str] | None = None
    """Manifest columns and the value that rows must have, e.g. {ship: "1"}."""
    licence: str = ""
    """For files whose manifest row says nothing."""
    origin: str = ""
    limit: int = 0
    """Take the first n files only; 0 takes all."""

    def __call__(self) -> list[MediaFile]:
        """The files, sorted by path.

        Raises:
            SourceError: nothing there, or the manifest has no usable rows.
        """
        root = Path(self.path)
        if not root.exists():
            raise SourceError(f"source.path {root} does not exist; give a folder or a file")
        files = list(self._listed(root) if self.manifest else self._found(root))
        if not any(not file.problem for file in files):
            raise SourceError(
                f"there is no media file in {root}" + (" that the manifest selects" if self.manifest else "")
            )
        files.sort(key=lambda f: f.path.as_posix())
        return files[: self.limit] if self.limit else files

    def _found(self, root: Path) -> Iterator[MediaFile]:
        from data_pipeline.adapters.walk import walk

        paths, problems = ([root], []) if root.is_file() else walk(root)
        yield from problems
        for path in paths:
            yield MediaFile(path=path, licence=self.licence, origin=self.origin)

    def _listed(self, root: Path) -> Iterator[MediaFile]:
        path = Path(self.manifest)
        path = path if path.exists() else root / self.manifest
        try:
            with path.open(newline="", encoding="utf-8-sig") as handle:
                rows = list(csv.DictReader(handle))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise SourceError(f"source.manifest {path} cannot be read as CSV ({error})") from error
        columns = rows[0].keys() if rows else set()
        if missing := {"path", *(self.only or {})} - set(columns):
            there = f"it has {', '.join(map(str, columns))}" if columns else "it is empty"
            raise SourceError(f"source.manifest {path} has no column {', '.join(sorted(missing))}; {there}")
        for number, row in enumerate(rows, start=2):
            if not row["path"]:
                raise SourceError(f"source.manifest {path}, line {number} has no path; mend or remove it")
            if any(row[column] != str(value) for column, value in (self.only or {}).items()):
                continue
            said = row.get("species", "")
            yield MediaFile(
                path=root / row["path"],
                licence=row.get("licence") or self.licence,
                origin=row.get("origin") or row.get("source") or row.get("source_repo") or self.origin,
                identity=row.get("identity") or "",
                species=said if said in SPECIES else None,
            )
