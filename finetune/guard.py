"""A motion network before training -> how far the trained one has moved on people: the guard against forgetting.

A human drives an animal only while both are read into one motion space, so on human rows the new network must say what
the old one said (docs/losses.md). The frozen copy is that of the weights a run starts from. It is a helper of the
module, hence it lies in every checkpoint: a resumed run keeps the first start, even when the folder it came from has
changed or gone.
"""

import copy
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from data_pipeline.records import SPECIES
from finetune.losses import motion_guard
from finetune.pairs import Batch
from lp_models.geometry import Motion


class FrozenMotion(nn.Module):
    """A copy of a motion network that never learns."""

    def __init__(self, motion: nn.Module) -> None:
        super().__init__()
        self.motion = copy.deepcopy(motion).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "FrozenMotion":
        """Stays in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, image: Float[Tensor, "B 3 S S"]) -> Motion:
        """What the old network says."""
        return self.motion(image)

    def distance(self, source: Motion, driving: Motion, batch: Batch, side_px: int = 0) -> Float[Tensor, ""]:
        """L_guard over the human pictures of a batch; 0 when it has none.

        Args:
            source: what the new network says of all source pictures.
            driving: the same of the driving pictures.
            batch: the pictures.
            side_px: at which side the new network read them; 0 for the batch's own.
        """
        from finetune.forward import fit

        sources, drivings = human_rows(batch)
        if not bool((sources | drivings).any()):
            return source.scale.new_zeros(())
        images = torch.cat((batch.source[sources], batch.driving[drivings]))
        old = self(fit(images, side_px or images.shape[-1]))
        new = Motion(*(torch.cat((a[sources], b[drivings])) for a, b in zip(source, driving, strict=True)))
        return motion_guard(new, old)


def human_rows(batch: Batch) -> tuple[Bool[Tensor, " B"], Bool[Tensor, " B"]]:
    """Rows whose source shows a person, and rows whose driving picture surely does.

    `batch.species` is that of the source; who drives a cross row is not in the batch.
    """
    human = batch.species == SPECIES.index("human")
    return human, human & ~batch.is_cross


class Drift(NamedTuple):
    """Mean difference of two motion networks on people; angles in degrees, the rest in keypoint space."""

    pose_deg: float
    delta: float
    shift: float
    scale: float
    num_pictures: int
    """0: the batch shows nobody, and the other numbers are 0."""


@torch.no_grad()
def motion_drift(new: nn.Module, old: nn.Module, batch: Batch) -> Drift:
    """How far `new` has moved from `old` on the human pictures of a (held-out) batch."""
    sources, drivings = human_rows(batch)
    images = torch.cat((batch.source[sources], batch.driving[drivings]))
    if not len(images):
        return Drift(0.0, 0.0, 0.0, 0.0, 0)
    ours: Motion = new(images)
    theirs: Motion = old(images)

    def gap(a: Tensor, b: Tensor) -> float:
        return float((a - b).abs().mean())

    angles = [torch.stack((m.pitch_deg, m.yaw_deg, m.roll_deg)) for m in (ours, theirs)]
    return Drift(
        pose_deg=gap(*angles), delta=gap(ours.delta, theirs.delta), shift=gap(ours.shift[:, :2], theirs.shift[:, :2]),
        scale=gap(ours.scale, theirs.scale), num_pictures=len(images),
    )  # fmt: skip
