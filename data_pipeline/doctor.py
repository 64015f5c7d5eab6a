"""A shard folder -> findings: what is damaged, missing, in two places or unevenly dealt, and what to do about it."""

import hashlib
import io
import json
import re
import statistics
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from data_pipeline.ledger import Tally
from data_pipeline.photo import decode_jpeg
from data_pipeline.shards import ATTRIBUTION, MANIFEST, TRUTH_MEMBER, read_manifest
from data_pipeline.takedown import JOURNAL
from data_pipeline.tar_check import REWRITE, Finding, Severity, TarCheck
from data_pipeline.video import read_frames
from data_pipeline.whole_file import write_text

Decode = Literal["none", "sample", "all"]
DOCTOR_JSON = "doctor.json"
SAMPLED_FRAC = 1 / 16
"""Share of the samples, chosen by their keys, that `decode="sample"` decodes."""
MAX_OF_A_KIND = 20
"""Findings of one kind that are listed; the rest is counted."""
UNEVEN = 1.5
"""A worker with this many times the samples of another is told."""
_MANIFEST_FIELDS = ("samples", "frames", "counts", "ledger", "shards", "config", "code_version")
_SUMS = ("samples", "frames", "counts", "ledger")
_SHARD_FIELDS = ("name", "samples", "bytes", "sha256")
_RECORD_FIELDS = (
    "key", "split", "species", "kind", "num_frames", "fps", "side_px", "points", "source_id", "identity", "licence",
    "origin",
)  # fmt: skip
_TOGETHER = ("identity", "source_id", "cluster")
"""What must not be in two splits; `cluster` where the records have it."""


def doctor(folder: Path, world_size: int = 1, workers: int = 1, decode: Decode = "sample") -> list[Finding]:
    """Examine a shard folder. Every tar is read once, in blocks.

    Args:
        folder: what lp-curate wrote.
        world_size: processes that would train on it.
        workers: loader processes of each of them.
        decode: which samples' pictures are decoded: none, every 16th by its key and the first of each shard, or all.

    Returns:
        Findings, errors first; at most MAX_OF_A_KIND of one kind, then how many more there are.

    Raises:
        ShardError: there is no readable manifest.
        ValueError: an argument is out of range.
    """
    if world_size < 1 or workers < 1:
        raise ValueError(f"world_size={world_size} and workers={workers} must be at least 1")
    if decode not in get_args(Decode):
        raise ValueError(f"decode={decode} is none of {', '.join(get_args(Decode))}")
    manifest = read_manifest(folder)
    examination = _Examination(folder=folder, decode=decode)
    examination.manifest(manifest)
    for entry in manifest.get("shards", []):
        examination.shard(entry)
    examination.sums(manifest)
    found = [*examination.findings, *dealing(manifest.get("shards", []), world_size, workers)]
    return _capped(sorted(found, key=lambda f: get_args(Severity).index(f.severity)))


