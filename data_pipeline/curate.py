"""All files of a source -> shards, drops and a report; a stopped run goes on where it was.

Each file's samples are first written to `<out>/.work/<file>.tar`, whole or not at all; when all files are done the
shards are packed from there in the order of keys, so that neither who finished first nor an interruption shows in them.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from data_pipeline.adapters.folder import MediaFile
from data_pipeline.candidates import NEAR_DUPLICATE, write_candidates
from data_pipeline.dedup import NearDuplicates
from data_pipeline.executors.executor import Executor
from data_pipeline.executors.local import LocalExecutor, num_cores
from data_pipeline.file_worker import FileRow, FileWorker, Job, write_lost
from data_pipeline.media import source_id_of
from data_pipeline.progress import track
from data_pipeline.records import Drop
from data_pipeline.shards import ShardWriter
from data_pipeline.stage_clock import StageClock
from data_pipeline.whole_file import write_text
from data_pipeline.work_folder import final_groups, read_results, remove_parts

FILES = "files.jsonl"
"""What each input file cost and gave: seconds, so it differs from run to run."""
_LOOK_AT_ONCE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a run made."""

    manifest: dict[str, Any]
    drops: list[Drop]
    num_files: int
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    """Wall time of each stage."""
    num_done: int = 0
    """Files that this run curated; the others were done before."""
    media_s: float = 0.0
    """Their playing time."""


def curate(
    source: Callable[[], list[MediaFile]],
    worker: FileWorker,
    duplicates: NearDuplicates,
    writer: ShardWriter,
    executor: Executor,
    out: Path,
    config: Mapping[str, Any],
) -> Summary:
    """Run the whole source; see the module docstring for how a run resumes."""
    clock = StageClock()
    work_dir = out / ".work"
    work_dir.mkdir(parents=True, exist_ok=True)
    remove_parts(out)
    with clock("looking"):
        files = source()
        recipe = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()[:12]
        jobs, twins = _plan(files, work_dir, recipe)
    with clock("curating"):
        done = _curate_files(jobs, worker, executor)
    with clock("duplicates"):
        results = read_results(jobs, work_dir)
        index = results.entries
        cluster_of, kept_for = duplicates([entry.fingerprint for entry in index], _workers(executor))
        ties = [replace(e.ties, cluster=cluster_of[e.ties.key]) for e in index]
        split_of = worker.curation.splitter.assign(ties)
    places = {entry.fingerprint.key: entry.where for entry in index}
    copies = [
        Drop(key=places[key], stage="dedup", reason=NEAR_DUPLICATE, detail=f"kept {places[kept]}")
        for key, kept in sorted(kept_for.items())
    ]
    with clock("packing"):
        keep = sorted((e for e in index if e.fingerprint.key not in kept_for), key=lambda e: e.fingerprint.key)
        about = {"config": dict(config), "inputs": len(files), "duplicates": _counted(cluster_of, kept_for)}
        final = {key: {"cluster": cluster_of[key], "split": split_of[key]} for key in split_of}
        groups = track(final_groups(keep, final), total=len(keep), what="packing", unit="samples")
        drops = sorted([*twins, *results.drops, *copies], key=lambda d: (d.key, d.stage, d.reason))
        judged = (replace(c, reasons=(NEAR_DUPLICATE,)) if c.key in kept_for else c for c in results.candidates)
        write_candidates(out, judged)
        write_text(out / "drops.jsonl", _lines(drops))
        write_text(out / FILES, _lines(_by_file([*results.rows, *(FileRow(key=d.key, drops=1) for d in twins)])))
        manifest = writer(out, groups, about)
    return Summary(
        manifest=manifest,
        drops=drops,
        num_files=len(files),
        seconds=clock.seconds,
        num_done=len(done),
        media_s=sum((row.media_s for row in done), 0.0),
    )


def _curate_files(jobs: Sequence[Job], worker: FileWorker, executor: Executor) -> list[FileRow]:
    """Do what has not been done before, the largest files first: a long one begun last would keep one core alone."""
    todo = sorted((job for job in jobs if not job.result.exists()), key=lambda job: -job.size_bytes)
    what = "curating" if len(todo) == len(jobs) else f"curating ({len(jobs) - len(todo)} of {len(jobs)} done before)"
    finished = executor(worker, todo, write_lost)
    shown = track(finished, len(todo), what, "files", weigh=lambda pair: pair[1].media_s, weight_unit="media s")
    return [row for _, row in shown]


def _workers(executor: Executor) -> int:
    """Processes for what is done on this machine."""
    return (executor.workers if isinstance(executor, LocalExecutor) else 0) or num_cores()


def _plan(files: Sequence[MediaFile], work_dir: Path, recipe: str) -> tuple[list[Job], list[Drop]]:
    """One job for each content; byte-identical twins are dropped here."""
    jobs, twins = [], []
    first: dict[tuple[Any, ...], Path] = {}
    for file, (content, size_bytes) in track(_looked_at(files), len(files), "looking at files", "files"):
        same = (content, file.span, file.problem)  # parts of one video are no twins
        if same in first and size_bytes:
            detail = f"same bytes as {first[same].as_posix()}"
            twins.append(Drop(key=file.path.as_posix(), stage="probe", reason="exact duplicate", detail=detail))
            continue
        first.setdefault(same, file.path)
        about = hashlib.sha256(json.dumps(asdict(file), default=str).encode()).hexdigest()[:8]
        result = work_dir / f"{content}-{about}-{recipe}.tar"
        jobs.append(Job(file=file, result=result, size_bytes=size_bytes))
    return jobs, twins


def _looked_at(files: Sequence[MediaFile]) -> Iterator[tuple[MediaFile, tuple[str, int]]]:
    """Each file with its content's hash and size; threads, because hashing lets go of the interpreter."""
    with ThreadPoolExecutor(num_cores()) as pool:
        for start in range(0, len(files), _LOOK_AT_ONCE):
            part = files[start : start + _LOOK_AT_ONCE]
            yield from zip(part, pool.map(_look, (file.path for file in part)), strict=True)


def _look(path: Path) -> tuple[str, int]:
    """Content hash and bytes; of what cannot be read, a hash of its name and 0."""
    try:
        return source_id_of(path), path.stat().st_size
    except OSError:
        return hashlib.sha256(path.as_posix().encode(errors="surrogateescape")).hexdigest()[:16], 0


def _by_file(rows: Iterable[FileRow]) -> Iterator[FileRow]:
    """One row for each input file; the parts of a video are added up."""
    sums: dict[str, FileRow] = {}
    for row in rows:
        so_far = sums.get(row.key, FileRow(key=row.key))
        sums[row.key] = FileRow(
            key=row.key,
            media_s=round(so_far.media_s + row.media_s, 3),
            frames=so_far.frames + row.frames,
            seconds=round(so_far.seconds + row.seconds, 3),
            samples=so_far.samples + row.samples,
            drops=so_far.drops + row.drops,
        )
    yield from (sums[key] for key in sorted(sums))


def _lines(records: Iterable[Drop | FileRow]) -> str:
    return "".join(json.dumps(asdict(one)) + "\n" for one in records)


def _counted(cluster_of: Mapping[str, str], kept_for: Mapping[str, str]) -> dict[str, int]:
    sizes = Counter(cluster_of.values())
    several = [size for size in sizes.values() if size > 1]
    return {"clusters": len(several), "samples_in_clusters": sum(several), "dropped": len(kept_for)}


def remove_work(out: Path) -> None:
    """Forget the results of single files; the shards stay."""
    shutil.rmtree(out / ".work", ignore_errors=True)
