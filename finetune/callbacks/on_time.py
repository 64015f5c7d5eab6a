"""A run -> what looks at it each `every` steps and after the last one, on the first process."""

from dataclasses import dataclass

import lightning

from finetune.recipe import Recipe


@dataclass(kw_only=True, eq=False)
class OnTime(lightning.Callback):
    """Calls `look`; 0 for never."""

    module: Recipe
    every: int = 500

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: object, batch: object,
        batch_idx: int,
    ) -> None:  # fmt: skip
        """Look when it is time."""
        step = self.module.step
        if self.every and trainer.is_global_zero and (step % self.every == 0 or step >= self.module.max_steps):
            self.look(trainer, step)

    def look(self, trainer: lightning.Trainer, step: int) -> None:
        """What is done when it is time."""
        raise NotImplementedError
