"""The whole job once, small and offline: the programs one after another, and a report of what came out."""

import hashlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from data_pipeline.cli_errors import user_errors
from data_pipeline.whole_file import write_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command of the demo."""

    name: str
    says: str
    """What the step does, for the person who watches."""
    program: str
    args: tuple[str, ...]

    @property
    def command(self) -> str:
        """The command as a user would type it."""
        return shlex.join([self.program, *self.args])

    @property
    def fingerprint(self) -> str:
        """Changes when the command does, so that a changed step runs again."""
        return hashlib.sha256(self.command.encode()).hexdigest()[:16]


class Ledger:
    """Which steps are finished and how long each took: `<out>/steps.json`, rewritten whole after each step."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}

    def seconds(self, step: Step) -> float | None:
        """How long the step took, or None when it has to run."""
        entry = self.entries.get(step.name)
        return entry["seconds"] if entry and entry["fingerprint"] == step.fingerprint else None

    def finish(self, step: Step, seconds: float) -> None:
        """Write down that the step is done."""
        self.entries[step.name] = {
            "fingerprint": step.fingerprint,
            "seconds": round(seconds, 1),
            "command": step.command,
            "says": step.says,
        }
        write_text(self.path, json.dumps(self.entries, indent=1))

    def forget(self, steps: Sequence[Step]) -> None:
        """Make these steps run again: what they read has changed."""
        for step in steps:
            self.entries.pop(step.name, None)


def read_steps(nodes: Sequence[Mapping[str, Any]]) -> list[Step]:
    """The `steps` list of conf/demo.yaml -> steps; names must differ."""
    steps = [Step(**{**node, "args": tuple(str(arg) for arg in node["args"])}) for node in nodes]
    if len({step.name for step in steps}) != len(steps):
        raise ValueError("conf/demo.yaml: two steps have the same name; rename one")
    return steps


def run_steps(steps: Sequence[Step], ledger: Ledger) -> None:
    """Run what is not finished, in order.

    Raises:
        ValueError: a program failed; its own message is already on the screen.
    """
    bin_dir = Path(sys.executable).parent
    env = os.environ | {"PATH": f"{bin_dir}{os.pathsep}{os.environ.get('PATH', '')}"}
    for number, step in enumerate(steps, start=1):
        head = f"[{number}/{len(steps)}] {step.says}"
        done_s = ledger.seconds(step)
        if done_s is not None:
            print(f"{head}\n      done before ({done_s:.0f} s)", flush=True)
            continue
        ledger.forget(steps[number - 1 :])
        print(f"{head}\n      $ {step.command}", flush=True)
        start = time.monotonic()
        code = subprocess.run([bin_dir / step.program, *step.args], env=env, check=False).returncode
        if code != 0:
            raise ValueError(f"step '{step.name}' failed with exit code {code}; run lp-demo again to go on from here")
        ledger.finish(step, time.monotonic() - start)


@user_errors
@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="demo")
@user_errors
def main(config: DictConfig) -> None:
    """Run the demo described by conf/demo.yaml and write its report."""
    from evaluation.demo_report import write_demo_report

    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, out / "config.yaml", resolve=True)
    start = time.monotonic()
    ledger = Ledger(out / "steps.json")
    run_steps(read_steps(OmegaConf.to_container(config.steps, resolve=True)), ledger)  # pyright: ignore[reportArgumentType]
    report = write_demo_report(out, ledger.entries)
    all_s = sum(entry["seconds"] for entry in ledger.entries.values())
    print(f"\ndemo done in {time.monotonic() - start:.0f} s (all steps together {all_s:.0f} s)")
    print(f"open {report.resolve()}")
    print("next: lp-animate source=YOUR_CAT.jpg driving=YOU.mp4 out=cat.mp4")
