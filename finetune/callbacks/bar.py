"""Steps -> a progress bar with rate and time left; plain lines where there is no terminal."""

from collections.abc import Iterator
from dataclasses import dataclass

import lightning

from data_pipeline.progress import track
from finetune.recipe import Recipe


@dataclass(kw_only=True, eq=False)
class Bar(lightning.Callback):
    """Counts the steps that are left."""

    module: Recipe
    what: str = "training"
    _ticks: Iterator[int] | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start counting what is left."""
        left = max(0, self.module.max_steps - self.module.step)
        if trainer.is_global_zero:
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
