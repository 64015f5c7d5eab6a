"""Jobs -> results on this machine's cores; a worker that dies takes one job with it, not the run."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, TypeVar

from data_pipeline.executors.executor import ExecutorError

J = TypeVar("J")
R = TypeVar("R")

_AHEAD = 2
"""Jobs in hand for each worker: the next one waits at its door, and a million do not wait in memory."""
_work: Callable[[Any], Any] | None = None
"""In a worker's process: what it does. Sent once, so that a detector opens its network once and not for each file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalExecutor:
    """A pool of processes; with workers=1 everything happens in this one."""

    workers: int = 0
    """0: one for each core that this process may use."""

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise ExecutorError(f"executor.workers={self.workers} must be 1 or more, or 0 for one on each core")

    def __call__(self, work: Callable[[J], R], jobs: Sequence[J], lost: Callable[[J], R]) -> Iterator[tuple[J, R]]:
        """Yield each job with its result, as they finish; see `Executor`.

        Raises:
            ExecutorError: worker processes die before they do anything.
        """
        workers = min(self.workers or num_cores(), max(len(jobs), 1))
        if workers == 1:
            for job in jobs:
                yield job, work(job)
            return
        left = deque(jobs)
        while left:
            suspects = yield from _pool(work, left, workers)
            # After a death nobody knows which of the jobs in hand did it: each gets a process of its own.
            for job in suspects:
                died = yield from _pool(work, deque([job]), 1)
                if died:
                    yield job, lost(job)


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _pool(work: Callable[[J], R], left: deque[J], workers: int):  # noqa: ANN202 - a generator that returns
    """Work off `left`; returns the jobs that were in hand when a worker died."""
    # Spawn: a forked worker inherits decoder and ONNX threads that do not exist in it, and hangs.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(work,))
    is_finished = False
    try:
        try:
            pool.submit(os.getpid).result()
        except BrokenProcessPool as error:
            raise ExecutorError(
                "worker processes die as they start (too little memory, or a damaged installation); "
                "executor.workers=1 works without them and shows the reason"
            ) from error
        suspects = yield from _work_off(pool, left, workers)
        is_finished = True
        return suspects
    finally:
        pool.shutdown(wait=is_finished, cancel_futures=True)
        if not is_finished:  # Ctrl-C or an error: what is being done is of no use any more
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()


def _work_off(pool: ProcessPoolExecutor, left: deque[J], workers: int):  # noqa: ANN202 - a generator that returns
    doing: dict[Future[Any], J] = {}
    suspects: list[J] = []
    while (left and not suspects) or doing:
        while left and not suspects and len(doing) < workers * _AHEAD:
            try:
                future = pool.submit(_do, left[0])
            except BrokenProcessPool:
                break  # an idle worker was killed: what is in hand ends too, and the rest needs another pool
            doing[future] = left.popleft()
        if not doing:
            break
        done, _ = wait(doing, return_when=FIRST_COMPLETED)
        for future in done:
            job = doing.pop(future)
            try:
                result = future.result()
            except BrokenProcessPool:
                suspects.append(job)
                continue
            yield job, result
    return suspects


def _begin(work: Callable[[Any], Any]) -> None:
    """Set up a worker's process."""
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed cannot end its workers: they watch it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _do(job: Any) -> Any:  # noqa: ANN401
    if _work is None:
        raise RuntimeError("a worker was not set up")
    return _work(job)
