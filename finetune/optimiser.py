"""Modules -> an Adam with a rate per module, a warm-up and a cosine; and the moving average of the weights."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

TRAINED = ("appearance", "motion", "warping", "generator")
PARTS = (*TRAINED, "stitching")
StageT = TypeVar("StageT")


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """Numbers of the optimisers; the fields are the `recipe.optimiser` options.

    Raises:
        ValueError: a number is out of range or a module is unknown.
    """

    lr: float = 2e-4
    """Peak learning rate of the networks."""
    discriminator_lr: float = 2e-4
    betas: Sequence[float] = (0.5, 0.999)
    """Adam's, as the paper gives them."""
    module_lr: Mapping[str, float] = field(default_factory=dict)
    """Factor on lr per module (appearance, motion, warping, generator); 0 freezes it."""
    warmup_steps: int = 100
    final_lr_frac: float = 0.05
    """The cosine ends at this share of lr."""
    clip_norm: float = 1.0
    """Gradient norm limit of each optimiser."""
    ema_decay: float = 0.999
    weight_decay: float = 0.0
    """Decoupled from the gradient (AdamW), of the networks only."""
    fused: bool = True
    """One kernel for the whole update where the devices have it; on a CPU a third of the time of the plain loop."""

    def __post_init__(self) -> None:
        if not 0 < self.lr < 0.1 or not 0 < self.discriminator_lr < 0.1:
            raise ValueError(f"recipe.optimiser.lr is {self.lr}; a learning rate lies between 0 and 0.1 (usually 2e-4)")
        if not 0 <= self.weight_decay < 1:
            raise ValueError(f"recipe.optimiser.weight_decay is {self.weight_decay}; give 0 (off) to 0.1")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"recipe.optimiser.ema_decay is {self.ema_decay}; give 0 (off) to 0.9999")
        for name in self.module_lr:
            if name not in PARTS:
                raise ValueError(f"recipe.optimiser names the module {name!r}; the modules are {', '.join(PARTS)}")

    def build(
        self, model: nn.Module, parts: Sequence[str], instead: Mapping[str, Sequence[nn.Parameter]] | None = None
    ) -> torch.optim.Adam:
        """Adam over the named children of the model, one group each; a group remembers its factor.

        Args:
            model: holds the children.
            parts: their names.
            instead: other parameters that learn in place of a child's own (low-rank updates).
        """
        groups: list[dict[str, Any]] = []
        for part in parts:
            factor = self.module_lr.get(part, 1.0)
            own = (instead or {}).get(part) or list(model.get_submodule(part).parameters())
            if own and factor > 0:
                groups.append({"params": list(own), "lr": 0.0, "factor": factor, "part": part})
        if not groups:
            raise ValueError("recipe.optimiser.module_lr freezes every module; give at least one a factor above 0")
        return self._adam(groups, 0.0, self.weight_decay)

    def build_discriminator(self, net: nn.Module) -> torch.optim.Adam:
        """Adam over the discriminators."""
        return self._adam([{"params": list(net.parameters())}], self.discriminator_lr, 0.0)

    def _adam(self, groups: list[dict[str, Any]], lr: float, weight_decay: float) -> torch.optim.Adam:
        fused = self.fused and all(p.device.type in ("cpu", "cuda") for group in groups for p in group["params"])
        return torch.optim.Adam(
            groups, lr=lr, betas=(self.betas[0], self.betas[1]), weight_decay=weight_decay,
            decoupled_weight_decay=True, fused=fused,
        )  # fmt: skip

    def set_rates(
        self, optimiser: torch.optim.Optimizer, step: int, total: int, factors: Mapping[str, float] | None = None
    ) -> float:
        """Write this step's rates into the groups; returns the common rate before factors.

        Args:
            optimiser: made by `build`.
            step: counted from 0.
            total: length of the run in steps.
            factors: of a stage, per module; multiplied with the group's own.
        """
        rate = self.lr * self.schedule(step, total)
        for group in optimiser.param_groups:
            group["lr"] = rate * group["factor"] * (factors or {}).get(group["part"], 1.0)
        return rate

    def schedule(self, step: int, total: int) -> float:
        """Linear warm-up to 1, then half a cosine down to `final_lr_frac`."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        progress = min(1.0, (step - self.warmup_steps) / max(1, total - self.warmup_steps))
        return self.final_lr_frac + (1 - self.final_lr_frac) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stretch of a run: which modules learn, at which picture side; the entries of `recipe.stages`.

    Raises:
        ValueError: a module is unknown, or none is named.
    """

    until: int
    """First step after the stage."""
    train: Sequence[str] = TRAINED
    side_px: int = 0
    """Appearance is read and frames are painted at this smaller side; 0 for the model's own."""
    motion_px: int = 0
    """The motion network reads pictures of this smaller side; 0 for the model's own."""
    batch_size: int = 0
    """Rows per step; 0 for data.batch_size."""
    module_lr: Mapping[str, float] = field(default_factory=dict)
    """Factor on the learning rate per module during the stage, beside that of recipe.optimiser.module_lr."""

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.module_lr) - set(self.train)):
            raise ValueError(
                f"recipe.stages: module_lr names {unknown[0]!r}, which does not learn there ({', '.join(self.train)})"
            )
        if any(factor < 0 for factor in self.module_lr.values()):
            raise ValueError("recipe.stages: a factor of module_lr is negative; give 0 or more")
        if not self.train or set(self.train) - set(TRAINED):
            raise ValueError(f"recipe.stages: train is {list(self.train)}; name some of {', '.join(TRAINED)}")

    @property
    def sides_px(self) -> list[int]:
        """Smaller sides that networks work at."""
        return [side for side in (self.side_px, self.motion_px) if side]

    @property
    def paints(self) -> bool:
        """Whether frames are needed: the motion network alone learns from keypoints."""
        return set(self.train) != {"motion"}


