"""Jobs -> results of local workers, with a note of when, where and with how much memory each was done."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np

from data_pipeline.executors.local import LocalExecutor
from evaluation.machine import peak_memory_mib

J = TypeVar("J")
R = TypeVar("R")
_warmed: set[int] = set()
"""This process, once its detector has been used; a spawned worker begins with an empty set."""


class JobNote(NamedTuple):
    """What one job says of the process that did it."""

    pid: int
    begun_s: float
    """On the machine's monotonic clock, which all processes share; the detector has been loaded by then."""
    ended_s: float
    memory_mib: float
    """The most that the process had held by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A worker that says when and where it worked."""

    work: Callable[[Any], Any]

    def __call__(self, job: Any) -> tuple[Any, JobNote]:  # noqa: ANN401
        """The worker's result and a note."""
        warm_up(self.work)
        begun_s = time.monotonic()
        result = self.work(job)
        return result, JobNote(os.getpid(), begun_s, time.monotonic(), peak_memory_mib())


def warm_up(work: Any) -> None:  # noqa: ANN401
    """Load the detector of a worker, if it has one and this process has not done so yet."""
    detector = getattr(work, "detector", None)
    if detector is not None and os.getpid() not in _warmed:
        _warmed.add(os.getpid())
        detector([np.full((64, 64, 3), 127, np.uint8)])


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedExecutor:
    """A local executor that keeps a note of every job."""

    workers: int
    notes: list[JobNote] = field(default_factory=list)

    def __call__(self, work: Callable[[J], R], jobs: Sequence[J], lost: Callable[[J], R]) -> Iterator[tuple[J, R]]:
        """Yield each job with its result; see `data_pipeline.executors`."""
        run = LocalExecutor(workers=self.workers)
        for job, (result, note) in run(Watched(work=work), jobs, lambda job: (lost(job), None)):
            if note is not None:
                self.notes.append(note)
            yield job, result
