"""Losses -> larger ones, so that their fp16 gradients do not vanish; and gradients back to their size.

torch's GradScaler needs to run the optimiser's step itself. Here a step whose gradients overflowed simply loses them,
and an Adam without gradients does nothing: recipes need not know about it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(kw_only=True)
class LossScale:
    """One factor for all losses of a step; halved after an overflow, doubled after `grow_after` steps without."""

    value: float = 2.0**14
    grow_after: int = 1000
    good_steps: int = 0
    skipped: int = 0
    """Updates that were left out, in all."""
    _step: int = -1
    _overflowed: bool = False

    def at(self, step: int) -> float:
        """The factor of a step: it stays the same for all backward passes of the step."""
        if step != self._step:
            self._settle()
            self._step = step
        return self.value

    def _settle(self) -> None:
        if self._overflowed:
            self.value, self.good_steps = max(1.0, self.value / 2), 0
        elif self._step >= 0:
            self.good_steps += 1
            if self.good_steps >= self.grow_after:
                self.value, self.good_steps = min(2.0**24, self.value * 2), 0
        self._overflowed = False

    @torch.no_grad()
    def unscale(self, parameters: Iterable[nn.Parameter]) -> bool:
        """Divide gradients by the factor; take all away where one is not finite. Returns whether they are there."""
        slopes = [(p, p.grad) for p in parameters if p.grad is not None]
        for _, slope in slopes:
            slope.div_(self.value)
        if all(bool(slope.isfinite().all()) for _, slope in slopes):
            return True
        for parameter, _ in slopes:
            parameter.grad = None
        self._overflowed = True
        self.skipped += 1
        return False

    @property
    def is_exhausted(self) -> bool:
        """Gradients overflow though losses are not enlarged at all."""
        return self._overflowed and self.value <= 1

    def state(self) -> dict[str, Tensor | float | int]:
        """For a checkpoint, between two steps."""
        self._settle()
        self._step = -1
        return {"value": self.value, "good_steps": self.good_steps, "skipped": self.skipped}

    def load(self, state: dict[str, float]) -> None:
        """Go on from `state`."""
        self.value, self.good_steps = float(state["value"]), int(state["good_steps"])
        self.skipped, self._step, self._overflowed = int(state["skipped"]), -1, False
