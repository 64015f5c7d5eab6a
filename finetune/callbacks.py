"""What a run shows and keeps while it goes: rate, numbers, sample grids, checkpoints."""

import csv
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional as F

from data_pipeline.progress import track
from finetune.checkpoints import Checkpoints
from finetune.pairs import Batch
from finetune.recipe import Recipe


@dataclass(kw_only=True, eq=False)
class Numbers(lightning.Callback):
    """Losses, rates and throughput: a row in metrics.csv and a printed line each `every` steps."""

    module: Recipe
    path: Path
    every: int = 50
    _sums: dict[str, float] = field(default_factory=dict)
    _count: int = 0
    _rows: int = 0
    _began: float = 0.0
    _waited: float = 0.0
    _ended: float = 0.0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Rows beyond the checkpoint that is resumed are cut off: each step has one row."""
        if self.path.is_file():
            rows = list(csv.DictReader(self.path.read_text().splitlines()))
            self._write([row for row in rows if int(row["step"]) <= self.module.step])
        self._began = self._ended = time.monotonic()

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Time spent waiting for the loader."""
        self._waited += time.monotonic() - self._ended

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: object, batch: object,
        batch_idx: int,
    ) -> None:  # fmt: skip
        """Collect; write when it is time."""
        for name, value in self.module.last_terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value)
        self._count += 1
        self._rows += self.module.last_rows
        self._ended = time.monotonic()
        if self.module.step % self.every == 0 or self.module.step >= self.module.max_steps:
            self._flush(trainer)

    def _flush(self, trainer: lightning.Trainer) -> None:
        took = max(self._ended - self._began, 1e-9)
        row: dict[str, float] = {"step": self.module.step}
        row |= {name: total / self._count for name, total in self._sums.items()}
        row["samples_per_s"] = self._rows / took
        row["loader_wait_frac"] = self._waited / took
        rows = list(csv.DictReader(self.path.read_text().splitlines())) if self.path.is_file() else []
        self._write([*rows, row])
        shown = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "step")
        print(f"step {self.module.step}/{self.module.max_steps}: {shown}", flush=True)  # noqa: T201
        for logger in trainer.loggers:
            logger.log_metrics({k: v for k, v in row.items() if k != "step"}, step=self.module.step)
        self._sums, self._count, self._rows, self._waited = {}, 0, 0, 0.0
        self._began = self._ended = time.monotonic()

    def _write(self, rows: list[dict[str, Any]]) -> None:
        names = list(dict.fromkeys(name for row in rows for name in row))
        part = self.path.with_name(self.path.name + ".part")
        with part.open("w", newline="") as file:
            writer = csv.DictWriter(file, names, restval="")
            writer.writeheader()
            writer.writerows(rows)
        os.replace(part, self.path)  # noqa: PTH105  (house rule: write, then os.replace)


@dataclass(kw_only=True, eq=False)
class Bar(lightning.Callback):
    """A progress bar with rate and time left; plain lines where there is no terminal."""

    module: Recipe
    what: str = "training"
    _ticks: Iterator[int] | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start counting what is left."""
        left = max(0, self.module.max_steps - self.module.step)
        self._ticks = track(range(left + 1), left, self.what, "steps")
        next(self._ticks, None)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: object, batch: object,
        batch_idx: int,
    ) -> None:  # fmt: skip
        """One more."""
        if self._ticks is not None:
            next(self._ticks, None)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Close the bar."""
        self._ticks = None


@dataclass(kw_only=True, eq=False)
class Grids(lightning.Callback):
    """Columns source | driving | output | target of the same rows each `every` steps, as PNG; 0 for never."""

    module: Recipe
    folder: Path
    batch: Batch
    every: int = 500

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: object, batch: object,
        batch_idx: int,
    ) -> None:  # fmt: skip
        """Draw when it is time."""
        if self.every and (self.module.step % self.every == 0 or self.module.step >= self.module.max_steps):
            watched = trainer.strategy.batch_to_device(self.batch, self.module.device)
            output = self.module.preview(watched)
            self.folder.mkdir(parents=True, exist_ok=True)
            save_png(self.folder / f"step-{self.module.step:07d}.png", grid(self.batch, output.cpu()))


def grid(batch: Batch, output: Tensor, side_px: int = 192) -> UInt8[np.ndarray, "H W 3"]:
    """Rows of source, driving, output, target."""
    columns = [
        F.interpolate(images.float().cpu(), size=(side_px, side_px), mode="bilinear", antialias=True)
        for images in (batch.source, batch.driving, output, batch.target)
    ]
    rows = [torch.cat([column[i] for column in columns], dim=2) for i in range(len(output))]
    half = (len(rows) + 1) // 2
    # Two blocks side by side: a screen is wider than high.
    blocks = [torch.cat(part, dim=1) for part in (rows[:half], rows[half:]) if part]
    if len(blocks) == 2:
        blocks[1] = F.pad(blocks[1], (0, 0, 0, blocks[0].shape[1] - blocks[1].shape[1]))
    picture = torch.cat(blocks, dim=2).clamp(0, 1).permute(1, 2, 0)
    return (picture * 255).round().to(torch.uint8).numpy()


def save_png(path: Path, image: UInt8[np.ndarray, "H W 3"]) -> None:
    """Write whole or not at all."""
    from PIL import Image

    part = path.with_name(path.name + ".part")
    Image.fromarray(image).save(part, "PNG")
    os.replace(part, path)  # noqa: PTH105  (house rule: write, then os.replace)


@dataclass(kw_only=True, eq=False)
class Keep(lightning.Callback):
    """A checkpoint each `every` steps, at the end, and when the run is asked to stop (SIGTERM, Ctrl-C)."""

    module: Recipe
    checkpoints: Checkpoints
    export: Callable[[Recipe], object]
    """Called with the module after each checkpoint, so that the weights directory follows."""
    every: int = 500
    stopped: bool = False
    _saved: int = -1
    _former: dict[int, Any] = field(default_factory=dict)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Finish the step before stopping; a second Ctrl-C stops at once."""
        import threading

        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._former[number] = signal.signal(number, self._ask)

    def _ask(self, number: int, _: object) -> None:
        if self.stopped:
            raise KeyboardInterrupt
        self.stopped = True

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: object, batch: object,
        batch_idx: int,
    ) -> None:  # fmt: skip
        """Save when it is time or when asked to stop."""
        if self.stopped:
            trainer.should_stop = True
        if self.stopped or self.module.step % self.every == 0:
            self._save(trainer)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save the last state; give the signals back."""
        self._save(trainer)
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former = {}

    def _save(self, trainer: lightning.Trainer) -> None:
        if self._saved == self.module.step or not trainer.is_global_zero:
            return
        self.checkpoints.save(self.module.step, self.module.training_state())
        self.export(self.module)
        self._saved = self.module.step
