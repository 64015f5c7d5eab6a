"""Pairs -> outcomes in their order, from this process or from several that share the cores and the GPUs."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from evaluation.pair_store import PairStore
from evaluation.pair_work import Bench, Outcome, PairWork
from evaluation.protocols import Pair

Build = Callable[[int], Bench]
"""Number of the process (from 0) -> what it measures with; picklable."""
AHEAD = 2
"""Pairs for each process that are handed out before the first outcome is taken."""
_work: PairWork | None = None
"""Of a worker process; the process that starts the others never sets it."""


def outcomes(
    pairs: Sequence[Pair], bench: Bench, store: PairStore | None, workers: int, build: Build | None
) -> Iterator[Outcome]:
    """Measure pairs; rows do not depend on the number of processes.

    Args:
        pairs: what is measured; read where they are measured.
        bench: of this process.
        store: finished pairs; each process writes its own.
        workers: processes; 1 measures here.
        build: makes the bench of another process.

    Raises:
        ValueError: a process died, or several are asked for and `build` is missing.
    """
    workers = min(workers, len(pairs))
    if workers <= 1:
        work = PairWork(bench, store)
        yield from map(work, pairs)
        return
    if build is None:
        raise ValueError(f"workers={workers} needs build=, a function that makes the methods in each process")
    # Spawn: a forked process inherits OpenCV's and torch's threads, which do not exist in it.
    context = multiprocessing.get_context("spawn")
    numbers = context.SimpleQueue()
    for number in range(workers):
        numbers.put(number)
    places = None if store is None else (store.folder, store.shared)
    threads = max(1, (os.cpu_count() or 1) // workers)
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start, initargs=(numbers, build, places, threads)
    )
    waiting: deque[Future[Outcome]] = deque()
    try:
        for pair in pairs:
            waiting.append(pool.submit(_measure, pair))
            if len(waiting) >= AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise ValueError(
            f"one of {workers} processes died, most likely for lack of memory; run the same command again, it goes on "
            "from the finished pairs, with fewer workers if need be"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start(numbers: Any, build: Build, places: Any, threads: int) -> None:  # noqa: ANN401 - a queue, two paths
    global _work  # a worker's state lives as long as its process
    import cv2
    import torch

    cv2.setNumThreads(threads)
    torch.set_num_threads(threads)
    _work = PairWork(build(numbers.get()), None if places is None else PairStore(*places))


def _measure(pair: Pair) -> Outcome:
    assert _work is not None
    return _work(pair)
