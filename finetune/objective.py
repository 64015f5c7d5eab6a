"""One forward pass of the base model -> its loss terms, each over the rows on which it is true."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from data_pipeline.records import SPECIES
from finetune import losses
from finetune.forward import Forward, fit, forward_pass, rows_of
from finetune.guidance import FIVE_POINT_TIES, Guidance
from finetune.losses import SpatialTransform
from finetune.pairs import Annotation, Batch
from finetune.perceptual import FeatureNet, perceptual
from finetune.regions import Regions, crop, face_box, lip_box, shaped
from finetune.teachers.panel import Teachers

__all__ = ["ANIMAL_SWITCHES", "COPY_TERMS", "TERMS", "Cuts", "Forward", "Guidance", "Objective", "fit", "forward_pass"]

TERMS = (
    "reconstruction", "perceptual", "perceptual_face", "perceptual_lip",
    "gan", "gan_face", "gan_lip", "feature_matching", "feature_matching_face", "feature_matching_lip",
    "identity", "moved", "painted", "equivariance", "prior", "pose", "delta", "guide", "spans", "agreement", "guard",
    "flip",
)  # fmt: skip
COPY_TERMS = ("moved", "painted")
"""Those of models that copy pixels of the source."""
REGION_WEIGHTED = ("reconstruction", *COPY_TERMS)
"""Those in which eyes and mouth count more."""
ANIMAL_SWITCHES = ("pose_teacher", "guide_teacher", "identity", "perceptual_lip", "gan_lip")
"""What `recipe.objective.animals` can leave out on rows that show an animal."""
HUMAN = SPECIES.index("human")


class Marks(NamedTuple):
    """Keypoints of N pictures and what is known about where they should be."""

    keypoints: Float[Tensor, "N K 3"]
    landmarks: Float[Tensor, "N L 2"]
    points: Float[Tensor, "N 5 2"]
    known: Float[Tensor, " N"]
    """1 where the landmarks are known; elsewhere the five points are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cuts:
    """Face and lip crops of generated and wanted frames, of the same boxes; cut once, used by several terms."""

    face: tuple[Float[Tensor, "B 3 face_h face_w"], Float[Tensor, "B 3 face_h face_w"]] | None = None
    lip: tuple[Float[Tensor, "N 3 lip_h lip_w"], Float[Tensor, "N 3 lip_h lip_w"]] | None = None
    """Of the rows of `lip_rows` only; None when it names no row."""
    lip_rows: Bool[Tensor, " B"] | None = None


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The weighted sum that the base learns; the fields are the `recipe.objective` options.

    A term with weight 0 is not computed.
    """

    guidance: Guidance
    weights: Mapping[str, float] = field(default_factory=dict)
    """Per term of TERMS."""
    animals: Mapping[str, bool] = field(default_factory=dict)
    """Whether a term of ANIMAL_SWITCHES counts on rows that show an animal; true where not named."""
    regions: Regions = field(default_factory=Regions)
    region_boost: float = 2.0
    """Extra weight of eyes and mouth in the reconstruction."""
    guide_five_points: float = 0.5
    """Weight of rows that know only five points, against rows with landmarks."""
    prior_distance: float = 0.1
    """D_t: squared distance under which free keypoints repel each other."""
    equivariance_frac: float = 0.5
    """Share of the driving pictures that are warped and read again."""
    affine_sigma: float = 0.05
    spline_sigma: float = 0.005

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.weights) - set(TERMS)):
            raise ValueError(f"recipe.objective.weights has no term {unknown[0]!r}; there are {', '.join(TERMS)}")
        if self.weight("spans") and not self.guidance.spans:
            raise ValueError(
                "recipe.objective.weights.spans is above 0, but recipe.objective.guidance.spans names none"
            )
        if unknown := sorted(set(self.animals) - set(ANIMAL_SWITCHES)):
            raise ValueError(
                f"recipe.objective.animals has no switch {unknown[0]!r}; there are {', '.join(ANIMAL_SWITCHES)}"
            )

    def weight(self, term: str) -> float:
        """0 for a term that is not named."""
        return float(self.weights.get(term, 0.0))

    def any_weight(self, *terms: str) -> bool:
        """Whether one of them counts."""
        return any(self.weight(term) > 0 for term in terms)

    def rows(self, switch: str, batch: Batch) -> Bool[Tensor, " B"]:
        """Rows on which a switch of ANIMAL_SWITCHES is on: people always, animals where the recipe says so."""
        human = batch.species == HUMAN
        return torch.ones_like(human) if self.animals.get(switch, True) else human

    def mirror_rows(self, batch: Batch) -> Bool[Tensor, " B"] | None:
        """Rows of the flip term: animals whose pose nothing else supervises; None when the term is off."""
        if not self.weight("flip"):
            return None
        return (batch.species != HUMAN) & ~batch.has_truth

    def counts(self, batch: Batch, has_pose_teacher: bool = False) -> dict[str, float]:
        """Over how many rows or pictures each term is a mean; 0 where none has it."""
        num, cross, truth = float(len(batch.source)), batch.is_cross, batch.has_truth
        taught = self.rows("pose_teacher", batch) & ~truth & has_pose_teacher
        human = batch.species == HUMAN
        found: dict[str, float] = dict.fromkeys(map(str, TERMS), num)
        for region in ("gan_lip", "feature_matching_lip", "perceptual_lip", "identity"):
            found[region] = float(self.rows(region.replace("feature_matching", "gan"), batch).sum())
        found["prior"] = found["delta"] = 2 * num + float(cross.sum())
        found["guide"] = found["spans"] = 3 * num + float(cross.sum())
        found["pose"] = float(2 * truth.sum() + (truth & cross).sum() + 2 * taught.sum())
        found["agreement"] = float(cross.sum())
        found["guard"] = float(human.sum() + (human & ~cross).sum())
        found["flip"] = float(((batch.species != HUMAN) & ~truth).sum())
        return found

    def transform(self, num_rows: int, generator: torch.Generator) -> SpatialTransform | None:
        """The random warp of this step's equivariance rows, or None when the term is off."""
        num = round(num_rows * self.equivariance_frac)
        if self.weight("equivariance") == 0 or num == 0:
            return None
        return losses.random_transform(num, self.affine_sigma, self.spline_sigma, generator)

    def cuts(self, image: Float[Tensor, "B 3 S S"], batch: Batch, adversarial: bool) -> Cuts:
        """What the terms in force look at closely."""
        exact, target = batch.has_landmarks.float(), fit(batch.target, image.shape[-1])
        face = lip = lip_rows = None
        names = ("perceptual", "gan", "feature_matching") if adversarial else ("perceptual",)
        if self.any_weight(*(f"{name}_face" for name in names)):
            size = self.regions.face_size(image.shape[-1])
            box = shaped(face_box(batch.target_truth, exact), size)
            face = crop(image, box, size), crop(target, box, size)
        if self.any_weight(*(f"{name}_lip" for name in names)):
            size = self.regions.lip_size(image.shape[-1])
            wanted = [self.rows("perceptual_lip", batch)] if self.weight("perceptual_lip") else []
            wanted += [self.rows("gan_lip", batch)] if adversarial else []
            lip_rows = torch.stack(wanted).any(dim=0)
            if bool(lip_rows.any()):
                box = shaped(lip_box(batch.target_truth, exact), size)[lip_rows]
                lip = crop(image[lip_rows], box, size), crop(target[lip_rows], box, size)
        return Cuts(face=face, lip=lip, lip_rows=lip_rows)

    def terms(
        self, out: Forward, batch: Batch, features: FeatureNet | None, teachers: Teachers | None = None,
        cuts: Cuts | None = None,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Every term but the adversarial ones and the guard, unweighted."""
        found: dict[str, Tensor] = {}
        if out.image is not None:
            found |= self._region_terms(out.image, out.moved, batch)
            found |= self._picture_terms(out.image, batch, features, cuts or self.cuts(out.image, batch, False))
            if self.weight("identity") and teachers is not None and teachers.identity is not None:
                found["identity"] = self._identity(out.image, batch, teachers)
        if out.transform is not None:
            seen = out.own[len(batch.source) : len(batch.source) + len(out.warped)]
            found["equivariance"] = losses.equivariance(seen, out.warped, out.transform)
        if self.weight("prior"):
            found["prior"] = losses.keypoint_prior(out.own, self.guidance.keypoints, self.prior_distance)
        found |= self._motion_terms(out, batch, teachers)
        if self.weight("flip"):
            found["flip"] = self._flip(out, batch)
        return found

    def _motion_terms(self, out: Forward, batch: Batch, teachers: Teachers | None) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        cross, truth = batch.is_cross, batch.has_truth.float()
        motions = (out.source, out.driving, rows_of(out.target, cross))
        facts = (batch.source_truth, batch.driving_truth, Annotation(*(a[cross] for a in batch.target_truth)))
        weights = (truth, truth, truth[cross])
        if self.weight("pose"):
            angles = torch.cat([torch.stack((m.pitch_deg, m.yaw_deg, m.roll_deg), dim=1) for m in motions])
            pose, known = torch.cat([fact.pose_deg for fact in facts]), torch.cat(weights)
            if teachers is not None and teachers.pose is not None:
                pose, known = self._taught_pose(pose, known, batch, teachers)
            found["pose"] = losses.head_pose(angles, pose, known)
        if self.weight("delta"):
            found["delta"] = losses.deformation(torch.cat([m.delta for m in motions]))
        if self.any_weight("guide", "spans"):
            known = batch.has_landmarks.float()
            marks = self._marks(out, batch, (*facts, batch.target_truth), (known, known, known[cross], known), teachers)
            if self.weight("guide"):
                found["guide"] = self._guide(marks)
            if self.weight("spans"):
                spans = self.guidance.span_ties()
                found["spans"] = losses.span_guidance(marks.keypoints, marks.landmarks, spans, marks.known)
        if self.weight("agreement"):
            found["agreement"] = losses.agreement(out.driving.delta, out.target.delta, cross.float())
        return found

    def _picture_terms(
        self, image: Float[Tensor, "B 3 S S"], batch: Batch, features: FeatureNet | None, cuts: Cuts
    ) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        target = fit(batch.target, image.shape[-1])
        if features is None:
            return found
        if self.weight("perceptual"):
            found["perceptual"] = perceptual(features, image, target)
        if self.weight("perceptual_face") and cuts.face is not None:
            found["perceptual_face"] = perceptual(features, *cuts.face)
        if self.weight("perceptual_lip"):
            found["perceptual_lip"] = self._perceptual_lip(batch, features, cuts)
        return found

    def _region_terms(
        self, image: Float[Tensor, "B 3 S S"], moved: Float[Tensor, "B 3 S S"] | None, batch: Batch
    ) -> dict[str, Tensor]:
        """Terms that look more closely at eyes and mouth; those of COPY_TERMS where pixels are copied."""
        found: dict[str, Tensor] = {}
        if not self.any_weight(*REGION_WEIGHTED):
            return found
        side_px = image.shape[-1]
        target = fit(batch.target, side_px)
        where = losses.region_weight(batch.target_truth.points, side_px, self.region_boost)
        if self.weight("reconstruction"):
            found["reconstruction"] = losses.reconstruction(image, target, where)
        if self.weight("moved") and moved is not None:
            found["moved"] = losses.reconstruction(moved, target, where)
        if self.weight("painted") and moved is not None:
            found["painted"] = losses.painted(image, moved, where)
        return found

    def _perceptual_lip(self, batch: Batch, features: FeatureNet, cuts: Cuts) -> Float[Tensor, ""]:
        if cuts.lip is not None and cuts.lip_rows is not None:
            chosen = self.rows("perceptual_lip", batch)[cuts.lip_rows]
            if bool(chosen.any()):
                return perceptual(features, *(part[chosen] for part in cuts.lip))
        return batch.target.new_zeros(())

    def _identity(self, image: Float[Tensor, "B 3 S S"], batch: Batch, teachers: Teachers) -> Float[Tensor, ""]:
        assert teachers.identity is not None
        rows, points = self.rows("identity", batch), batch.target_truth.points
        if not bool(rows.any()):
            return image.new_zeros(())
        with torch.no_grad():
            wanted = teachers.identity(fit(batch.target, image.shape[-1])[rows], points[rows])
        seen = teachers.identity(image[rows], points[rows])
        return losses.identity_distance(seen, wanted, torch.ones(len(seen), device=image.device))

    def _taught_pose(
        self, pose: Float[Tensor, "N 3"], known: Float[Tensor, " N"], batch: Batch, teachers: Teachers
    ) -> tuple[Float[Tensor, "N 3"], Float[Tensor, " N"]]:
        """The teacher's angles on sources and drivings whose truth is unknown. Cross rows always have truth."""
        assert teachers.pose is not None
        asked = self.rows("pose_teacher", batch) & ~batch.has_truth
        if not bool(asked.any()):
            return pose, known
        with torch.no_grad():
            told = teachers.pose(torch.cat((batch.source[asked], batch.driving[asked])))
        index = asked.nonzero()[:, 0]
        index = torch.cat((index, index + len(asked)))
        return pose.index_copy(0, index, told.to(pose.dtype)), known.index_fill(0, index, 1.0)

    def _marks(
        self, out: Forward, batch: Batch, facts: Sequence[Annotation], weights: Sequence[Tensor],
        teachers: Teachers | None,
    ) -> Marks:  # fmt: skip
        """All own keypoints and the driven ones beside what is known of where they should be.

        Where a landmark teacher is given, it tells the landmarks of sources and drivings without any; the driving
        picture of such a row is its target too.
        """
        keypoints = torch.cat((out.own, out.kp_driving))
        landmarks = torch.cat([fact.landmarks for fact in facts])
        points = torch.cat([fact.points for fact in facts])
        known = torch.cat(list(weights))
        if teachers is not None and teachers.landmarks is not None:
            asked = self.rows("guide_teacher", batch) & ~batch.has_landmarks
            if bool(asked.any()):
                with torch.no_grad():
                    told = teachers.landmarks(torch.cat((batch.source[asked], batch.driving[asked])))
                index, num = asked.nonzero()[:, 0], len(asked)
                at = torch.cat((index, index + num, index + len(out.own)))
                landmarks = landmarks.index_copy(0, at, torch.cat((told, told[len(index) :])).to(landmarks.dtype))
                known = known.index_fill(0, at, 1.0)
        return Marks(keypoints, landmarks, points, known)

    def _guide(self, marks: Marks) -> Float[Tensor, ""]:
        """Guidance by landmarks where known, else by five points."""
        keypoints, landmarks, points, known = marks
        fine = losses.landmark_guidance(keypoints, landmarks, self.guidance.resolved(), known)
        coarse = losses.landmark_guidance(keypoints, points, FIVE_POINT_TIES, 1 - known)
        share = known.mean()
        return fine * share + self.guide_five_points * coarse * (1 - share)

    def _flip(self, out: Forward, batch: Batch) -> Float[Tensor, ""]:
        if out.mirrored is None:
            return out.own.new_zeros(())
        rows = self.mirror_rows(batch)
        assert rows is not None
        return losses.flip_consistency(rows_of(out.source, rows), out.mirrored, self.guidance.partners())

    def total(self, terms: Mapping[str, Tensor]) -> Float[Tensor, ""]:
        """The weighted sum; 0 without a gradient when no term has a row."""
        if not terms:
            return torch.zeros(())
        return torch.stack([self.weight(name) * value.float() for name, value in terms.items()]).sum()
