"""A run that is killed at any moment and started again ends with the shards of an undisturbed one."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_pipeline.curate import FILES
from tests.data_pipeline.boxed_media import OPTIONS, write_boxed_media

PROGRAM = (sys.executable, "-c", "from data_pipeline.cli import curate; curate()")


def digests(out: Path) -> dict[str, str]:
    """sha256 of every file but those that tell seconds."""
    files = (path for path in sorted(out.iterdir()) if path.is_file() and path.name not in (FILES, "report.html"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def start(root: Path, out: str) -> subprocess.Popen[bytes]:
    # The configuration is stored in the folder, so both runs write to the same path, below different folders.
    (root / out).mkdir(exist_ok=True)
    words = ("source.path=../media", "out=shards", "detector.path=../media-boxes.csv", "executor.workers=2", *OPTIONS)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*PROGRAM, *words], cwd=root / out, env=environment, stderr=subprocess.DEVNULL)


def kill(run: subprocess.Popen[bytes]) -> None:
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL


def workers_of(folder: Path) -> list[int]:
    """Processes that work in a folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if place.resolve(strict=True) == folder.resolve():
                found.append(int(place.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="looks for left-over processes in /proc")
def test_killed_runs_end_like_an_undisturbed_one(tmp_path: Path) -> None:
    write_boxed_media(tmp_path / "media")
    began = time.monotonic()
    assert start(tmp_path, "whole").wait() == 0
    whole_s = time.monotonic() - began
    chance = random.Random(20261125)
    killed: list[str] = []
    shards = tmp_path / "killed" / "shards"
    for _ in range(4):  # anywhere, from the start of the program on
        run = start(tmp_path, "killed")
        time.sleep(chance.uniform(0.3, 0.9) * whole_s)
        if run.poll() is not None:
            break
        killed.append("anywhere")
        kill(run)
    for _ in range(2):  # while shards are packed
        (shards / "manifest.json").unlink(missing_ok=True)
        run = start(tmp_path, "killed")
        while run.poll() is None and not list(shards.glob("*.tar.part")):
            time.sleep(0.0005)
        if run.poll() is None:
            killed.append("packing")
            kill(run)
            assert not (shards / "manifest.json").exists()
        time.sleep(0.2)
        assert workers_of(tmp_path / "killed") == [], "a killed run's workers must end with it"
    assert "packing" in killed
    assert start(tmp_path, "killed").wait() == 0
    assert digests(shards) == digests(tmp_path / "whole" / "shards")
    assert not list(shards.rglob("*.part"))
