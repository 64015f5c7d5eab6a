"""Jobs -> results on this machine's cores; a worker that dies takes one job with it, not the run."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TypeVar

J = TypeVar("J")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalExecutor:
    """A pool of processes; with workers=1 everything happens in this one."""

    workers: int = 0
    """0: one for each core."""

    def __call__(self, work: Callable[[J], R], jobs: Sequence[J], lost: Callable[[J], R]) -> Iterator[tuple[J, R]]:
        """Yield each job with its result, as they finish.

        Args:
            work: a picklable callable; it must turn its own failures into results.
            jobs: what to do.
            lost: the result for a job whose worker died twice (out of memory, a crashing decoder).
        """
        workers = min(self.workers or os.cpu_count() or 1, max(len(jobs), 1))
        if workers == 1:
            for job in jobs:
                yield job, work(job)
            return
        left = list(jobs)
        done, broken = yield from self._pool(work, left, workers)
        left = [job for i, job in enumerate(left) if i not in done]
        # After a death nobody knows which job did it: run the rest one at a time, each in a process of its own.
        while broken and left:
            job = left.pop(0)
            finished, died = yield from self._pool(work, [job], 1)
            if died and not finished:
                yield job, lost(job)

    def _pool(self, work: Callable[[J], R], jobs: Sequence[J], workers: int):  # noqa: ANN202 - a generator that returns
        done: set[int] = set()
        # Spawn: a forked worker inherits decoder and ONNX threads that do not exist in it, and hangs.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            futures = {pool.submit(work, job): i for i, job in enumerate(jobs)}
            try:
                for future in as_completed(futures):
                    result = future.result()
                    done.add(futures[future])
                    yield jobs[futures[future]], result
            except BrokenProcessPool:
                return done, True
        return done, False
