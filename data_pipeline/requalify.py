"""Stored scores and other thresholds -> the shards that these would have made, without decoding media."""

import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from data_pipeline.candidates import Candidate, counted, read_candidates, write_candidates
from data_pipeline.ledger import Tally, attribution, id_hashes, taken_down
from data_pipeline.quality import QualityGate
from data_pipeline.shards import (
    ATTRIBUTION,
    MANIFEST,
    ShardError,
    manifest_text,
    read_manifest,
    read_records,
    read_tar,
    shard_entry,
    write_tar,
    write_text,
)

REJECTED = ".rejected.tar"
"""Ending of the files in `.work` that hold what the gate left out."""
WORK_MEMBERS = ("notes",)
"""Members of a sample in `.work` that shards do not hold."""
_CARRIED = ("drops.jsonl", "takedowns.jsonl", "config.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Requalified:
    """What changed."""

    dropped: tuple[str, ...]
    admitted: tuple[str, ...]
    missing: tuple[Candidate, ...]
    """The new gate lets them in, but their pictures are not at hand."""
    rewritten: tuple[str, ...]
    funnel: dict[str, dict[str, int]]


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


def requalify(folder: Path, out: Path, gate: QualityGate) -> Requalified:
    """Write the shards that pass another gate.

    Members that fail are dropped; shards without one are copied (or left, when out is the folder itself) byte for
    byte. What a looser gate lets in is packed from `.work`, where `keep_work=true` left it, into shards of its own.
    Admitted samples are not compared for near-duplicates again.

    Raises:
        ShardError: no manifest, no scores, a damaged shard, or `out` holds other shards.
    """
    manifest, before = read_manifest(folder), read_candidates(folder)
    is_same = out.exists() and out.resolve() == folder.resolve()
    if not is_same and (out / MANIFEST).exists():
        raise ShardError(f"{out} holds shards already; give an empty folder, or out={folder} to change that one")
    out.mkdir(parents=True, exist_ok=True)
    after = {one.key: one.judged(gate) for one in before}
    keep = {key for key, one in after.items() if not one.reasons}
    gone = taken_down(folder)
    shards, rewritten, tally = [], [], Tally()
    # What was left out before, not what the packer left out for its licence.
    wanted = {one.key for one in before if one.reasons} & keep
    stored: set[str] = set()
    homes: dict[str, str] = {}
    dropped: list[str] = []
    for entry in manifest["shards"]:
        records = list(read_records(folder / entry["name"]))
        stored |= {record["key"] for record in records}
        left = [record for record in records if record["key"] in keep or record["key"] not in after]
        dropped += sorted({r["key"] for r in records} - {r["key"] for r in left})
        for record in left:
            tally.add(record)
            homes |= {record["source_id"]: record["split"], record["identity"]: record["split"]}
        if len(left) < len(records):
            rewritten.append(entry["name"])
        if left:
            shards.append(_place(folder, out, entry["name"], {r["key"] for r in left}, len(records)))
    admitted: list[str] = []
    for path, records in _admitted(folder, out, homes, wanted - stored, gone, [e["name"] for e in shards]):
        for record in records:
            tally.add(record)
        admitted += [record["key"] for record in records]
        shards.append(shard_entry(path, len(records)))
    new = _manifest(manifest, gate) | tally.summary() | {"shards": sorted(shards, key=lambda s: s["name"])}
    _finish(folder, out, new, is_same)
    missing = tuple(after[key] for key in sorted(wanted - stored - set(admitted)))
    told = [replace(one, reasons=("not at hand",)) if one in missing else one for one in after.values()]
    write_candidates(out, told)
    return Requalified(
        dropped=tuple(dropped),
        admitted=tuple(admitted),
        missing=missing,
        rewritten=tuple(rewritten),
        funnel=counted(told),
    )


def _place(folder: Path, out: Path, name: str, keys: Collection[str], count: int) -> dict[str, Any]:
    """One shard in the new folder, whole or without some members."""
    source, target = folder / name, out / name
    if len(keys) < count:
        write_tar(target, ((key, members) for key, members in read_tar(source) if key in keys))
    elif source.resolve() != target.resolve():
        aside = target.with_name(name + ".part")
        shutil.copyfile(source, aside)
        os.replace(aside, target)  # noqa: PTH105
    return shard_entry(target, len(keys))


def _admitted(
    folder: Path,
    out: Path,
    homes: Mapping[str, str],
    wanted: Collection[str],
    gone: Collection[str],
    taken: Collection[str],
) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    """Members of `.work` that the new gate lets in: one new shard for each split that has any.

    A sample joins the split where its file or its animal is already, so that nothing leaks.
    """
    by_split: dict[str, list[tuple[str, dict[str, bytes]]]] = {}
    records: dict[str, list[dict[str, Any]]] = {}
    for tar in sorted((folder / ".work").glob("*.tar")) if wanted else ():
        for key, members in read_tar(tar):
            if key not in wanted or any(key == done for group in by_split.values() for done, _ in group):
                continue
            record = json.loads(members["json"])
            if id_hashes(record).isdisjoint(gone):
                record["split"] = homes.get(record["source_id"]) or homes.get(record["identity"]) or record["split"]
                members = {name: data for name, data in members.items() if name not in WORK_MEMBERS}
                members["json"] = json.dumps(record, sort_keys=True).encode()
                by_split.setdefault(record["split"], []).append((key, members))
                records.setdefault(record["split"], []).append(record)
    for split in sorted(by_split):
        numbers = [int(name.removesuffix(".tar").rpartition("-")[2]) for name in taken if name.startswith(f"{split}-")]
        path = out / f"{split}-{max(numbers, default=-1) + 1:05d}.tar"
        write_tar(path, sorted(by_split[split], key=lambda pair: pair[0]))
        yield path, sorted(records[split], key=lambda record: record["key"])


def _manifest(manifest: Mapping[str, Any], gate: QualityGate) -> dict[str, Any]:
    config = dict(manifest.get("config", {}))
    curation = dict(config.get("curation", {}))
    config["curation"] = curation | {"gate": dict(curation.get("gate", {})) | asdict(gate)}
    return dict(manifest) | {"config": config}


def _finish(folder: Path, out: Path, manifest: Mapping[str, Any], is_same: bool) -> None:
    """Lists and manifest; shards that are empty now go last, so that no manifest names a file that is not there."""
    if not is_same:
        for name in _CARRIED:
            if (folder / name).exists():
                shutil.copyfile(folder / name, out / name)
    write_text(out / ATTRIBUTION, attribution(manifest))
    write_text(out / MANIFEST, manifest_text(manifest))
    if is_same:
        (out / "report.html").unlink(missing_ok=True)  # it shows what is no longer there
        named = {out / entry["name"] for entry in manifest["shards"]}
        for stale in set(out.glob("*-[0-9][0-9][0-9][0-9][0-9].tar")) - named:
            stale.unlink()


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
