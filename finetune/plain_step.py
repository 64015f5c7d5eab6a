"""The base's training step, written straight down: what `finetune/base_module.py` is measured against.

One process, fp32, one forward pass after the other, the terms as their equations, torch's Adam as it comes, the moving
average weight by weight. It gives the same losses and weights (tests/finetune/test_plain_step.py). Formulas without any
trick in them are shared (`finetune/losses.py`); everything that the real step does otherwise is here.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from finetune import losses
from finetune.base_module import BaseModule
from finetune.forward import rows_of
from finetune.guidance import FIVE_POINT_TIES
from finetune.losses import SpatialTransform
from finetune.optimiser import TRAINED
from finetune.pairs import Batch
from finetune.perceptual import FeatureNet
from finetune.quick_networks import restore
from lp_models import LivePortrait, posed_keypoints, source_keypoints
from lp_models.geometry import Motion, rotation_matrix

TERMS = ("reconstruction", "perceptual", "gan", "feature_matching", "equivariance", "prior", "pose", "delta", "guide",
         "agreement")  # fmt: skip
"""Those of recipe=base."""


class PlainStep:
    """Trains the networks of a base module, and its discriminator, in its place.

    Raises:
        ValueError: the recipe has terms, stages or helpers that are not written down here.
    """

    def __init__(self, module: BaseModule) -> None:
        on = {name for name, weight in module.objective.weights.items() if weight}
        extra = sorted(on - set(TERMS))
        if extra or module.stages or module.lora is not None or module.accumulate > 1:
            raise ValueError(
                f"the plain step knows the terms of recipe=base, without stages, lora and accumulation; not {extra}"
            )
        self.model: LivePortrait = module.model
        restore(module)
        self.model.stitching.requires_grad_(False)
        self.objective, self.numbers, self.seed = module.objective, module.optimiser, module.seed
        self.features: FeatureNet | None = module.features  # pyright: ignore[reportAttributeAccessIssue]
        self.discriminator = module.discriminator
        groups = [{"params": list(self.model.get_submodule(part).parameters()), "part": part} for part in TRAINED]
        betas = (self.numbers.betas[0], self.numbers.betas[1])
        self.adam = torch.optim.Adam(groups, lr=self.numbers.lr, betas=betas)
        judges = [] if self.discriminator is None else list(self.discriminator.parameters())
        self.judge_adam = torch.optim.Adam(judges, lr=self.numbers.discriminator_lr, betas=betas) if judges else None
        self.average = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.step, self.max_steps = 0, 1

    def __call__(self, batch: Batch) -> dict[str, float]:
        """One step; the values of the terms."""
        factor = self.numbers.schedule(self.step, self.max_steps)
        for group in self.adam.param_groups:
            group["lr"] = self.numbers.lr * factor * self.numbers.module_lr.get(group["part"], 1.0)
        image, terms = self.terms(batch)
        total = sum((self.objective.weight(name) * value for name, value in terms.items()), torch.zeros(()))
        self.adam.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.numbers.clip_norm)
        self.adam.step()
        if self.judge_adam is not None and self.discriminator is not None:
            real = self.discriminator(batch.target)
            fake = self.discriminator(image.detach())
            terms["discriminator"] = losses.hinge_discriminator(real.scores, fake.scores)
            self.judge_adam.param_groups[0]["lr"] = self.numbers.discriminator_lr * factor
            self.judge_adam.zero_grad()
            terms["discriminator"].backward()
            nn.utils.clip_grad_norm_(self.discriminator.parameters(), self.numbers.clip_norm)
            self.judge_adam.step()
        self.step += 1
        self.update_average()
        return {name: value.item() for name, value in terms.items()}

    def terms(self, batch: Batch) -> tuple[Float[Tensor, "B 3 S S"], dict[str, Tensor]]:
        """The output and all terms of the painter, unweighted."""
        source: Motion = self.model.motion(batch.source)
        driving: Motion = self.model.motion(batch.driving)
        target = self._target_motion(batch, driving)
        rotation = rotation_matrix(driving.pitch_deg, driving.yaw_deg, driving.roll_deg + batch.roll_offset_deg)
        kp_source = source_keypoints(source)
        kp_driving = posed_keypoints(source.canonical, rotation, driving.delta, target.scale, target.shift)
        volume = self.model.appearance(batch.source)
        image = self.model.drive(volume, kp_source, kp_driving, batch.source)
        terms = self._picture_terms(image, batch)
        terms |= self._motion_terms(batch, (source, driving, target), kp_driving)
        if self.discriminator is not None:
            fake = self.discriminator(image)
            real = self.discriminator(batch.target)
            terms["gan"] = losses.hinge_generator(fake.scores)
            pairs = zip(real.features, fake.features, strict=True)
            terms["feature_matching"] = torch.stack([F.l1_loss(f, r.detach()) for r, f in pairs]).mean()
        return image, {name: value for name, value in terms.items() if self.objective.weight(name)}

    def _target_motion(self, batch: Batch, driving: Motion) -> Motion:
        """Where another identity drives, the target is a third picture."""
        if not bool(batch.is_cross.any()):
            return driving
        side = batch.source.shape[-1]
        pictures = batch.target
        if pictures.shape[-1] != side:
            pictures = F.interpolate(pictures, (side, side), mode="bilinear", align_corners=False, antialias=True)
        own: Motion = self.model.motion(pictures[batch.is_cross])
        whole = [value.clone() for value in driving]
        for value, other in zip(whole, own, strict=True):
            value[batch.is_cross] = other.to(value.dtype)
        return Motion(*whole)

    def _picture_terms(self, image: Float[Tensor, "B 3 S S"], batch: Batch) -> dict[str, Tensor]:
        ours, theirs = image, batch.target
        where = losses.region_weight(batch.target_truth.points, theirs.shape[-1], self.objective.region_boost)
        scales = []
        for _ in range(3):
            scales.append(((ours - theirs) * where).abs().sum() / (3 * where.sum()))
            ours, theirs, where = F.avg_pool2d(ours, 2), F.avg_pool2d(theirs, 2), F.avg_pool2d(where, 2)
        found = {"reconstruction": torch.stack(scales).mean()}
        if self.features is not None:
            seen, wanted = self.features(image), self.features(batch.target)
            weights = self.features.layer_weights
            parts = [w * F.l1_loss(a, b.detach()) for w, a, b in zip(weights, seen, wanted, strict=True)]
            found["perceptual"] = torch.stack(parts).sum() / sum(weights)
        return found

    def _motion_terms(
        self, batch: Batch, motions: tuple[Motion, Motion, Motion], kp_driving: Float[Tensor, "B K 3"]
    ) -> dict[str, Tensor]:
        source, driving, target = motions
        cross, truth = batch.is_cross, batch.has_truth.float()
        facts = (batch.source_truth, batch.driving_truth, batch.target_truth)
        everyone = [source, driving, rows_of(target, cross)]
        own = torch.cat([source_keypoints(motion) for motion in everyone])
        keep = [slice(None), slice(None), cross]
        angles = torch.cat([torch.stack((m.pitch_deg, m.yaw_deg, m.roll_deg), dim=1) for m in everyone])
        pose = torch.cat([fact.pose_deg[rows] for fact, rows in zip(facts, keep, strict=True)])
        known = torch.cat([truth[rows] for rows in keep])
        marks = torch.cat([*(f.landmarks[r] for f, r in zip(facts, keep, strict=True)), facts[2].landmarks])
        points = torch.cat([*(f.points[r] for f, r in zip(facts, keep, strict=True)), facts[2].points])
        fine_rows, keypoints = torch.cat((known, truth)), torch.cat((own, kp_driving))
        fine = losses.landmark_guidance(keypoints, marks, self.objective.guidance.resolved(), fine_rows)
        coarse = losses.landmark_guidance(keypoints, points, FIVE_POINT_TIES, 1 - fine_rows)
        share = fine_rows.mean()
        found = {
            "prior": losses.keypoint_prior(own, self.objective.guidance.keypoints, self.objective.prior_distance),
            "pose": losses.head_pose(angles, pose, known),
            "delta": torch.cat([motion.delta for motion in everyone]).abs().mean(),
            "guide": fine * share + self.objective.guide_five_points * coarse * (1 - share),
            "agreement": losses.agreement(driving.delta, target.delta, cross.float()),
        }
        draw = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
        transform = self.objective.transform(len(batch.source), draw)
        if transform is not None:
            transform = SpatialTransform(*(value.to(batch.source.device) for value in transform))
            num = len(transform.theta)
            warped = source_keypoints(self.model.motion(bent(batch.driving[:num], transform)))
            seen = source_keypoints(rows_of(driving, slice(0, num)))
            found["equivariance"] = losses.equivariance(seen, warped, transform)
        return found

    def update_average(self) -> None:
        """The moving average, one tensor after the other."""
        decay = min(self.numbers.ema_decay, (1 + self.step) / (10 + self.step))
        trained = {name for name, _ in self.model.named_parameters()}
        for name, value in self.model.state_dict().items():
            if name in trained:
                self.average[name] = decay * self.average[name] + (1 - decay) * value
            else:
                self.average[name] = value.clone()


def bent(image: Float[Tensor, "B 3 H W"], transform: SpatialTransform) -> Float[Tensor, "B 3 H W"]:
    """The picture whose pixel p shows what the original has at T(p)."""
    height, width = image.shape[2:]
    y, x = (torch.linspace(-1, 1, n, device=image.device) for n in (height, width))
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(1, -1, 2)
    at = transform(grid.expand(len(image), -1, -1)).reshape(len(image), height, width, 2)
    return F.grid_sample(image, at, padding_mode="reflection", align_corners=True)
