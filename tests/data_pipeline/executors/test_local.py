import os
import signal
import time
from pathlib import Path

import pytest

from data_pipeline.executors.executor import Executor, ExecutorError
from data_pipeline.executors.local import LocalExecutor


def double(job: int) -> int:
    return 2 * job


def dies_on_three(job: int) -> int:
    if job == 3:
        os._exit(9)
    return 2 * job


def lost(job: int) -> int:
    return -job


def test_one_worker_needs_no_processes() -> None:
    assert isinstance(LocalExecutor(), Executor)
    assert dict(LocalExecutor(workers=1)(double, [1, 2], lost)) == {1: 2, 2: 4}


def test_a_wrong_number_of_workers_is_told() -> None:
    with pytest.raises(ExecutorError, match=r"executor\.workers=-2"):
        LocalExecutor(workers=-2)


@pytest.mark.slow
def test_a_worker_that_dies_takes_only_its_job_with_it() -> None:
    jobs = list(range(1, 12))
    results = dict(LocalExecutor(workers=2)(dies_on_three, jobs, lost))
    assert results == {job: -3 if job == 3 else 2 * job for job in jobs}


class _DiesAtHome:
    """Cannot be set up in another process."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (7,)

    def __call__(self, job: int) -> int:
        return job


@pytest.mark.slow
def test_workers_that_cannot_start_are_told_and_lose_nothing() -> None:
    with pytest.raises(ExecutorError, match=r"executor\.workers=1"):
        list(LocalExecutor(workers=2)(_DiesAtHome(), [1, 2, 3], lost))


def sleepy(job: tuple[str, int]) -> int:
    Path(job[0], f"{job[1]}-{os.getpid()}").touch()
    time.sleep(0.1 if job[1] == 0 else 60)
    return job[1]


@pytest.mark.slow
def test_a_run_that_is_given_up_ends_its_workers(tmp_path: Path) -> None:
    results = LocalExecutor(workers=2)(sleepy, [(str(tmp_path), i) for i in range(9)], lambda job: -1)
    assert next(results)[1] == 0
    began = time.monotonic()
    results.close()  # what Ctrl-C or an error does
    deadline = began + 10
    pids = {int(path.name.partition("-")[2]) for path in tmp_path.iterdir()}
    while any(_is_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert time.monotonic() - began < 10, "60 s of work must not be waited for"
    assert len(list(tmp_path.iterdir())) < 6, "at most two jobs are in hand for each worker"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIG_DFL)
    except ProcessLookupError:
        return False
    return True
