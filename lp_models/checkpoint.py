"""A checkpoint file of lp-finetune -> the config and the weights in it; all else stays on the disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lp_models.config import LivePortraitConfig
from lp_models.layout import STEMS
from lp_models.state_files import WeightsError, one_line, read_state

FORMAT = 1
"""Of finetune/checkpoints.py."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The model in a checkpoint."""

    path: Path
    config: LivePortraitConfig
    step: int
    recipe: str
    is_average: bool
    """Whether `state` is the moving average rather than the weights of the last step."""
    state: dict[str, Any]

    def part(self, child: str) -> dict[str, Any]:
        """The entries of one network, without its name in front."""
        prefix = f"{child}."
        return {key.removeprefix(prefix): value for key, value in self.state.items() if key.startswith(prefix)}

    def provenance(self) -> dict[str, Any]:
        """What model.json says about weights made from it."""
        return {
            "checkpoint": self.path.name,
            "recipe": self.recipe,
            "steps": self.step,
            "weights": "moving average" if self.is_average else "last step",
        }


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the moving average, or without one the weights of the last step.

    The tensors are mapped from the file; whoever keeps them must copy them.

    Raises:
        WeightsError: the file is damaged, unsafe, or a checkpoint of another program.
    """
    content = read_state(path, mapped=True)
    if not {"format", "kind", "config", "model"} <= content.keys():
        is_lightning = "pytorch-lightning_version" in content
        whose = "a Lightning checkpoint of another program" if is_lightning else "no checkpoint of lp-finetune"
        raise WeightsError(
            f"{path} is {whose}: it does not say which model it holds; give a step-….ckpt that lp-finetune wrote"
        )
    if content["format"] != FORMAT:
        raise WeightsError(f"{path} has format {content['format']}, this version reads {FORMAT}; update pawtrait")
    average = content.get("ema")
    try:
        config = LivePortraitConfig.from_dict(content["config"])
        state = dict(average if average is not None else content["model"])
        step = int(content.get("step", 0))
    except (ValueError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} does not describe a model: {one_line(error)}; use another checkpoint") from error
    if not state or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()):
        raise WeightsError(f"{path} holds no named tensors where the weights should be; use another checkpoint")
    if strangers := [key for key in state if key.split(".")[0] not in STEMS]:
        raise WeightsError(f"{path} has unknown {strangers[0]}; it was written by another version: export it there")
    return Checkpoint(
        path=path, config=config, step=step, recipe=str(content["kind"]), is_average=average is not None, state=state
    )
