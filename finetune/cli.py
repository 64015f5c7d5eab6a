"""`lp-finetune`: options -> a trained weights directory."""

import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

from data_pipeline.cli_errors import user_errors
from data_pipeline.whole_file import write_text

if TYPE_CHECKING:
    from finetune.datamodule import PairData
    from finetune.recipe import Recipe
    from finetune.run import Outcome
    from lp_models import LivePortrait

PREEMPTED = 75
"""Exit code of a run that was asked to stop and saved its state: EX_TEMPFAIL, "start me again"."""
INTERRUPTED = 130
"""The same after Ctrl-C, as shells count."""


@user_errors
@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="finetune")
@user_errors
def main(config: DictConfig) -> None:
    """Entry point."""
    outcome = train_once(config)
    # Only the first process: whoever started several takes another one's code for a failure, and ends the first.
    if outcome.stopped_early and outcome.is_first:
        sys.exit(INTERRUPTED if outcome.signal_number == signal.SIGINT else PREEMPTED)


def train(config: DictConfig) -> Path:
    """Build what the config names, train it, and return the weights directory.

    Raises:
        ValueError: options, shards, weights or checkpoints do not fit; the message says what to do.
    """
    return train_once(config).weights


def train_once(config: DictConfig) -> "Outcome":
    """As `train`, and returns how the run ended."""
    import torch

    from finetune.run import Schedule, run, say
    from finetune.strategies import trainer_options

    out = Path(config.out)
    schedule = Schedule(**{name: config[name] for name in Schedule.__dataclass_fields__})
    options: dict[str, Any] = dict(config.trainer)
    if threads := int(options.pop("threads", 0)):
        torch.set_num_threads(threads)
    if OmegaConf.is_dict(options.get("strategy")):
        options["strategy"] = build(config.trainer.strategy)
    divides = getattr(options.get("strategy"), "kind", "") == "fsdp"
    options, world = trainer_options(options)
    if divides and schedule.grid_every:
        # The pictures are drawn by one process, and none has the whole model.
        schedule = replace(schedule, grid_every=0)
        say("no sample grids: the networks are divided among the processes (trainer=fsdp)")
    prepare_out(out)
    seed_all(config.seed)
    data = build(config.data, seed=config.seed)
    model = start_model(config)
    recipe = build(config.recipe)
    features = build(config.features) if config.get("features") else None
    module = recipe(model=model, features=features, seed=config.seed)
    data.with_labels = module.needs_labels
    suit(data, model, module)
    data.read()
    probe = build(config.probe) if config.get("probe") else None
    lines = [f"data: {data.train.describe()}", *sharing(data, world), *module.announce()]
    lines += [] if probe is None else probe.prepare(module, data, out)
    say("\n".join(lines))
    loggers = [build(config.logger)(save_dir=str(out))] if config.get("logger") else None
    outcome = run(
        module, data, schedule, out, options, loggers, settings(config), probe, lambda: save_config(config, out)
    )
    if outcome.is_first:
        report(outcome, schedule.max_steps, module.kind, config)
    return outcome


def settings(config: DictConfig) -> dict[str, str]:
    """What the run's steps depend on."""
    from finetune.export import shard_provenance
    from finetune.settings import settings_of

    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    named = {str(key): value for key, value in plain.items()}
    return settings_of(named, shard_provenance(Path(config.data.shards))["manifest_sha256"])


def sharing(data: "PairData", world: int) -> list[str]:
    """How several processes share the shards."""
    assert data.train is not None
    if world == 1:
        return []
    lines = [f"{world} processes, {data.batch_size} rows each"]
    shards = len(data.train.clips.index.paths)
    if shards < world:
        lines.append(f"fewer shards ({shards}) than processes: some read parts of the same file")
    told = data.train.of_rank(0, world).describe().split("; ")
    return lines + [part for part in told if part.startswith("fewer")]


