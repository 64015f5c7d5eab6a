"""The motion of other rows -> driven keypoints, composed as inference composes them (docs/evaluation.md).

Stitching must see while it learns what it is given when it is used: relative and absolute motion of other individuals
(mostly of people, who drive animals), amplified motion, and faces whose eyes and lips were set without any driver.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from data_pipeline.records import SPECIES
from lp_models.geometry import Motion, posed_keypoints

HUMAN = SPECIES.index("human")


@dataclass(frozen=True, kw_only=True)
class Driving:
    """How rows are driven; the fields are the `recipe.driving` options.

    Raises:
        ValueError: a share is outside 0-1 or a range is upside down.
    """

    human_frac: float = 0.6
    """Share of rows that a person drives, where the batch has one in another row; the others take any other row."""
    absolute_frac: float = 0.25
    """Share of rows that take the driver's pose and expression instead of adding its change since a first frame."""
    multiplier: Sequence[float] = (0.8, 1.6)
    """Relative motion is amplified by a factor from here: as driving_multiplier and the fit to the source's size do."""
    retarget_frac: float = 0.15
    """Share of rows that no one drives, whose eyes and lips are set instead: stitching must leave those alone."""

    def __post_init__(self) -> None:
        for name in ("human_frac", "absolute_frac", "retarget_frac"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"recipe.driving.{name} is {getattr(self, name)}; give a share between 0 and 1")
        if len(self.multiplier) != 2 or not 0 <= self.multiplier[0] <= self.multiplier[1]:
            raise ValueError(f"recipe.driving.multiplier is {list(self.multiplier)}; give [lowest, highest]")


class Drawn(NamedTuple):
    """What is drawn for each row of a step."""

    partner: Int64[Tensor, " B"]
    """The row whose individual drives."""
    absolute: Bool[Tensor, " B"]
    multiplier: Float[Tensor, " B"]
    retargeted: Bool[Tensor, " B"]


def draw_drivers(species: Int64[Tensor, " B"], options: Driving, draw: torch.Generator) -> Drawn:
    """Choose every row's driver and rule. With a single row it drives itself."""
    num = len(species)
    uniform = torch.rand(5, num, generator=draw)
    others = torch.ones(num, num) - torch.eye(num)
    people = others * (species.cpu() == HUMAN).float()
    use_people = (uniform[0] < options.human_frac) & (people.sum(dim=1) > 0)
    weight = torch.where(use_people[:, None], people, others if num > 1 else torch.ones(1, 1))
    partner = (weight.cumsum(dim=1) / weight.sum(dim=1, keepdim=True) > uniform[1][:, None]).float().argmax(dim=1)
    low, high = options.multiplier
    return Drawn(
        partner.to(species.device), (uniform[2] < options.absolute_frac).to(species.device),
        (low + (high - low) * uniform[3]).to(species.device), (uniform[4] < options.retarget_frac).to(species.device),
    )  # fmt: skip


def driven_keypoints(
    source: Motion, first: Motion, now: Motion, is_human: Bool[Tensor, " B"], drawn: Drawn
) -> Float[Tensor, "B K 3"]:
    """Each row's canonical points in the motion of its driver; rows of `drawn.retargeted` stay as they are.

    Args:
        source: of the pictures that are moved.
        first: of the drivers' first frames, row by row as they drive.
        now: of the same individuals' present frames.
        is_human: rows whose source is a person: they also take over the driver's change of size (LivePortrait Eq. 7);
            for animals the change of place is measured in head sizes instead (rules=animal-stitched).
        drawn: from `draw_drivers`; its partners have been applied to `first` and `now`.
    """
    x_s = posed_keypoints(source.canonical, source.rotation(), source.delta, source.scale, source.shift)
    with torch.autocast(x_s.device.type, enabled=False):
        turned = now.rotation() @ first.rotation().mT @ source.rotation()
    growth, human = now.scale / first.scale, is_human[:, None]
    one = torch.ones_like(growth)
    relative = posed_keypoints(
        source.canonical, turned, source.delta + now.delta - first.delta,
        source.scale * torch.where(human, growth, one),
        source.shift + (now.shift - first.shift) * torch.where(human, one, source.scale / first.scale),
    )  # fmt: skip
    relative = x_s + (relative - x_s) * drawn.multiplier[:, None, None]
    absolute = posed_keypoints(source.canonical, now.rotation(), now.delta, source.scale, now.shift)
    driven = torch.where(drawn.absolute[:, None, None], absolute, relative)
    return torch.where(drawn.retargeted[:, None, None], x_s, driven)


def rows(motion: Motion, index: Int64[Tensor, " N"]) -> Motion:
    """The motions of some rows."""
    return Motion(*(value[index] for value in motion))
