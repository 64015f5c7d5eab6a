"""One media file -> a tar of its samples, drops and scores, in whatever process this is called."""

import json
import os
import socket
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from data_pipeline.adapters.folder import MediaFile
from data_pipeline.adapters.known import with_landmarks
from data_pipeline.candidates import as_row, outcome
from data_pipeline.curation import Curation
from data_pipeline.detect import DetectorError, HeadDetector
from data_pipeline.group_tar import GroupWriter
from data_pipeline.hashes import thumbnails
from data_pipeline.media import MediaError, read_timing
from data_pipeline.records import Drop, Rejected, Sample
from data_pipeline.shards import to_members
from data_pipeline.thumb_store import notes_member

REJECTED = ".rejected.tar"
"""Ending of the files in `.work` that hold what the gate left out."""
DROPS = "drops"
"""Key of the last group of a result: members `json` (drops), `scores` (candidates) and `file` (the FileRow)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One file to curate and where its result goes."""

    file: MediaFile
    result: Path
    size_bytes: int = 0

    @property
    def needs(self) -> Path | None:
        """What a worker must be able to see; None where nothing was there in the first place."""
        return self.file.path if self.size_bytes and not self.file.problem else None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRow:
    """A line of `files.jsonl`: what one input cost and gave."""

    key: str
    """Its path."""
    media_s: float = 0.0
    """Playing time that was looked at; 0 for a still and for what cannot be read."""
    frames: int = 0
    seconds: float = 0.0
    """Wall time in the worker."""
    samples: int = 0
    drops: int = 0