def stages_of(kind: type[StageT], entries: Sequence[StageT | Mapping[str, Any]]) -> list[StageT]:
    """The entries of `recipe.stages`, in order.

    Raises:
        ValueError: an option is unknown, or the stages are not in order.
    """
    known = [one.name for one in fields(kind)]  # pyright: ignore[reportArgumentType]
    stages: list[StageT] = []
    for entry in entries:
        if not isinstance(entry, Mapping):
            stages.append(entry)
            continue
        if unknown := [name for name in entry if name not in known]:
            raise ValueError(f"recipe.stages has no option {unknown[0]!r}; there are {', '.join(known)}")
        if "until" not in entry:
            raise ValueError("recipe.stages: every stage needs until, the first step after it")
        stages.append(kind(**entry))
    untils: list[int] = [stage.until for stage in stages]  # pyright: ignore[reportAttributeAccessIssue]
    if untils != sorted(set(untils)):
        raise ValueError("recipe.stages: give the stages in order of their `until` steps")
    return stages


EVERYTHING = Stage(until=2**62)
"""All networks at full side: what follows the last stage."""


class MovingAverage:
    """Exponential moving average of a module's weights; buffers (batch statistics) are taken as they are.

    The decay starts low, (1 + n) / (10 + n), so that a short run is not an average with its random start.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values: dict[str, Tensor] = {key: value.detach().clone() for key, value in module.state_dict().items()}
        self._trained = {name for name, _ in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take one step towards the module's present weights."""
        decay = min(self.decay, (1 + step) / (10 + step))
        present = module.state_dict()
        for key, value in present.items():
            # The module may have moved to an accelerator since; the average follows it once, not every step.
            if self.values[key].device != value.device:
                self.values[key] = self.values[key].to(value.device)
        averaged = [key for key, value in present.items() if key in self._trained and value.is_floating_point()]
        taken = [key for key in present if key not in self._trained or not present[key].is_floating_point()]
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
            [self.values[k] for k in averaged], [present[k] for k in averaged], 1 - decay
        )
        if taken:
            torch._foreach_copy_(  # pyright: ignore[reportPrivateImportUsage]
                [self.values[k] for k in taken], [present[k] for k in taken]
            )
