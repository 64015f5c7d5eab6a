"""Undriven, driven, stitched and retargeted pictures -> the terms of the stitching recipe (LivePortrait 3.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from finetune.landmarks import OpeningRuler
from finetune.losses import row_mean
from finetune.pairs import Batch
from finetune.shoulders import eyes_mask, head_mask, lips_mask, masked_mean, shoulder_mask

TERMS = (
    "stitch", "stitch_head", "stitch_size", "eyes", "eyes_size", "eyes_still", "lips", "lips_size", "lips_still",
)  # fmt: skip
LEARN = ("stitching", "openings")
"""What a stage can teach: the stitching module, and those of eyes and lips."""


@dataclass(frozen=True, kw_only=True)
class StitchingObjective:
    """Weights and target ranges; the fields are the `recipe.objective` options.

    Raises:
        ValueError: a term is unknown or a range is out of order.
    """

    weights: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(TERMS, 1.0))
    eye_range: Sequence[float] = (0.0, 0.8)
    """Wanted eye openings are drawn from here (LivePortrait 3.3)."""
    lip_range: Sequence[float] = (0.0, 0.8)
    lip_zero_frac: float = 0.2
    """Share of rows whose lips should close: exactly 0."""
    both_frac: float = 0.2
    """Share of rows in which eyes and lips are set together; the others set one of them."""
    condition_noise: float = 0.02
    """Spread of the error put on the source's openings: at use they are read or typed in, not known."""
    border_frac: float = 0.06
    """Lower part of the crop that counts as shoulders where no labels are known."""
    margin_frac: float = 0.03
    """Labelled shoulders this close to the head (share of the side) may change: a moving head covers them."""

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.weights) - set(TERMS)):
            raise ValueError(f"recipe.objective.weights has no term {unknown[0]!r}; there are {', '.join(TERMS)}")
        for name in ("eye_range", "lip_range"):
            low, high = getattr(self, name)
            if not 0 <= low <= high <= 2:
                raise ValueError(f"recipe.objective.{name} is {[low, high]}; give [lowest, highest] between 0 and 2")


@dataclass(frozen=True, kw_only=True)
class StitchingStage:
    """A stretch of a run: what learns and how it is judged; the entries of `recipe.stages`.

    Raises:
        ValueError: a part or a judge is unknown.
    """

    until: int
    """First step after the stage. The ruler's own steps count too: with recipe.ruler=FILE there are none."""
    learn: Sequence[str] = LEARN
    openings_by: str = "pictures"
    """`pictures`: the ruler reads them off painted frames. `keypoints`: by the way of lids and lips alone, which is so
    cheap that it is worth learning first (finetune/keypoint_openings.py)."""
    side_px: int = 0
    """Frames are painted at this smaller side; 0 for the model's own. The ruler wants the model's own."""
    batch_size: int = 0
    """Rows per step; 0 for data.batch_size."""

    def __post_init__(self) -> None:
        if not self.learn or set(self.learn) - set(LEARN):
            raise ValueError(f"recipe.stages: learn is {list(self.learn)}; name some of {', '.join(LEARN)}")
        if self.openings_by not in ("pictures", "keypoints"):
            raise ValueError(f"recipe.stages: openings_by is {self.openings_by!r}; choose pictures or keypoints")
        if self.until < 1 or self.batch_size < 0 or self.side_px < 0:
            raise ValueError("recipe.stages: give until of 1 or more, batch_size and side_px of 0 or more")
        if self.side_px and "openings" in self.learn:
            raise ValueError("recipe.stages: side_px is for learn: [stitching]; openings are read off full pictures")

    @property
    def sides_px(self) -> list[int]:
        """Smaller sides that networks work at."""
        return [self.side_px] if self.side_px else []

    @property
    def paints_openings(self) -> bool:
        """Whether frames with set eyes and lips are needed."""
        return "openings" in self.learn and self.openings_by == "pictures"

    @property
    def paints(self) -> bool:
        """Whether any frame is."""
        return "stitching" in self.learn or self.paints_openings


WHOLE = StitchingStage(until=2**62)
"""Everything, on the model's own pictures: what follows the last stage."""


class Poses(NamedTuple):
    """Keypoints of one step, all without gradient."""

    source: Float[Tensor, "B K 3"]
    driven: Float[Tensor, "B K 3"]
    """The source moved by another row's individual, often of another species."""


