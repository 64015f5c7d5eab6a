"""All files of a source -> shards, drops and a report; a stopped run goes on where it was.

Each file's samples are first written to `<out>/.work/<file>.tar`, whole or not at all; when all files are done the
shards are packed from there in the order of keys, so that neither who finished first nor an interruption shows in them.
"""

import hashlib
import importlib.metadata
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_pipeline.adapters.folder import FolderSource, MediaFile
from data_pipeline.curation import Curation
from data_pipeline.dedup import Fingerprint, NearDuplicates, frame_hashes
from data_pipeline.executors.local import LocalExecutor
from data_pipeline.media import source_id_of
from data_pipeline.progress import track
from data_pipeline.records import Drop, Sample
from data_pipeline.shards import ShardWriter, read_tar, to_members, write_tar, write_text


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

    def __call__(self, job: Job) -> Path:
        """Write the job's samples and drops to `job.result`."""
        groups: list[tuple[str, Mapping[str, bytes]]] = []
        drops: list[dict[str, Any]] = []
        try:
            for outcome in self.curation(job.file):
                if isinstance(outcome, Drop):
                    drops.append(asdict(outcome))
                else:
                    groups.append((outcome.key, to_members(outcome, self.crf, self.gop) | _notes(outcome)))
        except (ValueError, MemoryError, RuntimeError) as error:
            # One bad file must not end a run of a million; what it was stands in the drops.
            groups = []
            detail = f"{type(error).__name__}: {error}"
            drops = [asdict(Drop(key=job.file.path.as_posix(), stage="curation", reason="failed", detail=detail))]
        groups.append(("drops", {"json": json.dumps(drops).encode()}))
        write_tar(job.result, groups)
        return job.result


def _notes(sample: Sample) -> dict[str, bytes]:
    """What the last steps need to know of a sample without decoding it."""
    notes = {"hashes": frame_hashes(sample.frames), "exempt": bool(sample.truth)}
    return {"notes": json.dumps(notes).encode()}


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
    source: FolderSource,
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
    index = _index(jobs)
    kept_for = duplicates([entry.fingerprint for entry in index])
    places = {entry.fingerprint.key: entry.where for entry in index}
    drops += [
        Drop(key=places[key], stage="dedup", reason="near-duplicate", detail=f"kept {places[kept]}")
        for key, kept in sorted(kept_for.items())
    ]
    keep = sorted((e for e in index if e.fingerprint.key not in kept_for), key=lambda e: e.fingerprint.key)
    about = {"config": dict(config), "code_version": importlib.metadata.version("pawtrait"), "inputs": len(files)}
    manifest = writer(out, track(_groups(keep), total=len(keep), what="packing", unit="samples"), about)
    drops.sort(key=lambda d: (d.key, d.stage, d.reason))
    write_text(out / "drops.jsonl", "".join(json.dumps(asdict(d)) + "\n" for d in drops))
    return Summary(manifest=manifest, drops=drops, num_files=len(files))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    fingerprint: Fingerprint
    tar: Path
    where: str


def _plan(files: Sequence[MediaFile], work_dir: Path, recipe: str) -> tuple[list[Job], list[Drop]]:
    """One job for each content; byte-identical twins are dropped here."""
    jobs, twins = [], []
    first: dict[str, Path] = {}
    for file in track(files, what="looking at files", unit="files"):
        try:
            content = source_id_of(file.path)
        except OSError:
            content = hashlib.sha256(file.path.as_posix().encode()).hexdigest()[:16]
        empty = file.path.exists() and file.path.stat().st_size == 0
        if content in first and not empty:
            detail = f"same bytes as {first[content].as_posix()}"
            twins.append(Drop(key=file.path.as_posix(), stage="probe", reason="exact duplicate", detail=detail))
            continue
        first.setdefault(content, file.path)
        about = hashlib.sha256(json.dumps(asdict(file), default=str).encode()).hexdigest()[:8]
        jobs.append(Job(file=file, result=work_dir / f"{content}-{about}-{recipe}.tar"))
    return jobs, twins


def _read_drops(jobs: Sequence[Job]) -> Iterator[Drop]:
    for job in jobs:
        for key, members in read_tar(job.result):
            if key == "drops":
                yield from (Drop(**entry) for entry in json.loads(members["json"]))


def _index(jobs: Sequence[Job]) -> list[_Entry]:
    found = []
    for job in jobs:
        for key, members in read_tar(job.result):
            if key == "drops":
                continue
            record, notes = json.loads(members["json"]), json.loads(members["notes"])
            quality = record["quality"]
            found.append(
                _Entry(
                    fingerprint=Fingerprint(
                        key=key,
                        source_id=record["source_id"],
                        species=record["species"],
                        hashes=tuple(notes["hashes"]),
                        rank=quality["min_side_px"] * quality["score"],
                        exempt=notes["exempt"],
                    ),
                    tar=job.result,
                    where=f"{job.file.path.as_posix()}#frame{record['start']}",
                )
            )
    return found


def _groups(entries: Sequence[_Entry]) -> Iterator[tuple[dict[str, Any], dict[str, bytes]]]:
    """Members in the order of entries; a file's tar is read once for all its neighbouring samples."""
    opened: tuple[Path | None, dict[str, dict[str, bytes]]] = (None, {})
    for entry in entries:
        if opened[0] != entry.tar:
            opened = (entry.tar, dict(read_tar(entry.tar)))
        members = {name: data for name, data in opened[1][entry.fingerprint.key].items() if name != "notes"}
        yield json.loads(members["json"]), members


def remove_work(out: Path) -> None:
    """Forget the results of single files; the shards stay."""
    shutil.rmtree(out / ".work", ignore_errors=True)