class _CurationFailed(Exception):  # noqa: N818 - not an error of ours: it carries one of a file
    """What went wrong with one file, in words; errors of writing are not among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileWorker:
    """Curates one file; its result is a file, and its row is returned."""

    curation: Curation
    crf: int = 15
    gop: int = 1
    keep_rejected: bool = False
    """Also write what the gate drops, beside the result, so that `requalify` can admit it without decoding."""

    @property
    def detector(self) -> HeadDetector:
        """The part that may run somewhere else."""
        return self.curation.detector

    def with_detector(self, detector: HeadDetector) -> "FileWorker":
        """The same worker with its detector elsewhere."""
        return replace(self, curation=replace(self.curation, detector=detector))

    def __call__(self, job: Job) -> FileRow:
        """Write the job's samples and drops to `job.result`, one sample in memory at a time.

        Raises:
            WriteError: the result cannot be written: the disk's fault, not the file's.
            DetectorError: the detector cannot run at all.
        """
        start_s = time.perf_counter()
        key = job.file.path.as_posix()
        drops: list[dict[str, Any]] = []
        scores: list[dict[str, Any]] = []
        try:
            with _Results(job.result) as results:
                for made, members in self._made(job):
                    if isinstance(made, Drop):
                        drops.append(_drop_row(made))
                    if isinstance(made, Sample | Rejected):
                        scores.append(as_row(outcome(made, job.file.path)))
                    if members:
                        results.add(made, members)
                row = _row(job, drops, results.num_samples, start_s)
                results.end(drops, scores, row)
        except _CurationFailed as failed:
            # One bad file must not end a run of a million; what it was stands in the drops.
            drop = Drop(key=key, stage="curation", reason="failed", detail=str(failed))
            return write_drop(job, drop, time.perf_counter() - start_s)
        return row

    def _made(self, job: Job) -> Iterator[tuple[Sample | Drop, dict[str, bytes]]]:
        """What comes of the file, with the members of what is to be kept."""
        try:
            for made in self.curation(job.file):
                if isinstance(made, Sample):
                    yield made, self._members(made)
                elif isinstance(made, Rejected) and self.keep_rejected:
                    yield made, self._members(made.sample)
                else:
                    yield made, {}
        except DetectorError:
            raise
        except Exception as error:  # decoders and networks raise what they like; it becomes a drop with its place
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(place.filename).name}:{place.lineno}"
            raise _CurationFailed(f"{type(error).__name__}: {error} ({where})") from error

    def _members(self, sample: Sample) -> dict[str, bytes]:
        notes = notes_member(thumbnails(sample.frames), exempt=bool(sample.truth))
        return with_landmarks(to_members(sample, self.crf, self.gop), sample) | notes


class _Results:
    """The tar of a job and, where something is put into it, that of its rejected samples."""

    def __init__(self, result: Path) -> None:
        self._result = result
        self._tar = GroupWriter(result, part_of(result))
        self._rejected: GroupWriter | None = None
        self.num_samples = 0

    def add(self, made: Sample | Drop, members: Mapping[str, bytes]) -> None:
        if isinstance(made, Sample):
            self._tar.add(made.key, members)
            self.num_samples += 1
        elif isinstance(made, Rejected):
            if self._rejected is None:
                path = self._result.with_suffix(REJECTED)
                self._rejected = GroupWriter(path, part_of(path))
            self._rejected.add(made.sample.key, members)

    def end(self, drops: list[dict[str, Any]], scores: list[dict[str, Any]], row: FileRow) -> None:
        self._tar.add(DROPS, _last_members(drops, scores, row))

    def __enter__(self) -> "_Results":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:  # noqa: ANN401
        # The result comes last: a job whose result is there is never done again.
        try:
            if self._rejected is not None:
                self._rejected.__exit__(kind, error, trace)
        except BaseException:
            self._tar.discard()
            raise
        self._tar.__exit__(kind, error, trace)


def part_of(path: Path) -> Path:
    """Where this process writes a file of `.work`: a worker that outlived its run writes nowhere near its successor."""
    return path.with_name(f"{path.name}.{socket.gethostname()}-{os.getpid()}.part")


def write_drop(job: Job, drop: Drop, seconds: float = 0.0) -> FileRow:
    """Write the result of a file of which nothing came but a drop."""
    row = FileRow(key=job.file.path.as_posix(), seconds=round(seconds, 3), drops=1)
    with GroupWriter(job.result, part_of(job.result)) as tar:
        tar.add(DROPS, _last_members([_drop_row(drop)], [], row))
    return row


def write_lost(job: Job) -> FileRow:
    """Write the result of a job whose worker died again and again."""
    detail = "out of memory or a decoder crash"
    drop = Drop(key=job.file.path.as_posix(), stage="curation", reason="worker died", detail=detail)
    return write_drop(job, drop)


def _last_members(drops: list[dict[str, Any]], scores: list[dict[str, Any]], row: FileRow) -> dict[str, bytes]:
    parts = {"json": drops, "scores": scores, "file": asdict(row)}
    return {name: json.dumps(part).encode() for name, part in parts.items()}


def _drop_row(drop: Drop) -> dict[str, Any]:
    """A drop without the sample that a rejected one carries."""
    return {"key": drop.key, "stage": drop.stage, "reason": drop.reason, "detail": drop.detail}


def _row(job: Job, drops: list[dict[str, Any]], num_samples: int, start_s: float) -> FileRow:
    media_s, frames = (0.0, 0) if job.file.problem else _playing_time(job.file)
    return FileRow(
        key=job.file.path.as_posix(),
        media_s=round(media_s, 3),
        frames=frames,
        seconds=round(time.perf_counter() - start_s, 3),
        samples=num_samples,
        drops=len(drops),
    )


def _playing_time(file: MediaFile) -> tuple[float, int]:
    """Seconds and frames of the file, or of the part that is meant; a still is one frame, of no time."""
    try:
        timing = read_timing(file.path)
    except MediaError:
        return 0.0, 0  # its drop says why
    media_s, frames, fps = float(timing.end_s), timing.num_frames, float(timing.fps)
    if fps == 0:
        return 0.0, frames
    if file.span is not None:
        rate = 1.0 if file.span.unit == "s" else fps
        media_s = max(0.0, min(media_s, file.span.stop / rate) - file.span.start / rate)
        frames = round(media_s * fps)
    return media_s, frames
