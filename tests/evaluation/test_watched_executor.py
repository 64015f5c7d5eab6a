"""Notes of jobs, in this process and in workers of their own."""

import os

import pytest

from evaluation.watched_executor import JobNote, Watched, WatchedExecutor


def test_a_watched_job_says_when_and_how_much_memory() -> None:
    result, note = Watched(work=lambda job: 2 * job)(4)
    assert result == 8
    assert isinstance(note, JobNote)
    assert note.ended_s >= note.begun_s > 0
    assert note.memory_mib > 10


def square(number: int) -> int:
    return number * number


@pytest.mark.slow
def test_workers_of_their_own_are_noted() -> None:
    executor = WatchedExecutor(workers=2)
    found = dict(executor(square, [2, 3, 4], lambda job: -1))
    assert found == {2: 4, 3: 9, 4: 16}
    assert len(executor.notes) == 3
    assert all(note.pid != os.getpid() and note.memory_mib > 10 for note in executor.notes)


def test_a_detector_is_loaded_once_and_before_the_clock_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Work:
        asked = 0

        def detector(self, frames):
            self.asked += len(frames)

        def __call__(self, job: int) -> int:
            return self.asked + job

    monkeypatch.setattr("evaluation.watched_executor._warmed", set())
    executor = WatchedExecutor(workers=1)
    assert dict(executor(Work(), [10, 20], lambda job: -1)) == {10: 11, 20: 21}
    assert len(executor.notes) == 2
