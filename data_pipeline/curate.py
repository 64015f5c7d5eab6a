"""All files of a source -> shards, drops and a report; a stopped run goes on where it was.

Each file's samples are first written to `<out>/.work/<file>.tar`, whole or not at all; when all files are done the
shards are packed from there in the order of keys, so that neither who finished first nor an interruption shows in them.
"""

import hashlib
import json
import math
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from data_pipeline.adapters.folder import MediaFile
from data_pipeline.adapters.known import with_landmarks
from data_pipeline.candidates import NEAR_DUPLICATE, Candidate, as_row, from_row, outcome, write_candidates
from data_pipeline.curation import Curation
from data_pipeline.dedup import Fingerprint, NearDuplicates
from data_pipeline.executors.local import LocalExecutor
from data_pipeline.hashes import thumbnails
from data_pipeline.media import source_id_of
from data_pipeline.progress import track
from data_pipeline.records import Drop, Rejected, Sample
from data_pipeline.requalify import REJECTED
from data_pipeline.shards import ShardWriter, read_tar, to_members, write_tar, write_text
from data_pipeline.split import Relations
from data_pipeline.thumb_store import ThumbStore, note_to_thumbs, notes_member


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One file to curate and where its result goes."""

    file: MediaFile
    result: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class FileWorker:
    """Curates one file in whatever process it is called; its result is a file."""

    curation: Curation
    crf: int = 15
    gop: int = 1
    keep_rejected: bool = False
    """Also write what the gate drops, beside the result, so that `requalify` can admit it without decoding."""

    def __call__(self, job: Job) -> Path:
        """Write the job's samples and drops to `job.result`."""
        groups: list[tuple[str, Mapping[str, bytes]]] = []
        rejected: list[tuple[str, Mapping[str, bytes]]] = []
        drops: list[dict[str, Any]] = []
        measured: list[Candidate] = []
        try:
            for made in self.curation(job.file):
                if isinstance(made, Drop):
                    drops.append(_drop_row(made))
                if isinstance(made, Sample | Rejected):
                    measured.append(outcome(made, job.file.path))
                if isinstance(made, Sample):
                    groups.append((made.key, self._members(made)))
                elif isinstance(made, Rejected) and self.keep_rejected:
                    rejected.append((made.sample.key, self._members(made.sample)))
        except (ValueError, MemoryError, RuntimeError) as error:
            # One bad file must not end a run of a million; what it was stands in the drops.
            groups, rejected, measured = [], [], []
            detail = f"{type(error).__name__}: {error}"
            drops = [asdict(Drop(key=job.file.path.as_posix(), stage="curation", reason="failed", detail=detail))]
        scores = json.dumps([as_row(one) for one in measured]).encode()
        groups.append(("drops", {"json": json.dumps(drops).encode(), "scores": scores}))
        if rejected:
            write_tar(job.result.with_suffix(REJECTED), rejected)
        write_tar(job.result, groups)
        return job.result

    def _members(self, sample: Sample) -> dict[str, bytes]:
        return with_landmarks(to_members(sample, self.crf, self.gop), sample) | _notes(sample)


def _drop_row(drop: Drop) -> dict[str, Any]:
    """A drop without the sample that a rejected one carries."""
    return {"key": drop.key, "stage": drop.stage, "reason": drop.reason, "detail": drop.detail}


def _notes(sample: Sample) -> dict[str, bytes]:
    """What the last steps need to know of a sample without decoding it."""
    return notes_member(thumbnails(sample.frames), exempt=bool(sample.truth))