def report(outcome: "Outcome", max_steps: int, kind: str, config: DictConfig) -> None:
    """Say how it went and what to do next."""
    from finetune.export import weights_sha256

    out = Path(config.out)
    for line in outcome.found:
        print(line)
    if outcome.stopped_early:
        name = signal.Signals(outcome.signal_number).name
        print(f"stopped by {name} at step {outcome.step} of {max_steps}; run the same command again to go on")
    else:
        print(f"trained {kind} for {outcome.step} steps")
    print(f"weights: {outcome.weights}\nnumbers: {out / 'metrics.csv'}   pictures: {out / 'samples'}")
    print(f"sha256 of the weights: {weights_sha256(outcome.weights)}")
    print(f"next: lp-evaluate protocol=self weights={outcome.weights} data={config.data.shards} out={out}/evaluation")


def build(node: DictConfig, **options: object) -> Any:  # noqa: ANN401  (it builds what the node names)
    """Hydra's instantiate, with a constructor's own complaint instead of one about the call.

    Raises:
        ValueError: the constructor's.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        return instantiate(node, **options)
    except InstantiationException as error:
        if isinstance(error.__cause__, ValueError):
            raise error.__cause__ from None
        raise


def seed_all(seed: int) -> None:
    """Seed torch's, NumPy's and Python's generators; rows and warps have their own, of the step's number."""
    import random

    import numpy as np
    import torch

    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)


def prepare_out(out: Path) -> None:
    """Make the run's folder, before anything that takes time.

    Raises:
        ValueError: nothing can be written there.
    """
    import os

    mark = out / f".writable-{os.getpid()}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        mark.write_bytes(b"")
        mark.unlink()
    except OSError as error:
        raise ValueError(f"out={out} cannot be written ({error.strerror}); choose another folder") from error


def start_model(config: DictConfig) -> "LivePortrait":
    """A fresh model of the chosen size, or the weights that are given.

    Raises:
        ValueError: the weights are missing, damaged, or of another size than the chosen model.
    """
    from dataclasses import replace

    from finetune.run import say
    from finetune.start import following, opening_mouths, prepare_scratch, with_pixels
    from lp_models import LivePortrait, load_pretrained, resolve_weights

    size = build(config.model)
    if config.weights == "scratch":
        return prepare_scratch(LivePortrait(size))
    folder = resolve_weights(config.weights)
    # Loading gives eval mode; batch statistics must be those of training.
    model = load_pretrained(folder).train()
    if (
        size.copies_pixels
        and replace(size, copies_pixels=False, followed_keypoints=(), opens_mouth=False) == model.config
    ):
        say(f"weights={config.weights} paint every pixel; the way for the source's own pixels starts untrained")
        model = with_pixels(model)
    if size.followed_keypoints and replace(size, followed_keypoints=(), opens_mouth=False) == model.config:
        say(f"weights={config.weights} follow no keypoints; now their pixels do, the generator's hints start untrained")
        model = following(model, size.followed_keypoints)
    if size.opens_mouth and replace(size, opens_mouth=False) == model.config:
        say(f"weights={config.weights} show no inside of mouths; now they do, in a colour that is still to be learned")
        model = opening_mouths(model)
    if model.config != size:
        raise ValueError(
            f"weights={config.weights} hold the model {model.config.name!r}, which is not model={size.name}; add "
            f"model={model.config.name}, or start with weights=scratch"
        )
    return model


def suit(data: "PairData", model: "LivePortrait", module: "Recipe") -> None:
    """Serve pictures of the sides that the model reads and gives; check the recipe's smaller sides.

    Raises:
        ValueError: a smaller side cannot be halved as often as the networks do.
    """
    size = model.config
    data.side_px, data.target_scale = size.image_px, size.output_px // size.image_px
    step = 2 ** (size.num_down_blocks + size.hourglass_blocks)
    stages = getattr(module, "stages", ())
    data.stage_rows = [(stage.until, stage.batch_size) for stage in stages]
    sides = [side for stage in stages for side in stage.sides_px]
    if bad := [side for side in sides if side % step or not 0 < side <= size.image_px]:
        raise ValueError(
            f"recipe.stages: {bad[0]} px does not suit model={size.name}; take multiples of {step} up to "
            f"{size.image_px}"
        )


def save_config(config: DictConfig, out: Path) -> None:
    """Write the composed config into the run's folder, whole or not at all."""
    write_text(out / "config.yaml", OmegaConf.to_yaml(config))


if __name__ == "__main__":
    main()
