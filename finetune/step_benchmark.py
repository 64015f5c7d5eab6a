"""Shards -> how quick a training step is: against straight code, trick by trick, the loader's share, memory.

python -m finetune.step_benchmark shards=DIR
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from data_pipeline.cli_errors import user_errors
from data_pipeline.ledger import table
from finetune.flops import measured_peak_flops, row_flops
from finetune.pairs import Batch
from finetune.step_clock import Clock, Span
from finetune.step_ways import Setup, batches_of, data_of, ready, wait
from finetune.throughput import peak_memory_mib

PARTS = ("ratio", "tricks", "loader", "memory")
GOALS = {"ratio": ">= 1.5", "loader": "<= 2 %"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure; given as name=value.

    Raises:
        ValueError: a number is out of range, or a part is unknown.
    """

    shards: str = "???"
    out: str = ""
    """FILE.json for every number; "": none."""
    model: str = "starter"
    weights: str = "scratch"
    features: str = "filters"
    batch_size: int = 4
    rounds: int = 5
    device: str = "auto"
    threads: int = 0
    parts: str = "ratio,tricks,loader,memory"
    """Some of these, with commas."""
    loader_steps: int = 20
    peak_tflops: float = 0.0
    """The device's, for the share of its peak; 0 measures a matrix product."""
    memory_of: str = ""
    """Used by this program itself: fast or plain, two steps of it, and what they took."""

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.batch_size < 1 or self.loader_steps < 2:
            raise ValueError("give rounds and batch_size of 1 or more, and loader_steps of 2 or more")
        if self.device not in ("auto", "cpu", "cuda"):
            raise ValueError(f"device is {self.device!r}; give auto, cpu or cuda")
        if unknown := set(self.parts.split(",")) - set(PARTS):
            raise ValueError(f"parts has {sorted(unknown)[0]!r}; give some of {','.join(PARTS)}")

    def setup(self) -> Setup:
        """The step that is measured."""
        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        words = (f"weights={self.weights}", f"features={self.features}")
        return Setup(shards=self.shards, model=self.model, batch_size=self.batch_size, device=device, words=words)


def measured(options: Options) -> dict[str, Any]:
    """Every part that was asked for."""
    setup, parts = options.setup(), options.parts.split(",")
    clock = Clock(rounds=options.rounds, device=setup.device)
    result: dict[str, Any] = {"goals": GOALS, "threads": torch.get_num_threads(), "device": setup.device}
    if "ratio" in parts or "tricks" in parts:
        batch = batches_of(data_of(setup), setup, 1)[0]
        steps = result["step"] = _against_plain(setup, batch, clock, options.peak_tflops)
        if "tricks" in parts:
            from finetune.step_tricks import tricks_of

            plain_s = setup.batch_size / steps["rates"]["plain"]["median"]
            result["tricks"] = [asdict(trick) for trick in tricks_of(setup, batch, plain_s, clock)]
    if "memory" in parts:
        result["memory"] = {kind: _memory_mib(options, kind) for kind in ("fast", "plain")}
    if "loader" in parts:
        result["loader"] = [_loader_stall(setup, workers, options.loader_steps) for workers in (0, 1)]
    return result


def _against_plain(setup: Setup, batch: Batch, clock: Clock, peak_tflops: float) -> dict[str, Any]:
    """Rows a second both ways, their ratio within each round, and how near their losses are."""
    fast, plain = ready("fast", setup), ready("plain", setup)
    both = [fast.step(batch), plain.step(batch)]
    times = clock.alternating([lambda: fast.step(batch), lambda: plain.step(batch)])
    rows, (quick, slow) = setup.batch_size, times
    flops = row_flops(fast.module, float(batch.is_cross.float().mean()))
    peak = 1e12 * peak_tflops or measured_peak_flops(torch.device(setup.device))
    rates = {name: _span([rows / s for s in t.wall_s]) for name, t in (("fast", quick), ("plain", slow))}
    return {
        "rates": rates,
        "ratio": _span([s / q for q, s in zip(quick.wall_s, slow.wall_s, strict=True)]),
        "cpu_ratio": _span([s / q for q, s in zip(quick.cpu_s, slow.cpu_s, strict=True)]),
        "gflop_per_row": flops / 1e9,
        "peak_gflops": peak / 1e9,
        "mfu_frac": rates["fast"]["median"] * flops / peak,
        "first_losses": {name: [both[0][name], value] for name, value in both[1].items()},
    }


