"""The stitching recipe: a finished base -> the modules that hold the shoulders still and set eyes and lips.

Appearance, motion, warping and generator are frozen (LivePortrait 3.3); only the three correction networks learn, from
cross-identity and cross-species pairs. A ruler of openings is trained first, on puppets, and stays frozen afterwards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.nn import functional as F

from finetune.landmarks import OpeningRuler, opening_loss
from finetune.losses import row_mean
from finetune.optimiser import Optimiser
from finetune.pairs import Batch
from finetune.recipe import Precision, Recipe
from lp_models import LivePortrait, posed_keypoints, source_keypoints
from lp_models.geometry import Motion

TERMS = ("stitch", "stitch_size", "eyes", "eyes_size", "eyes_still", "lips", "lips_size", "lips_still")
SHOULDERS = 1


@dataclass(frozen=True, kw_only=True)
class StitchingObjective:
    """Weights and target ranges; the fields are the `recipe.objective` options."""

    weights: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(TERMS, 1.0))
    eye_range: Sequence[float] = (0.0, 0.8)
    """Wanted eye openings are drawn from here (LivePortrait 3.3)."""
    lip_range: Sequence[float] = (0.0, 0.8)
    lip_zero_frac: float = 0.2
    """Share of rows whose lips should close: exactly 0."""
    border_frac: float = 0.06
    """Outer frame of the crop that counts as shoulders where no mask is known."""

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.weights) - set(TERMS)):
            raise ValueError(f"recipe.objective.weights has no term {unknown[0]!r}; there are {', '.join(TERMS)}")


class Poses(NamedTuple):
    """Keypoints of one step, all without gradient."""

    source: Float[Tensor, "B K 3"]
    driven: Float[Tensor, "B K 3"]
    """The source moved by another row's picture: another individual, often another species."""