def _lost(job: Job) -> Path:
    drop = Drop(
        key=job.file.path.as_posix(), stage="curation", reason="worker died", detail="out of memory or a decoder crash"
    )
    write_tar(job.result, [("drops", {"json": json.dumps([asdict(drop)]).encode()})])
    return job.result


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a run made."""

    manifest: dict[str, Any]
    drops: list[Drop]
    num_files: int


def curate(
    source: Callable[[], list[MediaFile]],
    worker: FileWorker,
    duplicates: NearDuplicates,
    writer: ShardWriter,
    executor: LocalExecutor,
    out: Path,
    config: Mapping[str, Any],
) -> Summary:
    """Run the whole source; see the module docstring for how a run resumes."""
    work_dir = out / ".work"
    work_dir.mkdir(parents=True, exist_ok=True)
    files = source()
    recipe = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()[:12]
    jobs, twins = _plan(files, work_dir, recipe)
    todo = [job for job in jobs if not job.result.exists()]
    what = "curating" if len(todo) == len(jobs) else f"curating ({len(jobs) - len(todo)} of {len(jobs)} done before)"
    for _ in track(executor(worker, todo, _lost), total=len(todo), what=what, unit="files"):
        pass
    drops = [*twins, *_read_drops(jobs)]
    index = _index(jobs, work_dir)
    cluster_of, kept_for = duplicates([entry.fingerprint for entry in index])
    split_of = worker.curation.splitter.assign([replace(e.ties, cluster=cluster_of[e.ties.key]) for e in index])
    places = {entry.fingerprint.key: entry.where for entry in index}
    drops += [
        Drop(key=places[key], stage="dedup", reason="near-duplicate", detail=f"kept {places[kept]}")
        for key, kept in sorted(kept_for.items())
    ]
    keep = sorted((e for e in index if e.fingerprint.key not in kept_for), key=lambda e: e.fingerprint.key)
    about = {"config": dict(config), "inputs": len(files)}
    about["duplicates"] = _counted(cluster_of, kept_for)
    final = {key: {"cluster": cluster_of[key], "split": split_of[key]} for key in split_of}
    manifest = writer(out, track(_groups(keep, final), total=len(keep), what="packing", unit="samples"), about)
    drops.sort(key=lambda d: (d.key, d.stage, d.reason))
    write_candidates(out, _judged(jobs, kept_for))
    write_text(out / "drops.jsonl", "".join(json.dumps(asdict(d)) + "\n" for d in drops))
    return Summary(manifest=manifest, drops=drops, num_files=len(files))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    fingerprint: Fingerprint
    ties: Relations
    tar: Path
    where: str


def _plan(files: Sequence[MediaFile], work_dir: Path, recipe: str) -> tuple[list[Job], list[Drop]]:
    """One job for each content; byte-identical twins are dropped here."""
    jobs, twins = [], []
    first: dict[tuple[Any, ...], Path] = {}
    for file in track(files, what="looking at files", unit="files"):
        try:
            content = source_id_of(file.path)
        except OSError:
            content = hashlib.sha256(file.path.as_posix().encode()).hexdigest()[:16]
        empty = file.path.exists() and file.path.stat().st_size == 0
        same = (content, file.span, file.problem)  # parts of one video are no twins
        if same in first and not empty:
            detail = f"same bytes as {first[same].as_posix()}"
            twins.append(Drop(key=file.path.as_posix(), stage="probe", reason="exact duplicate", detail=detail))
            continue
        first.setdefault(same, file.path)
        about = hashlib.sha256(json.dumps(asdict(file), default=str).encode()).hexdigest()[:8]
        jobs.append(Job(file=file, result=work_dir / f"{content}-{about}-{recipe}.tar"))
    return jobs, twins


def _read_drops(jobs: Sequence[Job]) -> Iterator[Drop]:
    for job in jobs:
        for key, members in read_tar(job.result):
            if key == "drops":
                yield from (Drop(**entry) for entry in json.loads(members["json"]))


def _judged(jobs: Sequence[Job], twins: Collection[str]) -> Iterator[Candidate]:
    """Everything that was measured, with why it was left out."""
    for job in jobs:
        for key, members in read_tar(job.result):
            if key == "drops":
                for row in json.loads(members.get("scores", b"[]")):
                    one = from_row(row)
                    yield replace(one, reasons=(NEAR_DUPLICATE,)) if one.key in twins else one


def _index(jobs: Sequence[Job], work_dir: Path) -> list[_Entry]:
    """All samples, without their pictures; thumbnails stay on disk."""
    found: list[tuple[Job, dict[str, Any], bool]] = []
    with ThumbStore(work_dir / "thumbs.u8") as store:
        for job in jobs:
            for key, members in read_tar(job.result):
                if key != "drops":
                    record, notes = json.loads(members["json"]), json.loads(members["notes"])
                    store.append(note_to_thumbs(notes))
                    ties = ("key", "identity", "source_id", "performance", "start", "num_frames", "quality")
                    found.append((job, {name: record[name] for name in ties}, notes["exempt"]))
    return [_entry(*one, thumbs) for one, thumbs in zip(found, store.views(), strict=True)]


def _entry(job: Job, record: Mapping[str, Any], exempt: bool, thumbs: UInt8[np.ndarray, "N P P"]) -> _Entry:
    key, quality = record["key"], record["quality"]
    # A longer clip holds more than a shorter copy of it, unless the head is that much smaller.
    rank = quality["min_side_px"] * quality["score"] * math.sqrt(record["num_frames"])
    return _Entry(
        fingerprint=Fingerprint(key=key, source_id=record["source_id"], thumbs=thumbs, rank=rank, exempt=exempt),
        ties=Relations(
            key=key,
            identity=record["identity"],
            source_id=record["source_id"],
            cluster=key,
            performance=record["performance"],
        ),
        tar=job.result,
        where=f"{job.file.path.as_posix()}#frame{record['start']}",
    )


def _counted(cluster_of: Mapping[str, str], kept_for: Mapping[str, str]) -> dict[str, int]:
    sizes = Counter(cluster_of.values())
    several = [size for size in sizes.values() if size > 1]
    return {"clusters": len(several), "samples_in_clusters": sum(several), "dropped": len(kept_for)}


def _groups(
    entries: Sequence[_Entry], final: Mapping[str, Mapping[str, str]]
) -> Iterator[tuple[dict[str, Any], dict[str, bytes]]]:
    """Members in the order of entries, with their final split and cluster; a file's tar is read once for neighbours."""
    opened: tuple[Path | None, dict[str, dict[str, bytes]]] = (None, {})
    for entry in entries:
        if opened[0] != entry.tar:
            opened = (entry.tar, dict(read_tar(entry.tar)))
        members = {name: data for name, data in opened[1][entry.fingerprint.key].items() if name != "notes"}
        record = json.loads(members["json"]) | final[entry.fingerprint.key]
        yield record, members | {"json": json.dumps(record, sort_keys=True).encode()}


def remove_work(out: Path) -> None:
    """Forget the results of single files; the shards stay."""
    shutil.rmtree(out / ".work", ignore_errors=True)
