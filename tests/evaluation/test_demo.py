import stat
import sys
from pathlib import Path

import pytest

from evaluation.demo import Ledger, Step, read_steps, run_steps


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bin folder with a fake python and a program that writes down that it ran."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "lp-note"
    program.write_text('#!/bin/sh\necho "$1" >> "$2"\n[ "$1" != fail ] || exit 3\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    return tmp_path


def step(name: str, log: Path) -> Step:
    return Step(name=name, says=f"do {name}", program="lp-note", args=(name, str(log)))


def test_steps_run_in_order_and_only_once(programs: Path) -> None:
    log = programs / "log"
    steps = [step(name, log) for name in ("a", "b")]
    run_steps(steps, Ledger(programs / "steps.json"))
    run_steps(steps, Ledger(programs / "steps.json"))
    assert log.read_text().split() == ["a", "b"]


def test_a_failed_step_is_told_and_the_next_run_goes_on_from_it(programs: Path) -> None:
    log = programs / "log"
    steps = [step(name, log) for name in ("a", "fail", "c")]
    with pytest.raises(ValueError, match="'fail' failed with exit code 3"):
        run_steps(steps, Ledger(programs / "steps.json"))
    steps[1] = step("b", log)
    run_steps(steps, Ledger(programs / "steps.json"))
    assert log.read_text().split() == ["a", "fail", "b", "c"]


def test_a_changed_step_makes_all_later_steps_run_again(programs: Path) -> None:
    log = programs / "log"
    run_steps([step(name, log) for name in ("a", "b", "c")], Ledger(programs / "steps.json"))
    changed = [step("a", log), Step(name="b", says="b", program="lp-note", args=("b2", str(log))), step("c", log)]
    run_steps(changed, Ledger(programs / "steps.json"))
    assert log.read_text().split() == ["a", "b", "c", "b2", "c"]


def test_equal_step_names_are_refused() -> None:
    node = {"name": "a", "says": "x", "program": "lp-note", "args": [1]}
    assert read_steps([node])[0].args == ("1",)
    with pytest.raises(ValueError, match="same name"):
        read_steps([node, node])
