"""Jobs -> results in the order of the jobs, made by one process or several."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import TypeVar

J = TypeVar("J")
R = TypeVar("R")
_AHEAD = 4
"""Jobs for each process that are handed out before the first result is taken: bounds what is pickled at a time."""


class OrderedPool:
    """Processes that live as long as the `with` block; with one worker everything happens in this process.

    Args:
        workers: how many; results do not depend on it.
    """

    def __init__(self, workers: int) -> None:
        self._workers = max(1, workers)
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "OrderedPool":
        if self._workers > 1:
            # Spawn: a forked worker inherits OpenCV's threads, which do not exist in it.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._workers, mp_context=context, initializer=_one_thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    @property
    def is_shared(self) -> bool:
        """Whether other processes do the work."""
        return self._pool is not None

    def map(self, work: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
        """Yield `work(job)` of each job, in their order; jobs are drawn as results are taken.

        Raises:
            ValueError: a process died, most likely for lack of memory.
        """
        if self._pool is None:
            yield from map(work, jobs)
            return
        waiting: deque[Future[R]] = deque()
        try:
            for job in jobs:
                waiting.append(self._pool.submit(work, job))
                if len(waiting) >= _AHEAD * self._workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise ValueError(
                f"one of {self._workers} processes died, most likely for lack of memory; run again with fewer workers"
            ) from error


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)
