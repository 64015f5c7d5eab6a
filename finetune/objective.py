"""One forward pass of the base model and its loss terms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from finetune import losses
from finetune.losses import SpatialTransform, Tie
from finetune.optimiser import EVERYTHING, Stage
from finetune.pairs import Annotation, Batch
from finetune.perceptual import FeatureNet, perceptual
from lp_models import LivePortrait, posed_keypoints, source_keypoints
from lp_models.geometry import Motion, rotation_matrix

TERMS = (
    "reconstruction", "perceptual", "gan", "feature_matching", "equivariance", "prior", "pose", "delta", "guide",
    "agreement",
)  # fmt: skip
FIVE_POINT_TIES = (
    Tie((11, 13), (0,), (0,)),
    Tie((15, 16), (1,), (1,)),
    Tie((12,), (2,), (2,)),
    Tie((14,), (3,), (3,)),
    Tie((17,), (4,), (4,)),
)
"""Which keypoints the five points guide: lids' middles, nose, mouth corners."""


class Forward(NamedTuple):
    """What one pass gives; motions of source, driving and target (that of driving where they are one frame)."""

    image: Float[Tensor, "B 3 S S"] | None
    """None when only the motion network was asked."""
    kp_source: Float[Tensor, "B K 3"]
    kp_driving: Float[Tensor, "B K 3"]
    source: Motion
    driving: Motion
    target: Motion
    own: Float[Tensor, "N K 3"]
    """Keypoints of every picture read, each with its own canonical points: sources, drivings, cross targets."""
    warped: Float[Tensor, "E K 3"]
    """Keypoints of the first E drivings after a random warp."""
    transform: SpatialTransform | None


def _row(motion: Motion, rows: Tensor | slice) -> Motion:
    return Motion(*(value[rows] for value in motion))


