"""Chosen modules -> low-rank updates of their weights, which alone learn (Hu et al. 2021, arXiv 2106.09685).

W = W_0 + (alpha / rank) B A for the weight of every convolution and linear layer, flattened to outputs x the rest. The
model always holds the sum: after each backward pass the gradient of W is turned into those of A and B by the chain
rule, after each step W is written anew. So there are no wrappers: exports, averages and checkpoints have official
names and merged weights, and a frame costs what it did.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lp_models import LivePortrait

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


@dataclass(frozen=True, kw_only=True)
class Lora:
    """The `recipe.lora` options.

    Raises:
        ValueError: the rank is below 1 or a module is unknown.
    """

    modules: Sequence[str] = ()
    """Modules that learn by low-rank updates only; empty: none."""
    rank: int = 8
    alpha: float = 8.0
    """The update is scaled by alpha / rank."""

    def __post_init__(self) -> None:
        known = ("appearance", "motion", "warping", "generator")
        if self.rank < 1:
            raise ValueError(f"recipe.lora.rank is {self.rank}; give 1 or more")
        if unknown := sorted(set(self.modules) - set(known)):
            raise ValueError(f"recipe.lora.modules names {unknown[0]!r}; the modules are {', '.join(known)}")

    def build(self, model: LivePortrait) -> "LowRank | None":
        """The updates, or None when no module is named."""
        return LowRank(model, self.modules, self.rank, self.alpha) if self.modules else None


class LowRank(nn.Module):
    """A, B and W_0 of every adapted weight; the model's own weights are kept at the sum.

    Spectral convolutions (in the generator) are left alone: their stored weight is not the one that acts.
    """

    def __init__(self, model: LivePortrait, modules: Sequence[str], rank: int, alpha: float) -> None:
        super().__init__()
        self.modules_adapted, self.scale = tuple(modules), alpha / rank
        self.names: list[str] = []
        # A plain list: the weights belong to the model and must not be registered twice.
        self._weights: list[nn.Parameter] = []
        self.down, self.up = nn.ParameterList(), nn.ParameterList()
        for part in modules:
            for name, layer in model.get_submodule(part).named_modules():
                if isinstance(layer, LAYERS) and isinstance(layer.weight, nn.Parameter):
                    self._adapt(f"{part}.{name}.weight", layer.weight, rank)

    def _adapt(self, name: str, weight: nn.Parameter, rank: int) -> None:
        outputs, rest = weight.flatten(1).shape
        rank = min(rank, outputs, rest)
        self.register_buffer(f"start_{len(self.names)}", weight.detach().clone())
        self.names.append(name)
        self._weights.append(weight)
        # B starts at zero: before the first step the model is what it was.
        self.down.append(nn.Parameter(torch.randn(rank, rest) * rest**-0.5))
        self.up.append(nn.Parameter(torch.zeros(outputs, rank)))

    def parameters_of(self, part: str) -> list[nn.Parameter]:
        """A and B of one module's weights."""
        chosen = [index for index, name in enumerate(self.names) if name.startswith(f"{part}.")]
        return [matrix for index in chosen for matrix in (self.down[index], self.up[index])]

    def open(self, part: str, learns: bool) -> None:
        """Let gradients reach an adapted module's weights, and nothing else in it."""
        for name, weight in zip(self.names, self._weights, strict=True):
            if name.startswith(f"{part}."):
                weight.requires_grad_(learns)

    def _entries(self) -> Iterator[tuple[nn.Parameter, nn.Parameter, nn.Parameter, Tensor]]:
        starts = (self.get_buffer(f"start_{index}") for index in range(len(self.names)))
        return zip(self._weights, self.down, self.up, starts, strict=True)

    @torch.no_grad()
    def collect(self) -> None:
        """dL/dA = c B^T dL/dW, dL/dB = c dL/dW A^T; the gradient of W is taken away."""
        for weight, down, up, _ in self._entries():
            if weight.grad is None:
                down.grad = up.grad = None
                continue
            slope = weight.grad.flatten(1).to(down.dtype)
            down.grad, up.grad = self.scale * up.mT @ slope, self.scale * slope @ down.mT
            weight.grad = None

    @torch.no_grad()
    def write(self) -> None:
        """W = W_0 + c B A, in place."""
        for weight, down, up, start in self._entries():
            weight.copy_(start + self.scale * (up @ down).view_as(start))
