"""The results of single files in `.work` -> what is known of all samples, and their members in any order."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from data_pipeline.candidates import Candidate, from_row
from data_pipeline.file_worker import DROPS, FileRow, Job
from data_pipeline.group_tar import Group, ShardError, read_group, read_groups
from data_pipeline.lookup import Fingerprint, fingerprint_of
from data_pipeline.records import Drop
from data_pipeline.split import Relations
from data_pipeline.thumb_store import NOTES, ThumbStore, note_to_thumbs

_TIES = ("key", "identity", "source_id", "performance", "start", "num_frames", "quality")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One sample, without its pictures."""

    fingerprint: Fingerprint
    ties: Relations
    tar: Path
    offset: int
    """Of its group in `tar`, in bytes."""
    where: str
    """path#frame of its first frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What all files gave."""

    entries: list[Entry] = field(default_factory=list[Entry])
    drops: list[Drop] = field(default_factory=list[Drop])
    candidates: list[Candidate] = field(default_factory=list[Candidate])
    rows: list[FileRow] = field(default_factory=list[FileRow])


def remove_parts(out: Path) -> None:
    """Remove what a killed run left half written."""
    for path in [*(out / ".work").glob("*.part"), *out.glob("*-[0-9][0-9][0-9][0-9][0-9].tar.part")]:
        path.unlink(missing_ok=True)


def read_results(jobs: Sequence[Job], work_dir: Path) -> Results:
    """Read the results of all jobs once, without their media; thumbnails go to a file in `work_dir`.

    Raises:
        ShardError: a result is damaged.
        WriteError: the disk has no room for the thumbnails.
    """
    results = Results()
    found: list[tuple[Job, int, dict[str, Any], bool]] = []
    with ThumbStore(work_dir / "thumbs.u8") as store:
        for job in jobs:
            for group in _groups(job):
                if group.key == DROPS:
                    _read_end(group.members, job, results)
                    continue
                record, notes = json.loads(group.members["json"]), json.loads(group.members[NOTES])
                store.append(note_to_thumbs(notes))
                found.append((job, group.offset, {name: record[name] for name in _TIES}, notes["exempt"]))
    results.entries.extend(_entry(*one, thumbs) for one, thumbs in zip(found, store.views(), strict=True))
    return results


def _groups(job: Job) -> Iterator[Group]:
    try:
        yield from read_groups(job.result, {"json", NOTES, "scores", "file"})
    except ShardError as error:
        raise ShardError(f"{job.result} is damaged; delete it and give the same command again") from error


def _read_end(members: Mapping[str, bytes], job: Job, results: Results) -> None:
    results.drops.extend(Drop(**entry) for entry in json.loads(members["json"]))
    results.candidates.extend(from_row(row) for row in json.loads(members.get("scores", b"[]")))
    row = json.loads(members.get("file", b"{}"))  # a result of an older version has none
    results.rows.append(FileRow(**{"key": job.file.path.as_posix()} | row))


def _entry(job: Job, offset: int, record: Mapping[str, Any], exempt: bool, thumbs: UInt8[np.ndarray, "N P P"]) -> Entry:
    key = record["key"]
    return Entry(
        fingerprint=fingerprint_of(record, thumbs, exempt),
        ties=Relations(
            key=key,
            identity=record["identity"],
            source_id=record["source_id"],
            cluster=key,
            performance=record["performance"],
        ),
        tar=job.result,
        offset=offset,
        where=f"{job.file.path.as_posix()}#frame{record['start']}",
    )


def final_groups(
    entries: Sequence[Entry], final: Mapping[str, Mapping[str, str]]
) -> Iterator[tuple[dict[str, Any], dict[str, bytes]]]:
    """Records and members in the order of entries, with their final fields; one sample in memory at a time."""
    for entry in entries:
        group = read_group(entry.tar, entry.offset)
        members = {name: data for name, data in group.members.items() if name != NOTES}
        record = json.loads(members["json"]) | final[entry.fingerprint.key]
        yield record, members | {"json": json.dumps(record, sort_keys=True).encode()}
