"""What every recipe shares: counting steps, precision, finite checks, clipping, and the state that resuming needs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import lightning
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from finetune.optimiser import MovingAverage, Optimiser
from finetune.pairs import Batch
from lp_models import LivePortrait

Precision = Literal["auto", "fp32", "bf16"]


class TrainingDivergedError(ValueError):
    """A number stopped being finite; the message names the first one."""


def has_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is fast there: it is emulated, slowly, on CPUs without the instructions."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.backends.cpu.get_cpu_capability()
    return device.type == "cpu" and "avx512" in capabilities.lower() and _cpu_flag("avx512_bf16")


def _cpu_flag(name: str) -> bool:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return any(name in line.split() for line in lines if line.startswith("flags"))
    except OSError:
        return False


class Recipe(lightning.LightningModule):
    """A training step by hand. Steps are counted here: Lightning counts every optimiser's."""

    kind: ClassVar[str]
    needs_labels: ClassVar[bool] = False

    def __init__(self, model: LivePortrait, optimiser: Optimiser, precision: Precision, seed: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        if precision not in ("auto", "fp32", "bf16"):
            raise ValueError(f"recipe.precision is {precision!r}; give auto, fp32 or bf16")
        self.model, self.optimiser, self.precision, self.seed = model, optimiser, precision, seed
        self.step, self.max_steps = 0, 1
        self.ema = MovingAverage(model, optimiser.ema_decay) if optimiser.ema_decay > 0 else None
        self.last_terms: dict[str, Tensor] = {}
        self.last_rows = 0

    def announce(self) -> list[str]:
        """What is used and what is absent, for the start of the log."""
        raise NotImplementedError

    def preview(self, batch: Batch) -> Tensor:
        """Pictures to look at, made with the averaged weights, without changing anything."""
        raise NotImplementedError

    def helpers(self) -> dict[str, nn.Module]:
        """Networks that are trained beside the model, for checkpoints."""
        return {}

    def autocast(self) -> torch.autocast:
        """bfloat16 where the recipe asks for it; keypoints and losses leave it themselves."""
        enabled = has_bf16(self.device) if self.precision == "auto" else self.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def all_optimisers(self) -> list[LightningOptimizer]:
        """The optimisers, networks first."""
        found = self.optimizers()
        return found if isinstance(found, list) else [found]  # pyright: ignore[reportReturnType]

    def clip(self, module: nn.Module) -> Tensor:
        """Limit the gradient's norm; returns it as it was.

        Raises:
            TrainingDivergedError: it is not finite; names the first parameter.
        """
        parameters = [p for p in module.parameters() if p.grad is not None]
        norm = nn.utils.clip_grad_norm_(parameters, self.optimiser.clip_norm)
        if not bool(norm.isfinite()):
            names = (n for n, p in module.named_parameters() if p.grad is not None and not p.grad.isfinite().all())
            raise TrainingDivergedError(
                f"step {self.step}: the gradient of {next(names, 'a parameter')} is not finite; run again to go on "
                "from the last checkpoint with a lower recipe.optimiser.lr or recipe.precision=fp32"
            )
        return norm.detach()

    def check(self, tensors: Mapping[str, Tensor]) -> None:
        """Raise TrainingDivergedError with the name of the first tensor that is not finite."""
        for name, value in tensors.items():
            if not bool(value.detach().isfinite().all()):
                raise TrainingDivergedError(
                    f"step {self.step}: {name} is not finite; run again to go on from the last checkpoint with a lower "
                    "recipe.optimiser.lr or recipe.precision=fp32"
                )

    def averaged(self) -> LivePortrait:
        """A copy of the model with the averaged weights."""
        twin = LivePortrait(self.model.config).to(self.device)
        twin.load_state_dict(self.model.state_dict() if self.ema is None else self.ema.values)
        return twin

    def training_state(self) -> dict[str, Any]:
        """Everything that resuming needs; tensors and plain values only."""
        return {
            "kind": self.kind,
            "config": self.model.config.as_dict(),
            "model": self.model.state_dict(),
            "ema": None if self.ema is None else self.ema.values,
            "helpers": {name: module.state_dict() for name, module in self.helpers().items()},
            "optimisers": [opt.optimizer.state_dict() for opt in self.all_optimisers()],
            "rng": torch.get_rng_state(),
        }

    def load_networks(self, state: Mapping[str, Any]) -> None:
        """Take networks, average and step from a checkpoint; before fit.

        Raises:
            ValueError: the checkpoint is of another recipe or model size.
        """
        if state["kind"] != self.kind or state["config"] != self.model.config.as_dict():
            raise ValueError(
                f"the checkpoint is of recipe {state['kind']} and model {state['config']['name']}, not of "
                f"{self.kind} and {self.model.config.name}; choose another out="
            )
        self.model.load_state_dict(state["model"])
        if self.ema is not None and state["ema"] is not None:
            self.ema.values = dict(state["ema"])
        for name, module in self.helpers().items():
            if name in state["helpers"]:
                module.load_state_dict(state["helpers"][name])
        self.step = int(state["step"])

    def load_optimisers(self, state: Mapping[str, Any]) -> None:
        """Take the optimisers and the random state from a checkpoint; after they exist."""
        for opt, saved in zip(self.all_optimisers(), state["optimisers"], strict=True):
            opt.optimizer.load_state_dict(saved)
        torch.set_rng_state(state["rng"])