class Asked(NamedTuple):
    """What retargeting is given and what it should reach."""

    now_eyes: Float[Tensor, "B 2"]
    now_lips: Float[Tensor, "B 1"]
    eyes: Float[Tensor, "B 1"]
    """Wanted; one number for both eyes, as at inference (issue 154)."""
    lips: Float[Tensor, "B 1"]
    sets_eyes: Bool[Tensor, " B"]
    sets_lips: Bool[Tensor, " B"]


def ask(
    objective: StitchingObjective, eyes: Float[Tensor, "B 2"], lips: Float[Tensor, "B 1"], draw: torch.Generator
) -> Asked:
    """Draw wanted openings, and which part each row sets."""
    num, device = len(eyes), eyes.device
    uniform = torch.rand(num, 5, generator=draw)
    noise = (objective.condition_noise * torch.randn(num, 3, generator=draw)).to(device)
    low, high = objective.eye_range
    wanted_eyes = low + (high - low) * uniform[:, :1]
    low, high = objective.lip_range
    wanted_lips = (low + (high - low) * uniform[:, 1:2]) * (uniform[:, 2:3] >= objective.lip_zero_frac)
    both, eyes_only = uniform[:, 3] < objective.both_frac, uniform[:, 4] < 0.5
    return Asked(
        (eyes + noise[:, :2]).clamp(min=0), (lips + noise[:, 2:]).clamp(min=0), wanted_eyes.to(device),
        wanted_lips.to(device), (both | eyes_only).to(device), (both | ~eyes_only).to(device),
    )  # fmt: skip


def stitch_terms(
    objective: StitchingObjective,
    batch: Batch,
    kept: Float[Tensor, "B 3 S S"],
    moved: Float[Tensor, "B 3 S S"],
    held: Float[Tensor, "B 3 S S"],
    correction: Float[Tensor, "B K 3"],
) -> dict[str, Tensor]:
    """L_st = |(I_st - I_recon) shoulders| + |(I_st - I_driven) head| + |Delta_st| (Eq. 5; the second is ours).

    Args:
        objective: widths of the masks.
        batch: labels, points, species.
        kept: the source from its own keypoints.
        moved: driven, not stitched: where the head should be.
        held: driven and stitched.
        correction: what stitching added to the keypoints.
    """
    side, points = kept.shape[-1], batch.source_truth.points
    shoulders = shoulder_mask(
        batch.source_labels, batch.has_labels, points, batch.species, side, objective.border_frac, objective.margin_frac
    )
    all_shoulders = shoulder_mask(batch.source_labels, batch.has_labels, points, batch.species, side)
    head = head_mask(batch.source_labels, batch.has_labels, points, all_shoulders)
    return {
        "stitch": masked_mean((held - kept).abs(), shoulders).mean(),
        "stitch_head": masked_mean((held - moved).abs(), head).mean(),
        "stitch_size": correction.abs().mean(),
    }


def retarget_terms(
    ruler: OpeningRuler,
    batch: Batch,
    kept: Float[Tensor, "B 3 S S"],
    opened: Float[Tensor, "B 3 S S"],
    asked: Asked,
    delta_eyes: Float[Tensor, "B K 3"],
    delta_lips: Float[Tensor, "B K 3"],
) -> dict[str, Tensor]:
    """L_eyes, L_lip: the opening measured on the output is the wanted one, the rest of the picture stays (Eq. 6)."""
    points, side = batch.source_truth.points, kept.shape[-1]
    read = ruler(opened, points)
    changed = (opened - kept).abs()
    eyes, lips = eyes_mask(points, side), lips_mask(points, side)
    sets_eyes, sets_lips = asked.sets_eyes.float(), asked.sets_lips.float()
    # Rows that set both may change both.
    beside_eyes = masked_mean(changed, 1 - torch.maximum(eyes, lips * sets_lips[:, None, None, None]))
    beside_lips = masked_mean(changed, 1 - torch.maximum(lips, eyes * sets_eyes[:, None, None, None]))
    return {
        "eyes": row_mean((read.eyes - asked.eyes).abs().mean(dim=1), sets_eyes),
        "eyes_size": row_mean(delta_eyes.abs().mean(dim=(1, 2)), sets_eyes),
        "eyes_still": row_mean(beside_eyes, sets_eyes),
        "lips": row_mean((read.lips - asked.lips).abs().mean(dim=1), sets_lips),
        "lips_size": row_mean(delta_lips.abs().mean(dim=(1, 2)), sets_lips),
        "lips_still": row_mean(beside_lips, sets_lips),
    }