def forward_pass(
    model: LivePortrait,
    batch: Batch,
    transform: SpatialTransform | None = None,
    stage: Stage = EVERYTHING,
) -> Forward:
    """Drive each source by its driving frame: x_d = s (x_c,source R_d + delta_d) + t.

    Scale and shift come from the target, which is the driving frame itself unless another identity drives: framing
    belongs to the picture that is wanted, pose and expression to the one that drives.

    Args:
        model: any size.
        batch: pictures at the side that the motion network reads.
        transform: the random warp of the equivariance rows.
        stage: says at which sides networks work, and whether a frame is painted at all.
    """
    num, cross = len(batch.source), batch.is_cross
    num_warped = 0 if transform is None else len(transform.theta)
    full = batch.source.shape[-1]
    images = [batch.source, batch.driving, fit(batch.target[cross], full)]
    if transform is not None:
        images.append(batch.driving[:num_warped])
    seen = fit(torch.cat(images), stage.motion_px or full)
    if transform is not None:
        seen = torch.cat([seen[:-num_warped], transform.warp(seen[-num_warped:])])
    motion: Motion = model.motion(seen)
    num_read = 2 * num + int(cross.sum())
    source, driving = _row(motion, slice(0, num)), _row(motion, slice(num, 2 * num))
    index = torch.arange(num, 2 * num, device=cross.device)
    index[cross] = torch.arange(2 * num, num_read, device=cross.device)
    target = _row(motion, index)
    rotation = rotation_matrix(driving.pitch_deg, driving.yaw_deg, driving.roll_deg + batch.roll_offset_deg)
    kp_source = source_keypoints(source)
    kp_driving = posed_keypoints(source.canonical, rotation, driving.delta, target.scale, target.shift)
    image = None
    if stage.paints:
        volume = model.appearance(fit(batch.source, stage.side_px or full))
        image = model.drive(volume, kp_source, kp_driving).float()
    everyone = source_keypoints(motion)
    return Forward(
        image=image, kp_source=kp_source, kp_driving=kp_driving,
        source=source, driving=driving, target=target, own=everyone[:num_read], warped=everyone[num_read:],
        transform=transform,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """Which keypoints are tied to which of the 70 landmarks; the fields are the `recipe.guidance` options.

    A tie is [keypoints, landmarks for x, landmarks for y]; the mean of the keypoints goes to the mean of the landmarks.
    """

    ties: Sequence[Sequence[Sequence[int]]]

    def resolved(self) -> list[Tie]:
        """As the loss wants them.

        Raises:
            ValueError: a tie does not have three parts.
        """
        if any(len(tie) != 3 or not all(tie) for tie in self.ties):
            raise ValueError("recipe.guidance.ties: each tie is [keypoints, landmarks for x, landmarks for y]")
        return [Tie(*(tuple(part) for part in tie)) for tie in self.ties]

    @property
    def keypoints(self) -> list[int]:
        """Every guided keypoint."""
        return sorted({k for tie in self.resolved() for k in tie.keypoints})


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The weighted sum that the base learns; the fields are the `recipe.objective` options.

    A term with weight 0 is not computed.
    """

    guidance: Guidance
    weights: Mapping[str, float] = field(default_factory=dict)
    """Per term of TERMS."""
    region_boost: float = 2.0
    """Extra weight of eyes and mouth in the reconstruction."""
    guide_five_points: float = 0.5
    """Weight of rows that know only five points, against rows with landmarks."""
    prior_distance: float = 0.02
    """D_t of the keypoint prior: squared distance below which free keypoints repel each other."""
    equivariance_frac: float = 0.25
    """Share of the rows on which equivariance is measured."""
    affine_sigma: float = 0.05
    spline_sigma: float = 0.005

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.weights) - set(TERMS)):
            raise ValueError(f"recipe.objective.weights has no term {unknown[0]!r}; there are {', '.join(TERMS)}")

    def weight(self, term: str) -> float:
        """0 for a term that is not named."""
        return float(self.weights.get(term, 0.0))

    def transform(self, num_rows: int, generator: torch.Generator) -> SpatialTransform | None:
        """The random warp of this step's equivariance rows, or None when the term is off."""
        num = round(num_rows * self.equivariance_frac)
        if self.weight("equivariance") == 0 or num == 0:
            return None
        return losses.random_transform(num, self.affine_sigma, self.spline_sigma, generator)

    def terms(self, out: Forward, batch: Batch, features: FeatureNet | None) -> dict[str, Tensor]:
        """Every term but the adversarial ones, unweighted."""
        found: dict[str, Tensor] = {}
        if out.image is not None:
            found |= self._picture_terms(out.image, batch, features)
        truth = batch.has_truth.float()
        cross = batch.is_cross
        if out.transform is not None:
            seen = out.own[len(cross) : len(cross) + len(out.warped)]
            found["equivariance"] = losses.equivariance(seen, out.warped, out.transform)
        if self.weight("prior"):
            found["prior"] = losses.keypoint_prior(out.own, self.guidance.keypoints, self.prior_distance)
        motions = (out.source, out.driving, _row(out.target, cross))
        facts = (batch.source_truth, batch.driving_truth, Annotation(*(a[cross] for a in batch.target_truth)))
        weights = (truth, truth, truth[cross])
        if self.weight("pose"):
            angles = torch.cat([torch.stack((m.pitch_deg, m.yaw_deg, m.roll_deg), dim=1) for m in motions])
            pose = torch.cat([fact.pose_deg for fact in facts])
            found["pose"] = losses.head_pose(angles, pose, torch.cat(weights))
        if self.weight("delta"):
            found["delta"] = losses.deformation(torch.cat([m.delta for m in motions]))
        if self.weight("guide"):
            found["guide"] = self._guide(out, batch, facts, weights)
        if self.weight("agreement"):
            found["agreement"] = losses.agreement(out.driving.delta, out.target.delta, cross.float())
        return found

    def _picture_terms(
        self, image: Float[Tensor, "B 3 S S"], batch: Batch, features: FeatureNet | None
    ) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        target = fit(batch.target, image.shape[-1])
        if self.weight("reconstruction"):
            where = losses.region_weight(batch.target_truth.points, target.shape[-1], self.region_boost)
            found["reconstruction"] = losses.reconstruction(image, target, where)
        if self.weight("perceptual") and features is not None:
            found["perceptual"] = perceptual(features, image, target)
        return found

    def _guide(
        self, out: Forward, batch: Batch, facts: tuple[Annotation, ...], weights: tuple[Tensor, ...]
    ) -> Float[Tensor, ""]:
        """Guidance of all own keypoints and of the driven ones, by landmarks where known, else by five points."""
        keypoints = torch.cat((out.own, out.kp_driving))
        all_facts = (*facts, batch.target_truth)
        landmarks = torch.cat([fact.landmarks for fact in all_facts])
        points = torch.cat([fact.points for fact in all_facts])
        known = torch.cat((*weights, batch.has_truth.float()))
        fine = losses.landmark_guidance(keypoints, landmarks, self.guidance.resolved(), known)
        coarse = losses.landmark_guidance(keypoints, points, FIVE_POINT_TIES, 1 - known)
        share = known.mean()
        return fine * share + self.guide_five_points * coarse * (1 - share)

    def total(self, terms: Mapping[str, Tensor]) -> Float[Tensor, ""]:
        """The weighted sum."""
        return torch.stack([self.weight(name) * value.float() for name, value in terms.items()]).sum()


def fit(image: Float[Tensor, "B 3 H W"], side_px: int) -> Float[Tensor, "B 3 S S"]:
    """A target at the side the generator gives."""
    if image.shape[-1] == side_px:
        return image
    return F.interpolate(image, size=(side_px, side_px), mode="bilinear", align_corners=False, antialias=True)
