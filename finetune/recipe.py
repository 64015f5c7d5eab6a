"""What every recipe shares: counting steps, precision, finite checks, clipping, and the state that resuming needs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import lightning
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from finetune.loss_scale import LossScale
from finetune.optimiser import TRAINED, MovingAverage, Optimiser
from finetune.pairs import Batch
from finetune.randomness import random_states, set_random_states
from lp_models import LivePortrait

Precision = Literal["auto", "fp32", "bf16", "fp16"]


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
        if precision not in ("auto", "fp32", "bf16", "fp16"):
            raise ValueError(f"recipe.precision is {precision!r}; give auto, fp32, bf16 or fp16")
        self.model, self.optimiser, self.precision, self.seed = model, optimiser, precision, seed
        self.step, self.max_steps = 0, 1
        self.ema = MovingAverage(model, optimiser.ema_decay) if optimiser.ema_decay > 0 else None
        self.loss_scale = LossScale() if precision == "fp16" else None
        self.is_sharded = False
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
        """16-bit numbers where the recipe asks for them; keypoints and losses leave it themselves."""
        enabled = has_bf16(self.device) if self.precision == "auto" else self.precision != "fp32"
        half = torch.float16 if self.precision == "fp16" else torch.bfloat16
        return torch.autocast(self.device.type, half, enabled=enabled)

    def configure_model(self) -> None:
        """Divide the networks among the processes where the strategy asks for it; Lightning calls it before fitting.

        Raises:
            ValueError: the recipe has parts that cannot be divided.
        """
        from lightning.pytorch.strategies import ModelParallelStrategy

        from finetune.sharding import DividedAverage, shard

        if self.is_sharded or not isinstance(self.trainer.strategy, ModelParallelStrategy):
            return
        if "lora" in self.helpers():
            raise ValueError("recipe.lora cannot be divided among processes; take trainer=gpu instead of trainer=fsdp")
        mesh = self.device_mesh
        assert mesh is not None
        shard(self.model, TRAINED, mesh["data_parallel"])
        self.is_sharded = True
        if self.ema is not None:
            self.ema = DividedAverage(self.ema, self.model)

    def all_optimisers(self) -> list[LightningOptimizer]:
        """The optimisers, networks first."""
        found = self.optimizers()
        return found if isinstance(found, list) else [found]  # pyright: ignore[reportReturnType]

    def manual_backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  (Lightning's signature)
        """Lightning's; with fp16 the loss is enlarged first, and `clip` brings the gradients back."""
        if self.loss_scale is not None:
            loss = loss * self.loss_scale.at(self.step)
        super().manual_backward(loss, *args, **kwargs)

    def clip(self, module: nn.Module) -> Tensor:
        """Limit the gradient's norm; returns it as it was. After an fp16 overflow there is none, and 0 is returned.

        Raises:
            TrainingDivergedError: it is not finite; names the first parameter.
        """
        if self.is_sharded:
            from finetune.sharding import average_gradients

            average_gradients(module.parameters())
        parameters = [p for p in module.parameters() if p.grad is not None]
        if self.loss_scale is not None:
            worst = self._first_bad_gradient(module)
            if not self.loss_scale.unscale(parameters):
                if self.loss_scale.is_exhausted:
                    self._diverged(f"the fp16 gradient of {worst} is not finite at any loss scale")
                return torch.zeros((), device=self.device)
        norm = nn.utils.clip_grad_norm_(parameters, self.optimiser.clip_norm)
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # pyright: ignore[reportAttributeAccessIssue]
        if not bool(norm.isfinite()):
            self._diverged(f"the gradient of {self._first_bad_gradient(module)} is not finite")
        return norm.detach()

    def _first_bad_gradient(self, module: nn.Module) -> str:
        found = (n for n, p in module.named_parameters() if p.grad is not None and not bool(p.grad.isfinite().all()))
        return next(found, "a parameter")

    def _diverged(self, what: str) -> None:
        raise TrainingDivergedError(f"step {self.step}: {what}")

    def check(self, tensors: Mapping[str, Tensor]) -> None:
        """Raise TrainingDivergedError with the name of the first tensor that is not finite."""
        for name, value in tensors.items():
            if not bool(value.detach().isfinite().all()):
                self._diverged(f"{name} is not finite")

    def averaged(self) -> LivePortrait:
        """A copy of the model with the averaged weights."""
        # Making networks draws numbers; looking at a run must not change what follows.
        with torch.random.fork_rng(devices=[]):
            twin = LivePortrait(self.model.config).to(self.device)
        twin.load_state_dict(self.model.state_dict() if self.ema is None else self.ema.values)
        return twin

    def training_state(self) -> dict[str, Any]:
        """Everything that resuming needs; tensors and plain values only. Divided tensors are put together."""
        state = {
            "kind": self.kind,
            "config": self.model.config.as_dict(),
            "model": self.model.state_dict(),
            "ema": None if self.ema is None else self.ema.values,
            "helpers": {name: module.state_dict() for name, module in self.helpers().items()},
            "optimisers": [opt.optimizer.state_dict() for opt in self.all_optimisers()],
            "loss_scale": None if self.loss_scale is None else self.loss_scale.state(),
            "last_terms": {name: float(value) for name, value in self.last_terms.items()},
            "rng": random_states(),
        }
        if self.is_sharded:
            from finetune.sharding import whole

            state = whole(state)
        return state

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
                try:
                    module.load_state_dict(state["helpers"][name])
                except RuntimeError as error:
                    raise ValueError(
                        f"the checkpoint's {name} does not fit recipe.{name}; change it back or choose another out="
                    ) from error
        if self.loss_scale is not None and state.get("loss_scale"):
            self.loss_scale.load(state["loss_scale"])
        self.step = int(state["step"])

    def load_optimisers(self, state: Mapping[str, Any]) -> None:
        """Take the optimisers from a checkpoint; after they exist.

        Raises:
            ValueError: the checkpoint's optimisers do not fit.
        """
        from finetune.sharding import divided

        try:
            for opt, saved in zip(self.all_optimisers(), state["optimisers"], strict=True):
                opt.optimizer.load_state_dict(divided(saved, opt.optimizer) if self.is_sharded else saved)
        except (ValueError, IndexError) as error:
            raise ValueError(
                "the checkpoint's optimisers do not fit: other modules learn now than then; change recipe back or "
                "choose another out="
            ) from error

    def load_random_states(self, state: Mapping[str, Any]) -> None:
        """Go on with this process' random numbers; right before the first step, because making a loader draws some."""
        own = state["rng"]
        set_random_states(own[min(self.global_rank, len(own) - 1)] if isinstance(own, list) else own)