@dataclass(slots=True, kw_only=True)
class _Examination:
    folder: Path
    decode: Decode
    findings: list[Finding] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    seen: dict[bytes, str] = field(default_factory=dict)
    """Hash of a key -> the shard that holds it."""
    split_of: dict[bytes, str] = field(default_factory=dict)
    """Hash of an identity, source or cluster -> its split."""
    is_whole: bool = True
    """Every record could be read, so sums can be compared."""

    def add(self, severity: Severity, kind: str, place: str, message: str, remedy: str) -> None:
        self.findings.append(Finding(severity=severity, kind=kind, place=place, message=message, remedy=remedy))

    def manifest(self, manifest: Mapping[str, Any]) -> None:
        """Fields, and files that should or should not be in the folder."""
        for name in _MANIFEST_FIELDS:
            if name not in manifest:
                self.add(
                    "error", "manifest incomplete", MANIFEST, f"the field {name} is missing", "run lp-curate again"
                )
        if (self.folder / JOURNAL).exists():
            remedy = "run the same command again: it finishes the stopped one first"
            self.add("error", "change unfinished", JOURNAL, "a takedown or requalify was stopped half-way", remedy)
        if not (self.folder / ATTRIBUTION).exists():
            self.add("warning", "no attribution", ATTRIBUTION, "the attribution file is missing", "run lp-curate again")
        known = {entry.get("name") for entry in manifest.get("shards", [])}
        for path in sorted(self.folder.glob("*.tar")):
            if path.name not in known:
                remedy = "loaders that take all tars of a split would read it: remove it, or curate again"
                self.add("error", "unlisted shard", path.name, "the manifest does not know this tar", remedy)
        for path in sorted(self.folder.glob("*.part")):
            self.add("note", "left over", path.name, "a stopped run left this behind", "remove it")

    def shard(self, entry: Mapping[str, Any]) -> None:
        """One tar against its entry in the manifest."""
        name = str(entry.get("name", ""))
        if missing := [f for f in _SHARD_FIELDS if f not in entry]:
            self.add(
                "error", "manifest incomplete", name or MANIFEST, f"no {', '.join(missing)}", "run lp-curate again"
            )
        path = self.folder / name
        if not name or Path(name).name != name or not path.is_file():
            self.is_whole = False
            message = "the manifest names this tar and it is not in the folder"
            self.add("error", "shard missing", name or MANIFEST, message, REWRITE)
            return
        check = TarCheck(path, _chooser(self.decode))
        for key, members in check.groups():
            self._sample(check, key, members)
        self.findings += check.findings
        self.is_whole &= not any(finding.severity == "error" for finding in check.findings)
        for what, value in (("bytes", check.num_bytes), ("samples", check.num_samples), ("sha256", check.sha256)):
            if what in entry and entry[what] != value:
                message = f"{what} {value}, the manifest says {entry[what]}"
                self.add("error", f"{what} differ from manifest", name, message, REWRITE)

    def _sample(self, check: TarCheck, key: str, members: Mapping[str, bytes]) -> None:
        before = self.seen.setdefault(_short(key), check.path.name)
        if before != check.path.name or key in check.keys:
            check.add("error", "duplicate key", key, f"the key is in {before} already", REWRITE)
        check.keys.add(key)
        pictures = [suffix for suffix in ("jpg", "mp4") if suffix in members]
        if "json" not in members or len(pictures) != 1:
            message = f"it has {', '.join(sorted(members))}; a sample is one json and one jpg or mp4"
            check.add("error", "twin missing", key, message, REWRITE)
        if "json" not in members:
            return
        try:
            record = json.loads(members["json"])
            if problem := _record_problem(record, key, check.path.name, pictures):
                raise ValueError(problem)
            self.tally.add(record)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            check.add("error", "record damaged", f"{key}.json", f"{error}", REWRITE)
            return
        for name in _TOGETHER:
            if value := record.get(name):
                self._split(check, key, f"{name} {value}", record["split"])
        if len(pictures) == 1 and check.wants(key) and (problem := picture_problem(record, members)):
            check.add("error", "picture does not fit", f"{key}.{pictures[0]}", problem, REWRITE)

    def _split(self, check: TarCheck, key: str, what: str, split: str) -> None:
        if (other := self.split_of.setdefault(_short(what), split)) != split:
            remedy = "curate again with one split for it, or take it down from one"
            check.add("error", "in two splits", key, f"{what} is in {other} and in {split}", remedy)

    def sums(self, manifest: Mapping[str, Any]) -> None:
        """The manifest's sums against those of the records, where all of these could be read."""
        if not self.is_whole:
            return
        summary = self.tally.summary()
        for name in _SUMS:
            if name in manifest and manifest[name] != summary[name]:
                message = f"the records give {name} {json.dumps(summary[name])[:150]}, the manifest says otherwise"
                self.add("error", "sums differ from manifest", MANIFEST, message, "run lp-curate again")


def _short(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:12]


def _chooser(decode: Decode) -> Callable[[str], bool]:
    """Key -> whether its pictures are decoded, for one shard: the same keys on every machine, at every time."""
    first: list[str] = []

    def wants(key: str) -> bool:
        if decode == "sample" and not first:
            first.append(key)
        is_drawn = int.from_bytes(_short(key)[:4], "big") < SAMPLED_FRAC * 2**32
        return decode == "all" or (decode == "sample" and (key == first[0] or is_drawn))

    return wants


def _record_problem(record: Mapping[str, Any], key: str, shard: str, pictures: Sequence[str]) -> str:
    """What is wrong with a JSON record, or an empty string."""
    if missing := [name for name in _RECORD_FIELDS if name not in record]:
        return f"no {', '.join(missing)}"
    if record["key"] != key:
        return f"it calls itself {record['key']}"
    if not shard.startswith(f"{record['split']}-"):
        return f"its split is {record['split']}"
    if len(record["points"]) != record["num_frames"]:
        return f"{len(record['points'])} rows of points for {record['num_frames']} frames"
    kind = {"image": ["jpg"], "video": ["mp4"]}.get(record["kind"])
    if pictures and kind != list(pictures):
        return f"its kind is {record['kind']}, its member is {pictures[0]}"
    return ""


