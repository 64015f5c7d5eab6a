"""A module and its data -> a trained module: resume, fit, checkpoints, exported weights."""

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.loggers import Logger
from torch import nn

from finetune.callbacks import Bar, Grids, Keep, Numbers
from finetune.checkpoints import Checkpoints
from finetune.datamodule import PairData
from finetune.export import export, shard_provenance
from finetune.recipe import Recipe

HARMLESS = (
    ".*does not have many workers.*",
    ".*GPU available but not used.*",
    ".*exists and is not empty.*",
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
    ".*log_every_n_steps.*",
)
"""Lightning's advice that does not apply to loaders kept in memory and to our own logging."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how often; the `run` options.

    Raises:
        ValueError: a number is below 1.
    """

    max_steps: int
    log_every: int = 50
    grid_every: int = 500
    """0: no sample grids."""
    checkpoint_every: int = 500
    grid_rows: int = 12

    def __post_init__(self) -> None:
        for name in ("max_steps", "log_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run ended with."""

    step: int
    weights: Path
    stopped_early: bool
    resumed_from: int


def run(
    module: Recipe, data: PairData, schedule: Schedule, out: Path, trainer_options: Mapping[str, Any],
    loggers: list[Logger] | None = None,
) -> Outcome:  # fmt: skip
    """Train up to `schedule.max_steps` in `out`, going on from its last checkpoint; then `out/weights` is complete.

    Raises:
        TrainingDivergedError: a number stopped being finite.
        CheckpointError: checkpoints cannot be read or written.
    """
    out.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(folder=out / "checkpoints")
    state = checkpoints.latest()
    if state is not None:
        module.load_networks(state)
        print(f"resuming from step {module.step} ({checkpoints.folder})", flush=True)  # noqa: T201
    resumed_from = module.step
    module.max_steps = schedule.max_steps
    data.first_step, data.last_step = module.step, schedule.max_steps
    provenance = {"recipe": module.kind, "data": shard_provenance(Path(data.shards)), "seed": data.seed}

    def save_weights(trained: Recipe) -> Path:
        last = {name: float(value) for name, value in trained.last_terms.items()}
        facts = {**provenance, "steps": trained.step, "batch_size": data.batch_size, "last_losses": last}
        values = None if trained.ema is None else trained.ema.values
        folder = export(trained.model, values, out / "weights", facts)
        if "opening_ruler" in trained.helpers():
            save_ruler(trained.helpers()["opening_ruler"], folder)
        return folder

    keep = Keep(module=module, checkpoints=checkpoints, export=save_weights, every=schedule.checkpoint_every)
    if module.step >= schedule.max_steps:
        save_weights(module)
        return Outcome(step=module.step, weights=out / "weights", stopped_early=False, resumed_from=resumed_from)
    callbacks: list[lightning.Callback] = [
        Numbers(module=module, path=out / "metrics.csv", every=schedule.log_every),
        Bar(module=module, what=f"training {module.kind}"),
    ]
    if schedule.grid_every:
        rows = data.watched(schedule.grid_rows)
        callbacks.append(Grids(module=module, folder=out / "samples", batch=rows, every=schedule.grid_every))
    callbacks.append(keep)
    if state is not None:
        callbacks.insert(0, _Restore(module, state))
    fit(module, data, callbacks, trainer_options, loggers)
    return Outcome(
        step=module.step, weights=out / "weights", stopped_early=module.step < schedule.max_steps,
        resumed_from=resumed_from,
    )  # fmt: skip


def save_ruler(ruler: nn.Module, folder: Path) -> None:
    """Write the ruler of openings beside the weights."""
    from safetensors.torch import save_file

    part = folder / "opening_ruler.safetensors.part"
    save_file({name: value.contiguous() for name, value in ruler.state_dict().items()}, part)
    os.replace(part, folder / "opening_ruler.safetensors")  # noqa: PTH105  (house rule: write, then os.replace)


class _Restore(lightning.Callback):
    """Gives the optimisers their state back once Lightning has made them."""

    def __init__(self, module: Recipe, state: Mapping[str, Any]) -> None:
        self.module, self.state = module, state

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.module.load_optimisers(self.state)


def fit(
    module: lightning.LightningModule, data: PairData, callbacks: list[lightning.Callback], options: Mapping[str, Any],
    loggers: list[Logger] | None,
) -> None:  # fmt: skip
    """Lightning's fit with everything of its own that ours replaces switched off."""
    import logging

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for text in HARMLESS:
            warnings.filterwarnings("ignore", text)
        trainer = lightning.Trainer(
            max_epochs=1, logger=loggers or False, callbacks=callbacks, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, limit_val_batches=0,
            use_distributed_sampler=False, **options,
        )  # fmt: skip
        trainer.fit(module, datamodule=data)
