"""lp-finetune from a shell: killed, stopped, started on two processes."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.finetune.test_run import windowed


def command(shards: Path, out: Path, *more: str) -> list[str]:
    program = [sys.executable, "-m", "finetune.cli", "model=tiny", "trainer.threads=1", "grid_every=0", "log_every=1"]
    return [*program, f"data.shards={shards}", f"out={out}", "data.batch_size=2", "checkpoint_every=5", *more]


def wait_for(path: Path, process: subprocess.Popen[str], timeout_s: float = 120) -> None:
    end = time.monotonic() + timeout_s
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, path
        time.sleep(0.02)


def checksum(said: str) -> str:
    return re.findall(r"sha256 of the weights: (\w{64})", said)[0]


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["data.workers=1"]], ids=["in-memory", "window-and-worker"])
def test_kill_9_and_start_again(shards, tmp_path, more):
    more = [*more, "max_steps=60", "recipe.gan_from_step=3"]
    if "data.workers=1" in more:
        more.append(f"data.cache_gb={windowed(shards)['cache_gb']:.9f}")
    whole = subprocess.run(command(shards, tmp_path / "whole", *more), capture_output=True, text=True, check=True)
    for _ in range(2):
        process = subprocess.Popen(command(shards, tmp_path / "killed", *more), stdout=-1, stderr=-1, text=True)
        found = {path.name for path in (tmp_path / "killed").glob("checkpoints/step-*.ckpt")}
        newest = max(found, default="step-0000000.ckpt")
        wait_for(tmp_path / "killed" / "checkpoints" / f"step-{int(newest[5:12]) + 10:07d}.ckpt", process)
        time.sleep(random.random() * 0.5)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    again = subprocess.run(command(shards, tmp_path / "killed", *more), capture_output=True, text=True, check=True)
    assert "resuming from step " in again.stdout
    assert checksum(again.stdout) == checksum(whole.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)])
def test_a_signal_gives_its_exit_code_and_a_checkpoint(shards, tmp_path, number, code):
    line = command(shards, tmp_path, "max_steps=100000")
    process = subprocess.Popen(line, stdout=-1, stderr=-1, text=True)
    wait_for(tmp_path / "checkpoints" / "step-0000005.ckpt", process)
    process.send_signal(number)
    said, problem = process.communicate(timeout=60)
    assert (process.returncode, problem) == (code, "")
    step = int(re.findall(rf"stopped by {number.name} at step (\d+) of 100000; run the same command again", said)[0])
    assert (tmp_path / "checkpoints" / f"step-{step:07d}.ckpt").is_file()
    done = subprocess.run([*line[:-1], f"max_steps={step + 1}"], capture_output=True, text=True, check=True)
    assert f"resuming from step {step}" in done.stdout


@pytest.mark.slow
def test_the_program_starts_its_second_process_itself_and_under_torchrun(shards, tmp_path):
    two = ["max_steps=4", "trainer.devices=2"]
    env = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"}
    alone = subprocess.run(
        command(shards, tmp_path / "alone", *two), capture_output=True, text=True, check=False, env=env
    )  # fmt: skip
    assert alone.returncode == 0, alone.stderr
    assert "2 processes, 2 rows each" in alone.stdout
    assert "fewer shards (1) than processes" in alone.stdout
    assert alone.stdout.count("sha256 of the weights") == 1
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "-m",
        "finetune.cli",
    ]
    line = [*launcher, *command(shards, tmp_path / "torchrun", "max_steps=4")[3:]]
    launched = subprocess.run(line, capture_output=True, text=True, check=False, env=env)
    assert launched.returncode == 0, launched.stderr
    assert checksum(launched.stdout) == checksum(alone.stdout)