def picture_problem(record: Mapping[str, Any], members: Mapping[str, bytes]) -> str:
    """Decode a sample's pictures, a frame at a time, and its truth: what does not fit the record, or nothing."""
    from PIL.Image import DecompressionBombError

    side, number = record["side_px"], 0
    try:
        frames = [decode_jpeg(members["jpg"])] if "jpg" in members else read_frames(members["mp4"])
        for number, frame in enumerate(frames, start=1):
            if frame.shape[:2] != (side, side):
                return f"frame {number - 1} is {frame.shape[1]}x{frame.shape[0]} pixels, the record says {side}"
        if TRUTH_MEMBER in members:
            with np.load(io.BytesIO(members[TRUTH_MEMBER]), allow_pickle=False) as truth:
                for name in truth.files:
                    _ = truth[name].shape
    except (ValueError, OSError, RuntimeError, SyntaxError, zipfile.BadZipFile, DecompressionBombError) as error:
        # Pillow names the object that it read from, address and all: not the same twice.
        return f"it cannot be decoded ({re.sub(r' *<_io[^>]*>', '', ' '.join(str(error).split()))[:120]})"
    return "" if number == record["num_frames"] else f"{number} frames decode, the record says {record['num_frames']}"


def dealing(shards: Sequence[Mapping[str, Any]], world_size: int, workers: int) -> list[Finding]:
    """How even shards are, and how they fall to processes and workers (every world_size-th to a rank, then so on)."""
    by_split: dict[str, list[Mapping[str, Any]]] = {}
    for entry in shards:
        if all(name in entry for name in _SHARD_FIELDS):
            by_split.setdefault(str(entry["name"]).rpartition("-")[0], []).append(entry)
    found = []
    for entries in by_split.values():
        # The last shard of a split holds what was left, so it may be small.
        median = {what: statistics.median(entry[what] for entry in entries) for what in ("samples", "bytes")}
        for entry in entries[:-1]:
            if all(entry[what] * 2 < median[what] for what in median):
                message = f"{entry['samples']} samples, {entry['bytes']} bytes: less than half of the usual shard's"
                remedy = "curate again (packing makes them even)"
                about = {"place": entry["name"], "message": message, "remedy": remedy}
                found.append(Finding(severity="warning", kind="uneven shards", **about))
    if world_size * workers > 1 and by_split.get("train"):
        found += _shares(by_split["train"], world_size, workers)
    return found


def _shares(entries: Sequence[Mapping[str, Any]], world_size: int, workers: int) -> list[Finding]:
    shares = {
        f"rank {rank} worker {worker}": sum(entry["samples"] for entry in entries[rank::world_size][worker::workers])
        for rank in range(world_size)
        for worker in range(workers)
    }
    total, slots = sum(shares.values()), len(shares)
    remedy = f"curate with writer.max_samples={max(1, total // (4 * slots))}, or use fewer workers"
    starving = [name for name, share in shares.items() if share == 0]
    if starving:
        named = ", ".join(starving[:8]) + (f" and {len(starving) - 8} more" if len(starving) > 8 else "")
        message = f"{len(entries)} train shards for {slots} workers: {named} get nothing"
        return [Finding(severity="warning", kind="starving workers", place="train", message=message, remedy=remedy)]
    most, least = max(shares, key=shares.__getitem__), min(shares, key=shares.__getitem__)
    if shares[most] <= UNEVEN * shares[least]:
        return []
    message = f"{most} gets {shares[most]} samples, {least} {shares[least]}"
    return [Finding(severity="warning", kind="uneven workers", place="train", message=message, remedy=remedy)]


def _capped(findings: Sequence[Finding]) -> list[Finding]:
    kept, seen = [], Counter[str]()
    for finding in findings:
        seen[finding.kind] += 1
        if seen[finding.kind] <= MAX_OF_A_KIND:
            kept.append(finding)
    for finding in list(kept):
        if (more := seen.pop(finding.kind, 0) - MAX_OF_A_KIND) > 0:
            kept.append(replace(finding, place="", message=f"and {more} more of this kind", remedy=finding.remedy))
    return kept


def doctor_action(folder: Path | str, world_size: int = 1, workers: int = 1, decode: Decode = "sample") -> None:
    """`lp-curate action=doctor`: print the findings as a table and write them to doctor.json.

    Raises:
        ValueError: there are errors; the sentence says how many and of which kinds.
    """
    folder = Path(folder)
    findings = doctor(folder, world_size, workers, decode)
    counts = Counter(finding.severity for finding in findings)
    kinds = sorted({finding.kind for finding in findings if finding.severity == "error"})
    listed = [asdict(finding) for finding in findings]
    write_text(folder / DOCTOR_JSON, json.dumps({"counts": counts, "findings": listed}, indent=1))
    for finding in findings:
        print(f"{finding.severity:8} {finding.kind:26} {finding.place}\n{'':9}{finding.message}")  # noqa: T201
        print(f"{'':9}-> {finding.remedy}")  # noqa: T201
    if kinds:
        raise ValueError(
            f"{folder} has {counts['error']} errors ({', '.join(kinds)}); {folder / DOCTOR_JSON} lists all"
        )
    print(f"{folder}: no errors, {counts['warning']} warnings, {counts['note']} notes (decode={decode})")  # noqa: T201
