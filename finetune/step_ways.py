"""Options -> the base's training step, as it is and as straight code, ready to be called outside of a run."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer

from finetune.base_module import BaseModule
from finetune.datamodule import PairData
from finetune.insight import on
from finetune.pairs import Batch
from finetune.plain_step import PlainStep

Kind = Literal["fast", "plain"]
Step = Callable[[Batch], dict[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is trained, on what.

    Raises:
        ValueError: the device is unknown.
    """

    shards: str
    model: str = "starter"
    batch_size: int = 4
    device: str = "cpu"
    precision: str = "auto"
    words: tuple[str, ...] = ()
    """More options of lp-finetune."""

    def config(self) -> Any:  # noqa: ANN401  (a composed config)
        """As `lp-finetune recipe=base` would compose it; the discriminator takes part from the first step."""
        from hydra import compose, initialize_config_module

        words = [
            "recipe=base", f"model={self.model}", f"data.shards={self.shards}", "out=unused", "recipe.gan_from_step=0",
            f"data.batch_size={self.batch_size}", f"recipe.precision={self.precision}", *self.words,
        ]  # fmt: skip
        with initialize_config_module(version_base="1.3", config_module="conf"):
            return compose("finetune", words)


class Ready(NamedTuple):
    """A step to be called, and what it works on."""

    step: Step
    module: BaseModule


def data_of(setup: Setup, workers: int = 0) -> PairData:
    """The shards, as a run reads them."""
    from finetune.cli import build

    config = setup.config()
    data: PairData = build(config.data, seed=0, workers=workers)
    size = build(config.model)
    data.side_px, data.target_scale = size.image_px, size.output_px // size.image_px
    data.first_step, data.last_step = 0, 10**9
    data.read()
    return data


def ready(kind: Kind, setup: Setup) -> Ready:
    """A model of the given size with the same random start every time, and the step that trains it."""
    from finetune.cli import build, start_model

    config = setup.config()
    torch.manual_seed(0)
    model = start_model(config)
    module: BaseModule = build(config.recipe)(model=model, features=build(config.features), seed=0)
    module.to(setup.device).train()
    module.max_steps = 1000
    return Ready(alone(module) if kind == "fast" else _plain(module), module)


def _plain(module: BaseModule) -> Step:
    step = PlainStep(module)
    step.max_steps = module.max_steps
    return step


def alone(module: BaseModule) -> Step:
    """The module's own step without Lightning's loop around it."""
    optimisers = [_Bare(optimiser) for optimiser in module.configure_optimizers()]
    module.all_optimisers = lambda: optimisers  # pyright: ignore[reportAttributeAccessIssue]
    module.manual_backward = lambda loss, *_, **__: loss.backward()

    def step(batch: Batch) -> dict[str, float]:
        module.training_step(batch, 0)
        return {name: float(value) for name, value in module.last_terms.items()}

    return step


class _Bare(LightningOptimizer):
    """An optimiser as recipes ask for it, without a trainer behind it."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.optimizer.zero_grad(set_to_none=set_to_none)

    def step(self, closure: object = None, **kwargs: object) -> None:
        self.optimizer.step()


def batches_of(data: PairData, setup: Setup, count: int) -> list[Batch]:
    """The first steps' batches, on the device."""
    assert data.train is not None
    side = data.side_px
    made = (data.train.batch(step, setup.batch_size, side, side * data.target_scale) for step in range(count))
    return [on(batch, torch.device(setup.device)) for batch in made]


def wait(device: str) -> None:
    """Until the device has done what it was asked for."""
    if device == "cuda":
        torch.cuda.synchronize()
