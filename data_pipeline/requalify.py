"""Stored scores and other thresholds -> the shards that these would have made, without decoding media."""

import json
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from data_pipeline.admission import Admission, Admitter, Stored, in_shards, in_work, ties_of
from data_pipeline.candidates import NEAR_DUPLICATE, SCORES, Candidate, candidates_text, counted, read_candidates
from data_pipeline.journal import ASIDE, JOURNAL, Change, aside, make_change, resume_change
from data_pipeline.ledger import Tally, attribution, taken_down
from data_pipeline.quality import QualityGate
from data_pipeline.shards import (
    ATTRIBUTION,
    MANIFEST,
    ShardError,
    ShardWriter,
    manifest_text,
    read_group,
    read_manifest,
    read_records,
    read_tar,
    shard_entry,
    write_tar,
)
from data_pipeline.thumb_store import NOTES

NOT_AT_HAND = "not at hand"
BETWEEN = "belongs to two splits"
_CARRIED = ("drops.jsonl", "takedowns.jsonl", "config.yaml")
_OF_BEFORE = ("report.html", "doctor.json")
"""Made from the samples that were there; made anew by their own commands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requalified:
    """What changed."""

    dropped: tuple[str, ...]
    admitted: tuple[str, ...]
    missing: tuple[Candidate, ...]
    """The new gate lets them in, but their pictures are not at hand."""
    rewritten: tuple[str, ...]
    funnel: dict[str, dict[str, int]]
    copies: tuple[str, ...] = ()
    """The new gate lets them in, but they show what is there already."""
    between: tuple[str, ...] = ()
    """The new gate lets them in, but they belong to samples of two splits."""


def gate_of(folder: Path, changes: Mapping[str, Any]) -> QualityGate:
    """The gate that a folder was made with, with other thresholds.

    Raises:
        ShardError: a threshold is unknown or not a number.
    """
    known = {f.name: f.type for f in fields(QualityGate)}
    stored = read_manifest(folder).get("config", {}).get("curation", {}).get("gate", {})
    used = {name: value for name, value in stored.items() if name in known}
    for name, value in changes.items():
        if name not in known:
            raise ShardError(f"curation.gate.{name} is not a threshold; choose from {', '.join(known)}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ShardError(f"curation.gate.{name}={value} is not a number")
        used[name] = int(value) if name == "min_frames" else float(value)
    return QualityGate(**used)


def requalify(folder: Path, out: Path, gate: QualityGate, workers: int = 1) -> Requalified:
    """Write the shards that pass another gate.

    Members that fail are dropped; shards without one are copied (or left, when out is the folder itself) byte for
    byte. What a looser gate lets in is taken from `.work`, where `keep_work=true` left it, and packed into shards of
    its own: compared with all that is there, so that no copy comes in and nothing is in two splits (`admission.py`).
    Killed anywhere, the same command (or a takedown) brings it to its end.

    Args:
        folder: what lp-curate wrote.
        out: an empty folder, or the same one; the caller holds its run lock.
        gate: the thresholds.
        workers: processes that look for near-duplicates.

    Raises:
        ShardError: no manifest, no scores, a damaged shard, or `out` holds other shards.
    """
    is_same = out.exists() and out.resolve() == folder.resolve()
    is_resumed = out.exists() and resume_change(out)
    if not is_same and (folder / JOURNAL).exists():
        raise ShardError(f"{folder}: a takedown or requalify was stopped half-way; give that command again first")
    manifest, before = read_manifest(folder), read_candidates(folder)
    if not is_same and not is_resumed and (out / MANIFEST).exists():
        raise ShardError(f"{out} holds shards already; give an empty folder, or out={folder} to change that one")
    out.mkdir(parents=True, exist_ok=True)
    after = {one.key: one.judged(gate) for one in before}
    kept = _keep(folder, out, manifest, after)
    # What was left out before, not what the packer left out for its licence.
    wanted = {one.key for one in before if one.reasons and not after[one.key].reasons} - kept.stored
    twins = {key for key, one in after.items() if NEAR_DUPLICATE in one.reasons}
    admission, stored = _admit(folder, manifest, kept.packed, wanted, twins, workers)
    new = [one for one in stored if one.key in admission.place_of]
    shards = [*kept.shards, *_pack(out, new, admission, manifest, kept.tally)]
    told = [
        replace(one, reasons=told) if (told := _told(one, wanted, stored, admission)) else one for one in after.values()
    ]
    about = _manifest(manifest, gate) | kept.tally.summary() | {"shards": sorted(shards, key=lambda s: s["name"])}
    if stored:
        about["duplicates"] = admission.counted
    _finish(folder, out, about, told, is_same)
    return Requalified(
        dropped=tuple(kept.dropped),
        admitted=tuple(sorted(admission.place_of)),
        missing=tuple(after[key] for key in sorted(wanted - {one.key for one in stored})),
        rewritten=tuple(kept.rewritten),
        funnel=counted(told),
        copies=tuple(sorted(admission.copies)),
        between=tuple(sorted(admission.between)),
    )


@dataclass(slots=True)
class _Kept:
    """What is left of the shards."""

    shards: list[dict[str, Any]] = field(default_factory=list)
    packed: list[dict[str, Any]] = field(default_factory=list)
    stored: set[str] = field(default_factory=set)
    dropped: list[str] = field(default_factory=list)
    rewritten: list[str] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)


def _keep(folder: Path, out: Path, manifest: Mapping[str, Any], after: Mapping[str, Candidate]) -> _Kept:
    """Lay what passes aside, shard by shard."""
    kept = _Kept()
    for entry in manifest["shards"]:
        records = list(read_records(folder / entry["name"]))
        left = [r for r in records if r["key"] not in after or not after[r["key"]].reasons]
        kept.stored |= {record["key"] for record in records}
        kept.dropped += sorted({r["key"] for r in records} - {r["key"] for r in left})
        for record in left:
            kept.tally.add(record)
            kept.packed.append(ties_of(record))
        if len(left) < len(records):
            kept.rewritten.append(entry["name"])
        if left:
            kept.shards.append(_place(folder, out, entry, {r["key"] for r in left}, len(records)))
    return kept


def _place(folder: Path, out: Path, entry: Mapping[str, Any], keys: Collection[str], count: int) -> dict[str, Any]:
    """One shard for the new folder, whole or without some members; its entry for the manifest."""
    name = entry["name"]
    source, target = folder / name, aside(out, name)
    if len(keys) < count:
        write_tar(target, ((key, members) for key, members in read_tar(source) if key in keys))
        return shard_entry(target, len(keys), name)
    if source.resolve() != (out / name).resolve():
        shutil.copyfile(source, target)
    return dict(entry)


def _admit(
    folder: Path,
    manifest: Mapping[str, Any],
    packed: Sequence[Mapping[str, Any]],
    wanted: Collection[str],
    twins: Collection[str],
    workers: int,
) -> tuple[Admission, list[Stored]]:
    """Where the samples go that are let in and at hand, and where their members are."""
    there = {record["key"] for record in packed}
    found = list(in_work(folder, {*wanted, *there, *twins}, taken_down(folder))) if wanted else []
    stored = [one for one in found if one.key in wanted]
    if not stored:
        return Admission({}, frozenset(), frozenset(), {}), []
    marks = [one.fingerprint for one in found if one.key in there]
    missing = there - {mark.key for mark in marks}
    marks += in_shards([folder / entry["name"] for entry in manifest["shards"]], missing)
    admitter = Admitter.of_manifest(manifest, workers)
    return admitter(packed, marks, [one for one in found if one.key in twins], stored), stored


def _pack(
    out: Path, new: Sequence[Stored], admission: Admission, manifest: Mapping[str, Any], tally: Tally
) -> Iterator[dict[str, Any]]:
    """Lay shards of what is let in aside, named after all that there were; their entries for the manifest."""
    most = manifest.get("config", {}).get("writer", {}).get("max_samples", ShardWriter().max_samples)
    for split in sorted({place["split"] for place in admission.place_of.values()}):
        names = [e["name"] for e in manifest["shards"] if e["name"].startswith(f"{split}-")]
        number = max((int(name.removesuffix(".tar").rpartition("-")[2]) for name in names), default=-1) + 1
        mine = sorted((one for one in new if admission.place_of[one.key]["split"] == split), key=lambda one: one.key)
        for first in range(0, len(mine), most):
            some = mine[first : first + most]
            name = f"{split}-{number + first // most:05d}.tar"
            write_tar(aside(out, name), _groups(some, admission, tally))
            yield shard_entry(aside(out, name), len(some), name)


def _groups(some: Sequence[Stored], admission: Admission, tally: Tally) -> Iterator[tuple[str, Mapping[str, bytes]]]:
    for one in some:
        members = {name: data for name, data in read_group(one.tar, one.offset).members.items() if name != NOTES}
        record = json.loads(members["json"]) | admission.place_of[one.key]
        tally.add(record)
        yield one.key, members | {"json": json.dumps(record, sort_keys=True).encode()}


def _told(one: Candidate, wanted: Collection[str], stored: Sequence[Stored], admission: Admission) -> tuple[str, ...]:
    """Why something that passes the gate stays out."""
    if one.key not in wanted or one.key in admission.place_of:
        return ()
    if one.key in admission.copies:
        return (NEAR_DUPLICATE,)
    return (BETWEEN,) if one.key in admission.between else (NOT_AT_HAND,)


def _manifest(manifest: Mapping[str, Any], gate: QualityGate) -> dict[str, Any]:
    config = dict(manifest.get("config", {}))
    curation = dict(config.get("curation", {}))
    config["curation"] = curation | {"gate": dict(curation.get("gate", {})) | asdict(gate)}
    return dict(manifest) | {"config": config}


def _finish(
    folder: Path, out: Path, manifest: Mapping[str, Any], candidates: Sequence[Candidate], is_same: bool
) -> None:
    """Make the change; shards that are empty now go, and so does a report that shows what is no longer there."""
    for name in () if is_same else _CARRIED:
        if (folder / name).exists():
            shutil.copyfile(folder / name, aside(out, name))
    named = {entry["name"] for entry in manifest["shards"]}
    there = {path.name for path in out.glob("*-[0-9][0-9][0-9][0-9][0-9].tar")}
    made = sorted(path.name for path in out.glob(f"*{ASIDE}"))
    change = Change(
        replace=[name.removesuffix(ASIDE) for name in made],
        remove=[*sorted(there - named), *(name for name in _OF_BEFORE if (out / name).exists())],
        texts={SCORES: candidates_text(candidates), ATTRIBUTION: attribution(manifest)},
        manifest=manifest_text(manifest),
    )
    make_change(out, change)


def what_if(folder: Path, gate: QualityGate) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, int]]]:
    """The funnel as it was and as it would be; reads scores.jsonl and writes nothing."""
    before = read_candidates(folder)
    return counted(before), counted(one.judged(gate) for one in before)


def funnel_lines(after: Mapping[str, Mapping[str, int]], before: Mapping[str, Mapping[str, int]] | None = None) -> str:
    """The funnel as text: one column a species, rows for candidates, kept and each reason; changes in brackets."""
    names = [*sorted(name for name in after if name != "all"), *(["all"] if "all" in after else [])]
    reasons = {reason for row in (*after.values(), *(before or {}).values()) for reason in row}
    order = ["candidates", "kept", *sorted(reasons - {"candidates", "kept"})]

    def cell(name: str, what: str) -> str:
        now = after[name].get(what, 0)
        change = now - before.get(name, {}).get(what, 0) if before else 0
        return f"{now} ({change:+d})" if change else str(now)

    wide = max([len(what) for what in order], default=0)
    table = [[what.ljust(wide), *(cell(name, what).rjust(14) for name in names)] for what in order]
    return "\n".join("".join(row) for row in [["".ljust(wide), *(name.rjust(14) for name in names)], *table])
