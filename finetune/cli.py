"""`lp-finetune`: options -> a trained weights directory."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

from data_pipeline.cli_errors import user_errors

if TYPE_CHECKING:
    from finetune.datamodule import PairData
    from finetune.recipe import Recipe
    from lp_models import LivePortrait


@user_errors
@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="finetune")
@user_errors
def main(config: DictConfig) -> None:
    """Entry point."""
    train(config)


def train(config: DictConfig) -> Path:
    """Build what the config names, train it, and return the weights directory.

    Raises:
        ValueError: options, shards, weights or checkpoints do not fit; the message says what to do.
    """
    import torch

    from finetune.run import Schedule, run

    out = Path(config.out)
    schedule = Schedule(**{name: config[name] for name in Schedule.__dataclass_fields__})
    options: dict[str, Any] = dict(config.trainer)
    if threads := int(options.pop("threads", 0)):
        torch.set_num_threads(threads)
    torch.manual_seed(config.seed)
    data = build(config.data, seed=config.seed)
    model = start_model(config)
    recipe = build(config.recipe)
    features = build(config.features) if config.get("features") else None
    module = recipe(model=model, features=features, seed=config.seed)
    data.with_labels = module.needs_labels
    suit(data, model, module)
    data.read()
    save_config(config, out)
    for line in (f"data: {data.train.describe()}", *module.announce()):
        print(line, flush=True)
    loggers = [build(config.logger)(save_dir=str(out))] if config.get("logger") else None
    outcome = run(module, data, schedule, out, options, loggers)
    if outcome.stopped_early:
        print(f"stopped at step {outcome.step} of {schedule.max_steps}; run the same command again to go on")
    else:
        print(f"trained {module.kind} for {outcome.step} steps")
    print(f"weights: {outcome.weights}\nnumbers: {out / 'metrics.csv'}   pictures: {out / 'samples'}")
    print(f"next: lp-evaluate protocol=self weights={outcome.weights} data={config.data.shards} out={out}/evaluation")
    return outcome.weights


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


def start_model(config: DictConfig) -> "LivePortrait":
    """A fresh model of the chosen size, or the weights that are given.

    Raises:
        ValueError: the weights are missing, damaged, or of another size than the chosen model.
    """
    from finetune.start import prepare_scratch
    from lp_models import LivePortrait, load_pretrained, resolve_weights

    size = build(config.model)
    if config.weights == "scratch":
        return prepare_scratch(LivePortrait(size))
    folder = resolve_weights(config.weights)
    # Loading gives eval mode; batch statistics must be those of training.
    model = load_pretrained(folder).train()
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
    sides = [side for stage in stages for side in (stage.side_px, stage.motion_px) if side]
    if bad := [side for side in sides if side % step or not 0 < side <= size.image_px]:
        raise ValueError(
            f"recipe.stages: {bad[0]} px does not suit model={size.name}; take multiples of {step} up to "
            f"{size.image_px}"
        )


def save_config(config: DictConfig, out: Path) -> None:
    """Write the composed config into the run's folder, whole or not at all."""
    import os

    out.mkdir(parents=True, exist_ok=True)
    part = out / "config.yaml.part"
    part.write_text(OmegaConf.to_yaml(config))
    os.replace(part, out / "config.yaml")  # noqa: PTH105  (house rule: write, then os.replace)


if __name__ == "__main__":
    main()
