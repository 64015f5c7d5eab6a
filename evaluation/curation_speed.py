"""A folder of media -> how long curation takes beside its floor, with more workers, stage by stage, and its memory."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data_pipeline.adapters.folder import MediaFile
from data_pipeline.curate import curate
from data_pipeline.dedup import NearDuplicates
from data_pipeline.file_worker import FileWorker
from data_pipeline.media import MediaError, exact_fps, read_frames
from data_pipeline.shards import ShardWriter
from evaluation.curation_media import largest_clip, lengthened
from evaluation.other_load import own_cpu_s
from evaluation.stage_times import StageTimes
from evaluation.watched_executor import WatchedExecutor, warm_up

GOALS = {
    "curation / floor": "<= 1.35", "throughput, start-up included": ">= 1.8", "memory": "<= 1144 (1.2 GB)",
    "growth": "about 0",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is measured: a source of files and the parts of a curation."""

    source: Callable[[], list[MediaFile]]
    worker: FileWorker
    duplicates: NearDuplicates = field(default_factory=NearDuplicates)
    writer: ShardWriter = field(default_factory=ShardWriter)

    @classmethod
    def from_config(cls, config: Any) -> "Setup":  # noqa: ANN401
        """The parts of a composed `curate` config; where results go and how many workers there are plays no role."""
        from hydra.utils import instantiate

        detector = instantiate(config.detector, _convert_="all")
        species = tuple(config.curation.species)  # YAML has no tuples
        curation = instantiate(config.curation, _convert_="all")(detector=detector, species=species)
        return cls(
            source=instantiate(config.source),
            worker=FileWorker(curation=curation, crf=config.video.crf, gop=config.video.gop),
            duplicates=instantiate(config.duplicates),
            writer=instantiate(config.writer),
        )

    def with_folder(self, folder: Path) -> "Setup":
        """The same curation of other files."""
        from data_pipeline.adapters.folder import FolderSource

        return Setup(
            source=FolderSource(path=str(folder)), worker=self.worker, duplicates=self.duplicates, writer=self.writer
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """Every frame decoded once, and the detector on the frames that curation looks at; nothing else."""

    decode_s: float
    detect_s: float
    frames: int
    cpu_s: float
    looked_at: int
    media_s: float
    """Playing time; stills have none."""

    @property
    def seconds(self) -> float:
        """Both."""
        return self.decode_s + self.detect_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """One run from files to shards."""

    seconds: float
    cpu_s: float
    start_up_s: float
    """Until the first worker had its detector ready; 0 in one process."""
    memory_mib: float
    """The largest peak among the worker processes."""
    samples: int


def floor_of(setup: Setup) -> Floor:
    """Decode and detect in this process, in the order and with the threads of curation."""
    curation, clock = setup.worker.curation, time.perf_counter
    decode_s = detect_s = media_s = 0.0
    frames = looked_at = 0
    cpu_s = own_cpu_s()
    for file in setup.source():
        batch: list[np.ndarray] = []
        first, reader = frames, read_frames(file.path)
        while True:
            begun_s = clock()
            try:
                frame = next(reader, None)
            except MediaError:
                frame = None  # curation drops the file at the same place
            decode_s += clock() - begun_s
            if frame is not None and (frames - first) % curation.detect_every == 0:
                batch.append(frame)
            if batch and (frame is None or len(batch) == curation.detect_batch):
                begun_s = clock()
                curation.detector(batch)
                detect_s += clock() - begun_s
                looked_at += len(batch)
                batch = []
            if frame is None:
                break
            frames += 1
        media_s += (frames - first) * _period_s(file.path)
    return Floor(
        decode_s=decode_s, detect_s=detect_s, cpu_s=own_cpu_s() - cpu_s, frames=frames, looked_at=looked_at,
        media_s=media_s,
    )  # fmt: skip


def _period_s(path: Path) -> float:
    try:
        fps = exact_fps(path)
    except MediaError:
        return 0.0
    return 1 / float(fps) if fps else 0.0


def whole_of(setup: Setup, workers: int) -> Whole:
    """Curate into a folder that is removed afterwards."""
    executor = WatchedExecutor(workers=workers)
    with tempfile.TemporaryDirectory() as folder:
        begun_s, cpu_s = time.monotonic(), own_cpu_s()
        summary = curate(
            source=setup.source, worker=setup.worker, duplicates=setup.duplicates, writer=setup.writer,
            executor=executor, out=Path(folder), config={},
        )  # fmt: skip
        seconds = time.monotonic() - begun_s
    others = [note for note in executor.notes if note.pid != os.getpid()]
    return Whole(
        seconds=seconds,
        cpu_s=own_cpu_s() - cpu_s,
        start_up_s=min(note.begun_s for note in others) - begun_s if others else 0.0,
        memory_mib=max((note.memory_mib for note in others), default=float("nan")),
        samples=summary.manifest["samples"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """Floor, one worker and several, measured in turn; equal places belong to one round."""

    workers: int
    floors: list[Floor]
    ones: list[Whole]
    severals: list[Whole]

    def ratios(self) -> dict[str, list[float]]:
        """What the goals are about, of each round."""
        pairs = list(zip(self.ones, self.severals, strict=True))
        beside = list(zip(self.ones, self.floors, strict=True))
        return {
            "curation / floor": [one.seconds / floor.seconds for one, floor in beside],
            "curation / floor, processor time": [one.cpu_s / floor.cpu_s for one, floor in beside],
            "throughput, start-up included": [one.seconds / many.seconds for one, many in pairs],
            "throughput, without start-up": [one.seconds / (many.seconds - many.start_up_s) for one, many in pairs],
        }


def rounds_of(setup: Setup, workers: int, repeats: int) -> Rounds:
    """Measure all three `repeats` times; every other round goes backwards, so that a drift hits all."""
    warm_up(setup.worker)
    found: dict[str, list[Any]] = {"floor": [], "one": [], "several": []}
    calls: dict[str, Callable[[], Any]] = {
        "floor": lambda: floor_of(setup),
        "one": lambda: whole_of(setup, 1), "several": lambda: whole_of(setup, workers),
    }  # fmt: skip
    for number in range(repeats):
        for name in list(calls)[:: -1 if number % 2 else 1]:
            found[name].append(calls[name]())
    return Rounds(workers=workers, floors=found["floor"], ones=found["one"], severals=found["several"])


def stages_of(setup: Setup, rounds: Rounds) -> list[dict[str, Any]]:
    """One more run with a clock at every call -> seconds of each stage, scaled to an undisturbed run, and the extra.

    Returns:
        Rows of `stage`, `seconds`, `floor_s` and `extra_s`, the longest first.
    """
    with StageTimes() as times:
        whole_of(setup, 1)
    scale = statistics.median(w.seconds for w in rounds.ones) / sum(times.seconds.values())
    floor = {
        "decode": statistics.median(f.decode_s for f in rounds.floors),
        "detect": statistics.median(f.detect_s for f in rounds.floors),
    }
    rows = [
        {"stage": stage, "seconds": s * scale, "floor_s": floor.get(stage, 0.0),
         "extra_s": s * scale - floor.get(stage, 0.0)}
        for stage, s in times.seconds.items()
    ]  # fmt: skip
    return sorted(rows, key=lambda row: -row["seconds"])


def memory_of(setup: Setup, clip: Path, seconds: Sequence[float]) -> list[dict[str, float]]:
    """Peak memory of a worker process that curates that clip, brought to each of these lengths.

    Two files each, so that there are worker processes; one of them may do both.
    """
    rows = []
    for length in seconds:
        with tempfile.TemporaryDirectory() as folder:
            for n in range(2):
                lengthened(clip, Path(folder) / f"clip{n}.mp4", length, first=7 * n)
            whole = whole_of(setup.with_folder(Path(folder)), workers=2)
        rows.append({"clip_s": length, "memory_mib": whole.memory_mib, "samples": whole.samples})
    return rows


def measured(setup: Setup, folder: Path, workers: int, repeats: int, memory_s: float) -> dict[str, Any]:
    """Everything, for JSON: files, rounds, ratios (median, least, most), stages, memory, rates.

    Raises:
        ValueError: `folder` holds no video to measure the memory with, or options are out of range.
    """
    if workers < 2 or repeats < 1 or memory_s <= 0:
        raise ValueError("curation.workers must be 2 or more, repeats 1 or more and curation.memory_s above 0")
    clip = largest_clip(folder)
    if clip is None:
        raise ValueError(f"media={folder} holds no video; curation is measured on a folder with at least one")
    num_files = len(setup.source())
    rounds = rounds_of(setup, workers, repeats)
    first, rates = rounds.floors[0], {}
    for count, runs in ((1, rounds.ones), (workers, rounds.severals)):
        seconds = statistics.median(run.seconds for run in runs)
        rates[str(count)] = {
            "seconds": seconds, "media_s_per_s": first.media_s / seconds, "files_per_s": num_files / seconds,
            "cores": statistics.median(run.cpu_s / run.seconds for run in runs),
        }  # fmt: skip
    return {
        "files": num_files, "frames": first.frames, "looked_at": first.looked_at, "media_s": first.media_s,
        "samples": rounds.ones[0].samples, "workers": workers,
        "rounds": {name: [asdict(one) for one in getattr(rounds, name)] for name in ("floors", "ones", "severals")},
        "ratios": {name: spread(values) for name, values in rounds.ratios().items()},
        "rates": rates, "goals": GOALS,
        "stages": stages_of(setup, rounds),
        "memory": memory_of(setup, clip, (memory_s, 4 * memory_s)),
    }  # fmt: skip


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}
