"""A model on every process -> one whose weights, gradients and optimiser states are divided among them, and back.

FSDP2 (`fully_shard`) on each of the four networks. It wraps nothing, so names stay what they are, and manual backward
passes work. What is small (discriminators, correction networks) stays whole on every process; its gradients are
averaged by `average_gradients`.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from finetune.optimiser import MovingAverage

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def shard(model: nn.Module, parts: Iterable[str], mesh: "DeviceMesh") -> None:
    """Divide the named networks; batch statistics are shared on GPUs (torch has no such layer for CPUs).

    Args:
        model: holds the networks; equal on all processes.
        parts: names of its children.
        mesh: one dimension: the processes.
    """
    from torch.distributed.fsdp import fully_shard

    for part in parts:
        network = model.get_submodule(part)
        if mesh.device_type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
            model.add_module(part, network)
        # FSDP hangs its backward hooks on the outputs, where views cannot keep them through an in-place operation.
        network.register_forward_hook(_own_outputs)
        fully_shard(network.to(mesh.device_type), mesh=mesh)


def _own_outputs(module: nn.Module, inputs: object, outputs: Any) -> Any:  # noqa: ANN401  (what a network returns)
    from torch.utils._pytree import tree_map

    return tree_map(lambda value: value.clone() if isinstance(value, Tensor) and value._is_view() else value, outputs)


def like(value: Tensor, model_value: Tensor) -> Tensor:
    """A whole tensor, divided as another one is."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(model_value, DTensor):
        return value
    return distribute_tensor(value.to(model_value.device), model_value.device_mesh, model_value.placements)


def _local(value: Tensor) -> Tensor:
    """This process' part, in the same memory."""
    from torch.distributed.tensor import DTensor

    return value.to_local() if isinstance(value, DTensor) else value


class _Parts(nn.Module):
    """A module whose state is this process' part of another one's."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._values = {name: _local(value) for name, value in module.state_dict().items()}

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:  # pyright: ignore  # noqa: ANN401
        return self._values


class DividedAverage(MovingAverage):
    """A moving average that is divided as the model is; each process averages its own part."""

    def __init__(self, average: MovingAverage, model: nn.Module) -> None:
        self.decay, self._trained = average.decay, average._trained
        self.values = {name: like(average.values[name], value) for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take one step towards the module's present weights."""
        divided = self.values
        self.values = {name: _local(value) for name, value in divided.items()}
        super().update(_Parts(module), step)
        self.values = divided


def whole(tree: Any) -> Any:  # noqa: ANN401  (state dicts nest anything)
    """A state with all divided tensors put together; every process must call it."""
    from torch.distributed.tensor import DTensor

    if isinstance(tree, DTensor):
        return tree.full_tensor()
    if isinstance(tree, Mapping):
        return {key: whole(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [whole(value) for value in tree]
    return tree


def divided(state: Mapping[str, Any], optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimiser's whole state, its tensors divided as the parameters that they belong to."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    found = {}
    for number, values in state["state"].items():
        own = parameters[int(number)]
        found[number] = {
            name: like(value, own) if isinstance(value, Tensor) and value.shape == own.shape else value
            for name, value in values.items()
        }
    return {"state": found, "param_groups": state["param_groups"]}


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average the gradients of parameters that every process holds whole; those without one count as zero.

    Every process must call it with the same parameters.
    """
    import torch.distributed as dist
    from torch.distributed.tensor import DTensor

    chosen = [p for p in parameters if p.requires_grad and not isinstance(p, DTensor)]
    if not chosen:
        return
    present = torch.tensor([float(p.grad is not None) for p in chosen], device=chosen[0].device)
    dist.all_reduce(present, op=dist.ReduceOp.MAX)
    chosen = [p for p, is_present in zip(chosen, present.tolist(), strict=True) if is_present]
    if not chosen:
        return
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in chosen])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for parameter, slope in zip(chosen, flat.split([p.numel() for p in chosen]), strict=True):
        parameter.grad = slope.view_as(parameter).clone()
