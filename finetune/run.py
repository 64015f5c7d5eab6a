"""A module and its data -> a trained module: resume, fit, checkpoints, exported weights."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.loggers import Logger

from finetune.checkpoints import CheckpointError, Checkpoints, refuse_other_settings
from finetune.datamodule import PairData
from finetune.export import export, shard_provenance
from finetune.keeper import Keeper, gather
from finetune.landmarks import save_ruler
from finetune.probes import Probe
from finetune.recipe import Recipe, TrainingDivergedError
from finetune.watching import watchers

HARMLESS = (
    ".*does not have many workers.*",
    ".*GPU available but not used.*",
    ".*exists and is not empty.*",
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
    ".*log_every_n_steps.*",
    # Teachers and the guard's frozen start are in eval mode on purpose, and frozen networks keep their statistics.
    ".*module\\(s\\) in eval mode at the start of training.*",
    # find_unused_parameters stays on: in stages without a judge some are unused, in others none.
    ".*find_unused_parameters=True was specified.*",
    # A depthwise kernel has one input channel: its gradient's strides differ on paper only.
    ".*Grad strides do not match bucket view strides.*",
    ".*srun.*command is available on your system but is not used.*",
)
"""Lightning's advice that does not apply to loaders kept in memory and to our own logging."""

RANK_STRIDE = 104_729
"""Between the seeds of two processes."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how often; the `run` options.

    Raises:
        ValueError: a number is too small or `resume` is unknown.
    """

    max_steps: int
    log_every: int = 50
    grid_every: int = 500
    """0: no sample grids."""
    checkpoint_every: int = 500
    grid_rows: int = 12
    peak_tflops: float = 0.0
    """Of the device, as its maker gives it, for mfu_frac in metrics.csv; 0 leaves it out, -1 measures it."""
    keep_last: int = 2
    """Newest checkpoints that stay."""
    keep_best: str = ""
    """Term whose lowest mean between two checkpoints marks best.ckpt and weights_best; "": none."""
    resume: str = "auto"
    """force: go on from a checkpoint although options have changed since."""

    def __post_init__(self) -> None:
        for name in ("max_steps", "log_every", "checkpoint_every", "keep_last"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give 1 or more")
        if self.grid_every < 0:
            raise ValueError(f"grid_every is {self.grid_every}; give 0 for no sample grids, or more")
        if self.resume not in ("auto", "force"):
            raise ValueError(f"resume is {self.resume!r}; give auto, or force to go on although options have changed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run ended with."""

    step: int
    weights: Path
    stopped_early: bool
    resumed_from: int
    signal_number: int = 0
    """Of what stopped it; 0: nothing did."""
    is_first: bool = True
    """Whether this process is the one that writes and speaks."""
    found: list[str] = field(default_factory=list)
    """What a probe has to say."""


def run(  # noqa: PLR0913  (the run's parts)
    module: Recipe, data: PairData, schedule: Schedule, out: Path, trainer_options: Mapping[str, Any],
    loggers: list[Logger] | None = None, settings: Mapping[str, str] | None = None, probe: Probe | None = None,
    started: Callable[[], None] | None = None,
) -> Outcome:  # fmt: skip
    """Train up to `schedule.max_steps` in `out`, going on from its last checkpoint; then `out/weights` is complete.

    Args:
        module: a recipe with a model in it.
        data: the pairs.
        schedule: how long, how often.
        out: the run's folder.
        trainer_options: for lightning.Trainer: accelerator, devices, strategy.
        loggers: beside metrics.csv.
        settings: what steps depend on (`finetune.settings`); kept in checkpoints and compared on resuming.
        probe: looks into the run.
        started: called by the first process once nothing speaks against going on.

    Raises:
        TrainingDivergedError: a number stopped being finite; names it and the last good state.
        CheckpointError: checkpoints cannot be read or written, or are of other settings.
    """
    out.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(folder=out / "checkpoints", keep=schedule.keep_last)
    state = resume(module, checkpoints, schedule, settings or {})
    if started is not None and is_first():
        started()
    resumed_from = module.step
    module.max_steps = schedule.max_steps
    data.first_step, data.last_step = module.step, schedule.max_steps
    provenance = {"recipe": module.kind, "data": shard_provenance(Path(data.shards)), "seed": data.seed}

    def save_weights(saved: Mapping[str, Any], is_best: bool) -> None:
        facts = {
            **provenance, "steps": int(saved["step"]), "batch_size": data.batch_size,
            "processes": saved.get("world", 1), "last_losses": saved.get("last_terms", {}),
        }  # fmt: skip
        values = saved["model"] if saved["ema"] is None else saved["ema"]
        for name in ("weights", *(("weights_best",) if is_best else ())):
            export(module.model, values, out / name, facts)
            if "opening_ruler" in saved["helpers"]:
                save_ruler(saved["helpers"]["opening_ruler"], out / name / "opening_ruler.safetensors")

    if state is not None and module.step >= schedule.max_steps:
        if is_first():
            save_weights(state, False)
        return Outcome(
            step=module.step, weights=out / "weights", stopped_early=False, resumed_from=resumed_from,
            is_first=is_first(),
        )  # fmt: skip
    keeper = Keeper(
        module=module, checkpoints=checkpoints, export=save_weights, every=schedule.checkpoint_every,
        best=schedule.keep_best, settings=settings or {},
    )  # fmt: skip
    callbacks: list[lightning.Callback] = [
        _Start(module, state, checkpoints),
        *watchers(
            module, data, out, log_every=schedule.log_every, grid_every=schedule.grid_every,
            grid_rows=schedule.grid_rows, peak_tflops=schedule.peak_tflops,
        ),
        *([probe] if probe is not None else []),
        keeper,
    ]  # fmt: skip
    trainer = _guarded_fit(module, data, callbacks, trainer_options, loggers, checkpoints)
    stopped = module.step < schedule.max_steps and keeper.signal_number != 0
    found = probe.verdict() if probe is not None and not stopped else []
    return Outcome(
        step=module.step, weights=out / "weights", stopped_early=stopped, resumed_from=resumed_from,
        signal_number=keeper.signal_number if stopped else 0, is_first=trainer.is_global_zero, found=found,
    )  # fmt: skip


def resume(
    module: Recipe, checkpoints: Checkpoints, schedule: Schedule, settings: Mapping[str, str]
) -> Mapping[str, Any] | None:
    """Put the newest usable checkpoint into the module, if there is one.

    Raises:
        CheckpointError: it is of other settings, or none can be read.
    """
    state = checkpoints.latest()
    if state is None:
        return None
    path = checkpoints.path(int(state["step"]))
    if schedule.resume != "force" and settings:
        refuse_other_settings(state, settings, path)
    module.load_networks(state)
    say(f"resuming from step {module.step} ({path})")
    return state


def is_first() -> bool:
    """Whether this is the first of all processes, also before they know each other."""
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    return rank_zero_only.rank == 0  # pyright: ignore[reportFunctionMemberAccess]


def say(text: str) -> None:
    """Print, on the first process only."""
    if is_first():
        print(text, flush=True)  # noqa: T201


def _guarded_fit(
    module: Recipe, data: PairData, callbacks: list[lightning.Callback], options: Mapping[str, Any],
    loggers: list[Logger] | None, checkpoints: Checkpoints,
) -> lightning.Trainer:  # fmt: skip
    try:
        return fit(module, data, callbacks, options, loggers)
    except TrainingDivergedError as error:
        found = checkpoints.found()
        where = (
            f"the last good state is {found[0]}: run again from there with resume=force and" if found
            else "there is no checkpoint yet: run again with"
        )  # fmt: skip
        raise TrainingDivergedError(f"{error}; {where} a lower recipe.optimiser.lr or recipe.precision=fp32") from error


class _Start(lightning.Callback):
    """Before the first step: all processes begin at the same one, and optimisers go on from the checkpoint."""

    def __init__(self, module: Recipe, state: Mapping[str, Any] | None, checkpoints: Checkpoints) -> None:
        self.module, self.state, self.checkpoints = module, state, checkpoints
        self.is_first_batch = True

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        steps = sorted(set(gather(trainer, self.module.step)))
        if len(steps) > 1:
            raise CheckpointError(
                f"the processes read checkpoints of different steps ({', '.join(map(str, steps))}); out= must be one "
                "folder that all machines share"
            )
        # Random warps are drawn from the seed and the step: each process draws its own.
        self.module.seed += trainer.global_rank * RANK_STRIDE
        if self.state is None:
            return
        self.module.load_optimisers(self.state)
        if int(self.state.get("world", 1)) != trainer.world_size:
            say(f"{trainer.world_size} processes instead of {self.state['world']}: other rows follow than would have")
        if trainer.is_global_zero:
            self.checkpoints.set_aside_newer(self.module.step)

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: object, batch_idx: int
    ) -> None:
        if self.is_first_batch and self.state is not None:
            self.module.load_random_states(self.state)
        # The state is as large as the model and its optimisers.
        self.is_first_batch, self.state = False, None


def fit(
    module: lightning.LightningModule, data: PairData, callbacks: list[lightning.Callback], options: Mapping[str, Any],
    loggers: list[Logger] | None,
) -> lightning.Trainer:  # fmt: skip
    """Lightning's fit with everything of its own that ours replaces switched off.

    Raises:
        ValueError: the `trainer` options do not fit the machine.
    """
    import logging

    from lightning.fabric.utilities.exceptions import MisconfigurationException

    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for text in HARMLESS:
            warnings.filterwarnings("ignore", text)
        try:
            trainer = lightning.Trainer(
                max_epochs=1, logger=loggers or False, callbacks=callbacks, enable_checkpointing=False,
                enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, limit_val_batches=0,
                use_distributed_sampler=False, **options,
            )  # fmt: skip
        except MisconfigurationException as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"the trainer options do not fit this machine: {reason}") from error
        trainer.fit(module, datamodule=data)
    return trainer