class StitchingModule(Recipe):
    """One step of the three correction networks."""

    kind = "stitching"
    needs_labels = True

    def __init__(
        self,
        model: LivePortrait,
        objective: StitchingObjective,
        optimiser: Optimiser,
        ruler_steps: int = 400,
        ruler_lr: float = 2e-3,
        precision: Precision = "auto",
        seed: int = 0,
        features: object = None,
    ) -> None:
        super().__init__(model, optimiser, precision, seed)
        del features  # the same call builds every recipe; this one compares no features
        self.objective, self.ruler_steps, self.ruler_lr = objective, ruler_steps, ruler_lr
        self.ruler = OpeningRuler()
        for part in ("appearance", "motion", "warping", "generator"):
            model.get_submodule(part).requires_grad_(False)

    def announce(self) -> list[str]:
        """What is used and what is absent."""
        return [
            "frozen: appearance, motion, warping, generator; learning: stitching, eyes, lips",
            f"openings are measured by our ruler, trained on rows with truth in the first {self.ruler_steps} steps",
            "shoulders: exact masks on rows with labels; elsewhere what lies below and around the face",
        ]

    def helpers(self) -> dict[str, nn.Module]:
        """The ruler of openings; written beside the weights too."""
        return {"opening_ruler": self.ruler}

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam over the correction networks, and one over the ruler."""
        ruler = torch.optim.Adam(self.ruler.parameters(), lr=self.ruler_lr)
        return [self.optimiser.build(self.model, ("stitching",)), ruler]

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One step of the ruler while it learns, of the correction networks afterwards."""
        networks, ruler = self.all_optimisers()
        self._frozen_statistics()
        if self.step < self.ruler_steps:
            terms = self._ruler_step(ruler, batch)
        else:
            lr = self.optimiser.set_rates(networks.optimizer, self.step - self.ruler_steps, self._own_steps)
            terms = self.terms(batch)
            total = torch.stack([self.objective.weights.get(name, 0.0) * value for name, value in terms.items()]).sum()
            self.check({**terms, "total": total})
            networks.zero_grad()
            self.manual_backward(total)
            norm = self.clip(self.model.stitching)
            networks.step()
            terms |= {"total": total, "grad_norm": norm, "lr": torch.tensor(lr)}
        self.step, self.last_rows = self.step + 1, len(batch.source)
        if self.ema is not None:
            self.ema.update(self.model, max(0, self.step - self.ruler_steps))
        self.last_terms = {name: value.detach() for name, value in terms.items()}

    @property
    def _own_steps(self) -> int:
        return max(1, self.max_steps - self.ruler_steps)

    def _frozen_statistics(self) -> None:
        """Frozen networks keep their batch statistics too."""
        for part in ("appearance", "motion", "warping", "generator"):
            self.model.get_submodule(part).eval()

    def _ruler_step(self, opt: LightningOptimizer, batch: Batch) -> dict[str, Tensor]:
        self.ruler.requires_grad_(True)
        weight = batch.has_truth.float()
        losses = []
        for image, truth in ((batch.source, batch.source_truth), (batch.driving, batch.driving_truth)):
            # A jitter of the points: on outputs they are known only approximately.
            points = truth.points + 0.008 * torch.randn_like(truth.points)
            losses.append(opening_loss(self.ruler(image, points), truth.eye_open, truth.lip_open, weight))
        # Blur as generated frames have it.
        soft = F.interpolate(F.avg_pool2d(batch.source, 2), scale_factor=2.0, mode="bilinear")
        seen = self.ruler(soft, batch.source_truth.points)
        losses.append(opening_loss(seen, batch.source_truth.eye_open, batch.source_truth.lip_open, weight))
        loss = torch.stack(losses).mean()
        self.check({"ruler": loss})
        opt.zero_grad()
        self.manual_backward(loss)
        self.clip(self.ruler)
        opt.step()
        return {"ruler": loss}

    @torch.no_grad()
    def poses(self, batch: Batch, driver: int = 1) -> tuple[Float[Tensor, "B C D H W"], Poses]:
        """The source volumes and keypoints; each source is driven by the driving picture `driver` rows before."""
        with self.autocast():
            volume = self.model.appearance(batch.source)
            own: Motion = self.model.motion(batch.source)
            other: Motion = self.model.motion(batch.driving.roll(driver, dims=0))
        rotation = other.rotation()
        driven = posed_keypoints(own.canonical, rotation, other.delta, own.scale, other.shift)
        return volume, Poses(source_keypoints(own), driven)

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """All terms, unweighted."""
        self.ruler.requires_grad_(False)
        volume, poses = self.poses(batch)
        with torch.no_grad(), self.autocast():
            kept = self.model.drive(volume, poses.source, poses.source).float()
        side = kept.shape[-1]
        shoulders = shoulder_mask(batch, side, self.objective.border_frac)
        found = self._stitch_terms(volume, poses, kept, shoulders)
        draw = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
        return found | self._retarget_terms(volume, poses, kept, batch, draw)

    def _stitch_terms(
        self, volume: Tensor, poses: Poses, kept: Tensor, shoulders: Float[Tensor, "B 1 S S"]
    ) -> dict[str, Tensor]:
        """L_st = |(I_st - I_recon) shoulders|_1 + w |Delta_st|_1 (LivePortrait Eq. 5): only shoulders are compared."""
        stitched = self.model.stitching.stitch(poses.source, poses.driven)
        with self.autocast():
            image = self.model.drive(volume, poses.source, stitched).float()
        difference = ((image - kept).abs() * shoulders).sum(dim=(1, 2, 3)) / (3 * shoulders.sum(dim=(1, 2, 3)) + 1e-6)
        return {"stitch": difference.mean(), "stitch_size": (stitched - poses.driven).abs().mean()}

    def _retarget_terms(
        self, volume: Tensor, poses: Poses, kept: Tensor, batch: Batch, draw: torch.Generator
    ) -> dict[str, Tensor]:
        """L_eyes, L_lip: the opening measured on the output is the wanted one, the rest of the face stays."""
        num, points = len(kept), batch.source_truth.points
        with torch.no_grad():
            now = self.ruler(kept, points)
        low, high = self.objective.eye_range
        wanted_eyes = (torch.rand(num, 1, generator=draw) * (high - low) + low).to(kept.device)
        low, high = self.objective.lip_range
        wanted_lips = torch.rand(num, 1, generator=draw) * (high - low) + low
        closes = torch.rand(num, 1, generator=draw) < self.objective.lip_zero_frac
        wanted_lips = torch.where(closes, torch.zeros(()), wanted_lips).to(kept.device)
        delta_eyes = self.model.stitching.retarget_eyes(poses.source, torch.cat((now.eyes, wanted_eyes), dim=1))
        delta_lips = self.model.stitching.retarget_lips(poses.source, torch.cat((now.lips, wanted_lips), dim=1))
        with self.autocast():
            eyes_image = self.model.drive(volume, poses.source, poses.source + delta_eyes).float()
            lips_image = self.model.drive(volume, poses.source, poses.source + delta_lips).float()
        eyes, lips = self.ruler(eyes_image, points), self.ruler(lips_image, points)
        side = kept.shape[-1]
        beside_eyes = 1 - feature_mask(points[:, :2], points, side, 0.62)
        beside_lips = 1 - feature_mask(points[:, 3:].mean(dim=1, keepdim=True), points, side, 0.8)
        everyone = torch.ones(num, device=kept.device)
        return {
            "eyes": row_mean((eyes.eyes - wanted_eyes).abs().mean(dim=1), everyone),
            "eyes_size": delta_eyes.abs().mean(),
            "eyes_still": ((eyes_image - kept).abs() * beside_eyes).mean(),
            "lips": row_mean((lips.lips - wanted_lips).abs().mean(dim=1), everyone),
            "lips_size": delta_lips.abs().mean(),
            "lips_still": ((lips_image - kept).abs() * beside_lips).mean(),
        }

    def preview(self, batch: Batch) -> Tensor:
        """Stitched frames, each source driven by its own row."""
        with torch.no_grad():
            volume, poses = self.poses(batch, driver=0)
            stitched = self.model.stitching.stitch(poses.source, poses.driven)
            with self.autocast():
                return self.model.drive(volume, poses.source, stitched).float()


