"""When a run's state is written: each so many steps, at its end, and when somebody wants the machine back."""

import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import lightning
import torch

from finetune.checkpoints import CheckpointError, Checkpoints
from finetune.recipe import Recipe, TrainingDivergedError

ASKS_TO_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""From clusters, from the keyboard, and SLURM's warning ahead of time (`--signal=USR1@120`)."""

State = Mapping[str, Any]


@dataclass(kw_only=True, eq=False)
class Keeper(lightning.Callback):
    """Writes checkpoints and weights. All processes stop after the same step; the first one writes, the others wait."""

    module: Recipe
    checkpoints: Checkpoints
    export: Callable[[State, bool], object]
    """Called with each state that was saved, and whether it is the best so far: the weights directories follow."""
    every: int = 500
    best: str = ""
    """Term whose lowest mean between two checkpoints marks the best one; "": none is marked."""
    settings: Mapping[str, str] = field(default_factory=dict)
    signal_number: int = 0
    """Of what asked the run to stop; 0: nothing did."""
    _saved: int = -1
    _sum: float = 0.0
    _count: int = 0
    _former: dict[int, Any] = field(default_factory=dict)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Finish the step before stopping; a second Ctrl-C stops at once."""
        self._saved = self.module.step
        if threading.current_thread() is threading.main_thread():
            for number in ASKS_TO_STOP:
                self._former[number] = signal.signal(number, self._ask)

    def _ask(self, number: int, _: object) -> None:
        if self.signal_number == number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal_number = number

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: object, batch: object,
        batch_idx: int,
    ) -> None:  # fmt: skip
        """Save when it is time or when any process was asked to stop."""
        if self.best:
            self._note()
        # One small message a step: a signal reaches processes at different moments, and they must stop together.
        asked = largest(trainer, self.signal_number)
        if asked:
            self.signal_number, trainer.should_stop = asked, True
        if asked or self.module.step % self.every == 0:
            self._save(trainer)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save the last state; give the signals back."""
        self._save(trainer)
        self._give_back()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Give the signals back; what was saved stays the last good state."""
        self._give_back()

    def _give_back(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former = {}

    def _note(self) -> None:
        if self.best not in self.module.last_terms:
            raise ValueError(
                f"keep_best={self.best} is not among the terms of this step ({', '.join(self.module.last_terms)})"
            )
        self._sum, self._count = self._sum + float(self.module.last_terms[self.best]), self._count + 1

    def _save(self, trainer: lightning.Trainer) -> None:
        if self._saved == self.module.step:
            return
        state = self.module.training_state() | {"settings": dict(self.settings), "world": trainer.world_size}
        refuse_bad_numbers(state, self.module.step)
        if trainer.world_size > 1:
            state["rng"] = gather(trainer, state["rng"])
        problem = self._write(state) if trainer.is_global_zero else ""
        # The others wait here, and hear of a full disk.
        problem = trainer.strategy.broadcast(problem)
        if problem:
            raise CheckpointError(problem)
        self._saved, self._sum, self._count = self.module.step, 0.0, 0

    def _write(self, state: dict[str, Any]) -> str:
        step = self.module.step
        try:
            self.checkpoints.save(step, state)
            is_best = self._count > 0 and self.checkpoints.mark_best(step, self.best, self._sum / self._count)
            self.export({**state, "step": step}, is_best)
        except (ValueError, OSError) as error:
            return " ".join(str(error).split())
        return ""


def refuse_bad_numbers(state: State, step: int) -> None:
    """A state that cannot be gone on from must not take a good one's place.

    Raises:
        TrainingDivergedError: a weight or a statistic is not finite; names it.
    """
    for kind in ("model", "ema"):
        for name, value in (state[kind] or {}).items():
            if value.is_floating_point() and not bool(value.isfinite().all()):
                where = "the moving average of " if kind == "ema" else ""
                raise TrainingDivergedError(f"step {step}: {where}{name} is not finite, so nothing was saved")


def largest(trainer: lightning.Trainer, number: int) -> int:
    """The largest of all processes' numbers."""
    if trainer.world_size == 1:
        return number
    value = torch.tensor(number, device=trainer.strategy.root_device)
    torch.distributed.all_reduce(value, op=torch.distributed.ReduceOp.MAX)
    return int(value)


def gather(trainer: lightning.Trainer, value: object) -> list[Any]:
    """Every process' value, in the order of ranks."""
    if trainer.world_size == 1:
        return [value]
    found: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(found, value)
    return found