def _memory_mib(options: Options, kind: Literal["fast", "plain"]) -> float:
    """Of a process of its own that makes two steps: the counter of this one has seen both ways."""
    words = [f"{name}={value}" for name, value in asdict(options).items() if name not in ("out", "memory_of")]
    command = [sys.executable, "-m", "finetune.step_benchmark", *words, f"memory_of={kind}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"memory could not be measured: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout.strip().splitlines()[-1])


def _own_memory_mib(options: Options) -> float:
    setup = options.setup()
    made = ready("plain" if options.memory_of == "plain" else "fast", setup)
    for batch in batches_of(data_of(setup), setup, 2):
        made.step(batch)
    return peak_memory_mib(torch.device(setup.device))


def _loader_stall(setup: Setup, workers: int, num_steps: int) -> dict[str, float | int]:
    """A stretch of a run: the share of the time in which the step waits for its batch, without the first one."""
    from finetune.insight import on

    data, made = data_of(setup, workers), ready("fast", setup)
    data.last_step = num_steps + 1
    coming: Iterator[Batch] = iter(data.train_dataloader())
    device = torch.device(setup.device)
    # Workers are started, libraries loaded, the step's first call is over.
    made.step(on(next(coming), device))
    waited_s, began = 0.0, time.perf_counter()
    for _ in range(num_steps):
        since = time.perf_counter()
        batch = next(coming)
        waited_s += time.perf_counter() - since
        made.step(on(batch, device))
    wait(setup.device)
    took_s = time.perf_counter() - began
    return {"workers": workers, "stall_frac": waited_s / took_s, "samples_per_s": num_steps * setup.batch_size / took_s}


def _span(values: list[float]) -> dict[str, float]:
    return asdict(Span.of(values))


def lines(result: dict[str, Any]) -> list[str]:
    """The tables."""

    def said(span: dict[str, float]) -> str:
        return f"{span['median']:.2f} ({span['least']:.2f}-{span['most']:.2f})"

    rows: list[tuple[str, str, str]] = []
    if step := result.get("step"):
        rows += [(f"samples/s, {name} step", said(span), "") for name, span in step["rates"].items()]
        rows.append(("fast / plain", said(step["ratio"]), GOALS["ratio"]))
        rows.append(("fast / plain, processor time", said(step["cpu_ratio"]), ""))
        rows.append(("GFLOP a row, share of the peak", f"{step['gflop_per_row']:.0f}, {step['mfu_frac']:.0%}", ""))
    rows += [(f"peak memory, {kind} step, MiB", f"{mib:.0f}", "") for kind, mib in result.get("memory", {}).items()]
    for part in result.get("loader", []):
        rows.append(
            (f"waits for the loader, data.workers={part['workers']:.0f}",
             f"{part['stall_frac']:.1%} at {part['samples_per_s']:.2f} samples/s", GOALS["loader"])
        )  # fmt: skip
    found = table(("training step", "median (least-most)", "goal"), rows)
    if tricks := result.get("tricks"):
        cells = [
            (t["name"], f"{t['plain_ms']:.1f}", f"{t['fast_ms']:.1f}", f"{t['saved_frac']:.1%}") for t in tricks
        ]  # fmt: skip
        found += ["", *table(("trick", "plain ms", "quick ms", "saves of the plain step"), cells)]
    return found


@user_errors
def main() -> None:
    """Measure, print, write."""
    import cv2

    from data_pipeline.typed_options import read_options

    cv2.setNumThreads(1)
    options = read_options(Options, sys.argv[1:], "finetune.step_benchmark")
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.memory_of:
        print(_own_memory_mib(options))  # noqa: T201
        return
    result = measured(options)
    print("\n".join(lines(result)))  # noqa: T201
    if options.out:
        out = Path(options.out)
        out.parent.mkdir(parents=True, exist_ok=True)
        part = out.with_name(out.name + ".part")
        part.write_text(json.dumps(result, indent=2) + "\n")
        part.replace(out)


if __name__ == "__main__":
    main()