def shoulder_mask(batch: Batch, side_px: int, border_frac: float) -> Float[Tensor, "B 1 S S"]:
    """1 on shoulders: the labels where known; elsewhere the lower part of what lies well outside the face.

    There the face is an ellipse through the five points, and shoulders are what is below the mouth and outside it, with
    the lower border of the crop.
    """
    labels = F.interpolate((batch.source_labels == SHOULDERS).float()[:, None], size=(side_px, side_px), mode="nearest")
    points = batch.source_truth.points
    centre = points.mean(dim=1)
    eye_distance = (points[:, 0] - points[:, 1]).norm(dim=1).clamp(min=0.05)
    at = (torch.arange(side_px, device=points.device) + 0.5) / side_px
    x, y = at[None, None, :] - centre[:, 0, None, None], at[None, :, None] - centre[:, 1, None, None]
    outside = (x / 1.35).square() + (y / 1.6).square() > eye_distance[:, None, None].square()
    below = at[None, :, None] > points[:, 3:, 1].amax(dim=1)[:, None, None]
    guess = (outside & below) | (at > 1 - border_frac)[None, :, None]
    known = batch.has_labels[:, None, None, None].float()
    return known * labels + (1 - known) * guess.float()[:, None]


def feature_mask(
    centres: Float[Tensor, "B N 2"], points: Float[Tensor, "B 5 2"], side_px: int, reach: float
) -> Float[Tensor, "B 1 S S"]:
    """1 within `reach` eye distances of any centre."""
    radius = reach * (points[:, 0] - points[:, 1]).norm(dim=1).clamp(min=0.05)
    at = (torch.arange(side_px, device=points.device) + 0.5) / side_px
    x = at[None, None, None, :] - centres[:, :, 0, None, None]
    y = at[None, None, :, None] - centres[:, :, 1, None, None]
    return ((x.square() + y.square()) < radius[:, None, None, None].square()).any(dim=1, keepdim=True).float()
