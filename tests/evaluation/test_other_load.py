"""How busy others were: our own work does not count, that of a child we did not start does."""

import time

import pytest

from evaluation import other_load
from evaluation.other_load import OtherLoad, own_cpu_s


def test_own_work_is_not_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = iter([100.0, 100.0 + 0.5 + 0.25])
    own = iter([7.0, 7.5])
    clock = iter([10.0, 11.0])
    monkeypatch.setattr(other_load, "_busy_s", lambda: next(machine))
    monkeypatch.setattr(other_load, "own_cpu_s", lambda: next(own))
    monkeypatch.setattr(other_load.time, "monotonic", lambda: next(clock))
    with OtherLoad() as load:
        pass
    assert load.cores == pytest.approx(0.25)
    assert load.is_busy
    assert "provisional" in load.sentence()
    assert load.as_dict()["other_cores"] == 0.25


def test_without_proc_it_says_only_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_load, "_busy_s", lambda: None)
    with OtherLoad() as load:
        pass
    assert load.cores is None
    assert not load.is_busy
    assert load.sentence().startswith("load of the machine before")


def test_own_processor_time_grows_with_work() -> None:
    before = own_cpu_s()
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    assert 0.02 < own_cpu_s() - before < 2
