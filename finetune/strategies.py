"""The `trainer` options and who started the process -> what Lightning's Trainer is given."""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class Several:
    """How several processes work together; `trainer.strategy`.

    Raises:
        ValueError: the kind is unknown or the time is not positive.
    """

    kind: Literal["ddp", "fsdp"] = "ddp"
    """ddp: every process holds everything. fsdp: the networks' weights, gradients and optimiser states are divided."""
    timeout_s: int = 600
    """A process that waits this long for another one gives up: a run whose other half died does not hang."""
    backend: str | None = None
    """nccl or gloo; null takes the one that suits the devices."""

    def __post_init__(self) -> None:
        if self.kind not in ("ddp", "fsdp"):
            raise ValueError(f"trainer.strategy.kind is {self.kind!r}; give ddp or fsdp")
        if self.timeout_s <= 0:
            raise ValueError(f"trainer.strategy.timeout_s is {self.timeout_s}; give seconds, such as 600")

    def build(self, world: int) -> "DDPStrategy | ModelParallelStrategy":
        """Lightning's object for `world` processes."""
        from datetime import timedelta

        from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy

        timeout = timedelta(seconds=self.timeout_s)
        if self.kind == "fsdp":
            return ModelParallelStrategy(
                data_parallel_size=world, tensor_parallel_size=1, process_group_backend=self.backend, timeout=timeout
            )
        # Each optimiser's loss reaches its own networks only, and stages freeze some: which ones is found at each step.
        return DDPStrategy(find_unused_parameters=True, process_group_backend=self.backend, timeout=timeout)


def trainer_options(given: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> tuple[dict[str, Any], int]:
    """Keyword arguments of lightning.Trainer, and the number of processes.

    torchrun and srun know how many processes there are on how many nodes; what they say counts.

    Args:
        given: the `trainer` options without `threads`; `strategy` is a Several, a name that Lightning knows, or absent.
        environ: the process' environment.

    Raises:
        ValueError: a GPU is asked for, and there is none.
    """
    options = dict(given)
    if options.get("accelerator") in ("gpu", "cuda"):
        import torch

        if not torch.cuda.is_available():
            raise ValueError("trainer.accelerator=gpu needs a GPU, and torch sees none; take trainer=cpu")
    if "TORCHELASTIC_RUN_ID" in environ:
        options["devices"] = int(environ["LOCAL_WORLD_SIZE"])
        options["num_nodes"] = int(environ["WORLD_SIZE"]) // options["devices"]
    elif int(environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_STEP_ID" in environ:
        from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

        options["num_nodes"] = int(environ["SLURM_NNODES"])
        options["devices"] = int(environ["SLURM_NTASKS"]) // options["num_nodes"]
        # SIGUSR1 and SIGTERM are ours: a checkpoint, and an exit code that says so.
        options["plugins"] = [*options.get("plugins", []), SLURMEnvironment(auto_requeue=False)]
    world = num_processes(options)
    strategy = options.get("strategy")
    if isinstance(strategy, Several):
        # One process needs no others, unless it is to be divided all the same.
        options["strategy"] = "auto" if world == 1 and strategy.kind == "ddp" else strategy.build(world)
    if world == 1:
        options.pop("sync_batchnorm", None)
    return options, world


def num_processes(options: Mapping[str, Any]) -> int:
    """Of `devices` (a number, a list, `auto` or -1 for all GPUs) on `num_nodes` nodes."""
    devices = options.get("devices", 1)
    if devices in ("auto", -1, "-1"):
        import torch

        count = torch.cuda.device_count() if options.get("accelerator") in ("gpu", "cuda", "auto") else 1
    elif isinstance(devices, str):
        count = len([part for part in devices.split(",") if part.strip()]) if "," in devices else int(devices)
    else:
        count = devices if isinstance(devices, int) else len(devices)
    return max(1, count) * int(options.get("num_nodes", 1))


def held_back(strategy: "Strategy") -> AbstractContextManager[None]:
    """Backward passes within it leave their gradients on this process; DDP averages them at the next one outside.

    FSDP averages at each pass: gradients that wait would have to be whole, and dividing them is what it is for.
    """
    from contextlib import nullcontext

    from lightning.pytorch.strategies import ParallelStrategy

    return strategy.block_backward_sync() if isinstance(strategy, ParallelStrategy) else nullcontext()
