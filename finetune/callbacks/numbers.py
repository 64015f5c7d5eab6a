"""Steps -> losses, rates and throughput: a row in metrics.csv, a printed line, and the loggers' curves."""

from dataclasses import dataclass, field
from pathlib import Path

import lightning
import torch
from torch import Tensor

from finetune.loggers import loggers_of
from finetune.metrics_file import MetricsFile
from finetune.recipe import Recipe
from finetune.throughput import Throughput


@dataclass(kw_only=True, eq=False)
class Numbers(lightning.Callback):
    """The means of each `every` steps."""

    module: Recipe
    path: Path
    every: int = 50
    throughput: Throughput = field(default_factory=Throughput)
    _sums: dict[str, Tensor] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """The clock of the loader starts when the last callback is done: pictures and checkpoints are no waiting."""
        if not any(isinstance(callback, _Clock) for callback in trainer.callbacks):  # pyright: ignore[reportAttributeAccessIssue]
            trainer.callbacks.append(_Clock(self.throughput))  # pyright: ignore[reportAttributeAccessIssue]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Rows beyond the checkpoint that is resumed are cut off: each step has one row."""
        if trainer.is_global_zero:
            MetricsFile(path=self.path).cut_after(self.module.step)
        self.throughput.processes = trainer.world_size
        self.throughput.start()

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """The loader has given a batch."""
        self.throughput.batch_came()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: object, batch: object,
        batch_idx: int,
    ) -> None:  # fmt: skip
        """Collect; write when it is time."""
        # Tensors are added, not numbers: a number would make every step wait for the device.
        for name, value in self.module.last_terms.items():
            self._sums[name] = self._sums[name] + value.detach() if name in self._sums else value.detach().clone()
            self._counts[name] = self._counts.get(name, 0) + 1
        self.throughput.step_done(self.module.last_rows)
        if self.module.step % self.every == 0 or self.module.step >= self.module.max_steps:
            self._flush(trainer)

    def _flush(self, trainer: lightning.Trainer) -> None:
        device = self.module.device
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        row: dict[str, float | int] = {"step": self.module.step}
        row |= {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        row |= self.throughput.numbers(device)
        if trainer.is_global_zero:
            MetricsFile(path=self.path).append(row)
            shown = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "step")
            print(f"step {self.module.step}/{self.module.max_steps}: {shown}", flush=True)  # noqa: T201
        for logger in loggers_of(trainer):
            logger.scalars({name: value for name, value in row.items() if name != "step"}, self.module.step)
        self._sums, self._counts = {}, {}
        self.throughput.start()


class _Clock(lightning.Callback):
    """Stands behind all other callbacks and tells the stopwatch that they are done."""

    def __init__(self, throughput: Throughput) -> None:
        self.throughput = throughput

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: object, batch: object,
        batch_idx: int,
    ) -> None:  # fmt: skip
        self.throughput.waits()
