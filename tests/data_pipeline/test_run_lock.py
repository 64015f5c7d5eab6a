import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from data_pipeline.run_lock import LOCK, RunLockError, run_lock

HOLD = """
import sys, time
from pathlib import Path
from data_pipeline.run_lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other_run(tmp_path: Path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_run_is_refused_and_told_who_works_there(other_run, tmp_path: Path) -> None:
    with pytest.raises(RunLockError, match=f"pid {other_run.pid} on .*another out=DIR"), run_lock(tmp_path):
        pytest.fail("two runs in one folder")


def test_the_lock_of_a_killed_run_is_taken_over(other_run, tmp_path: Path) -> None:
    other_run.send_signal(signal.SIGKILL)
    other_run.wait()
    assert (tmp_path / LOCK).exists()
    with run_lock(tmp_path) as path:
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not (tmp_path / LOCK).exists()


def test_it_can_be_held_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), run_lock(tmp_path):
        raise KeyError
    with run_lock(tmp_path):
        assert (tmp_path / LOCK).exists()


def test_another_machine_s_run_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text(json.dumps({"pid": 1, "host": "elsewhere", "since": "2026-01-01"}))
    with pytest.raises(RunLockError, match=r"elsewhere.*delete"), run_lock(tmp_path):
        pytest.fail("taken over")
    assert "elsewhere" in (tmp_path / LOCK).read_text()


def test_a_half_written_lock_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text('{"pid": 1')
    with run_lock(tmp_path):
        pass
