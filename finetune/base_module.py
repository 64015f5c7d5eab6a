"""The base recipe: batches -> better appearance, motion, warping and generator networks, one step at a time."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from finetune.discriminator import FrozenParameters, PatchDiscriminator
from finetune.losses import feature_matching, hinge_discriminator, hinge_generator
from finetune.objective import Forward, Objective, fit, forward_pass
from finetune.optimiser import EVERYTHING, TRAINED, Optimiser, Stage
from finetune.pairs import Batch
from finetune.perceptual import FeatureNet
from finetune.recipe import Precision, Recipe
from lp_models import LivePortrait


class BaseModule(Recipe):
    """One training step of the base: perceptual, adversarial and keypoint losses."""

    kind = "base"

    def __init__(  # noqa: PLR0913  (the recipe's parts, all by name)
        self,
        model: LivePortrait,
        objective: Objective,
        optimiser: Optimiser,
        features: nn.Module | None = None,
        discriminator: PatchDiscriminator | None = None,
        gan_from_step: int = 0,
        stages: Sequence[Stage | Mapping[str, Any]] = (),
        precision: Precision = "auto",
        seed: int = 0,
    ) -> None:
        super().__init__(model, optimiser, precision, seed)
        self.objective = objective
        # Teachers are neither trained nor saved.
        self.features = features
        wants_gan = objective.weight("gan") > 0 or objective.weight("feature_matching") > 0
        self.discriminator = discriminator if wants_gan else None
        self.gan_from_step = gan_from_step
        self.stages = [stage if isinstance(stage, Stage) else Stage(**stage) for stage in stages]
        if [stage.until for stage in self.stages] != sorted({stage.until for stage in self.stages}):
            raise ValueError("recipe.stages: give the stages in order of their `until` steps")
        model.stitching.requires_grad_(False)
        self.learning = [part for part in TRAINED if optimiser.module_lr.get(part, 1.0) > 0]

    def announce(self) -> list[str]:
        """What is used and what is absent, for the start of the log."""
        net = self.features
        lines = ["perceptual: off (no feature net)" if net is None else f"perceptual: {net.summary}"]
        lines.append(
            f"adversarial: patch discriminator from step {self.gan_from_step}" if self.discriminator else
            "adversarial: off (weights of gan and feature_matching are 0)"
        )  # fmt: skip
        if self.objective.weight("pose"):
            lines.append("head pose: exact on rows with truth; no pose teacher for other rows")
        lines.append("face identity: absent (needs a recognition network; not part of this version)")
        lines += [
            f"stage until step {stage.until}: {', '.join(stage.train)} learn"
            + (f", painting at {stage.side_px} px" if stage.side_px and stage.paints else "")
            + (f", motion read at {stage.motion_px} px" if stage.motion_px else "")
            for stage in self.stages
        ]
        on = {name: w for name, w in self.objective.weights.items() if w}
        lines.append("terms: " + ", ".join(f"{name} {weight:g}" for name, weight in on.items()))
        return lines

    def helpers(self) -> dict[str, nn.Module]:
        """The discriminator, if there is one."""
        return {} if self.discriminator is None else {"discriminator": self.discriminator}

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam over the four networks, and one over the discriminator."""
        optimisers: list[torch.optim.Optimizer] = [self.optimiser.build(self.model, TRAINED)]
        if self.discriminator is not None:
            optimisers.append(self.optimiser.build_discriminator(self.discriminator))
        return optimisers

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One step of the networks, and one of the discriminator once it takes part."""
        generator_opt = self.all_optimisers()[0]
        lr = self.optimiser.set_rates(generator_opt.optimizer, self.step, self.max_steps)
        stage = self.stage()
        for part in TRAINED:
            self.model.get_submodule(part).requires_grad_(part in self.learning and part in stage.train)
        adversarial = self.discriminator is not None and self.step >= self.gan_from_step and stage.paints
        out, terms = self.terms(batch, adversarial)
        total = self.objective.total(terms)
        self.check({**terms, "total": total})
        generator_opt.zero_grad(set_to_none=True)
        self.manual_backward(total)
        norm = self.clip(self.model)
        generator_opt.step()
        if adversarial and out.image is not None:
            terms["discriminator"] = self._discriminator_step(self.all_optimisers()[1], out.image.detach(), batch)
        self.step, self.last_rows = self.step + 1, len(batch.source)
        if self.ema is not None:
            self.ema.update(self.model, self.step)
        self.last_terms = {name: value.detach() for name, value in terms.items()}
        self.last_terms |= {"total": total.detach(), "grad_norm": norm, "lr": torch.tensor(lr)}

    def stage(self) -> Stage:
        """The stage in force."""
        return next((stage for stage in self.stages if self.step < stage.until), EVERYTHING)

    def terms(self, batch: Batch, adversarial: bool) -> tuple[Forward, dict[str, Tensor]]:
        """The forward pass and all generator-side terms, unweighted."""
        draw = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
        transform = self.objective.transform(len(batch.source), draw)
        if transform is not None:
            transform = type(transform)(*(value.to(self.device) for value in transform))
        with self.autocast():
            out = forward_pass(self.model, batch, transform, self.stage())
        features: FeatureNet | None = self.features  # pyright: ignore[reportAssignmentType]
        terms = self.objective.terms(out, batch, features)
        if adversarial:
            assert self.discriminator is not None
            assert out.image is not None
            with FrozenParameters(self.discriminator), self.autocast():
                fake = self.discriminator(out.image)
                with torch.no_grad():
                    real = self.discriminator(fit(batch.target, out.image.shape[-1]))
            terms["gan"] = hinge_generator(fake.scores)
            terms["feature_matching"] = feature_matching(real.features, fake.features)
        return out, terms

    def _discriminator_step(self, opt: LightningOptimizer, fake: Tensor, batch: Batch) -> Tensor:
        assert self.discriminator is not None
        rate = self.optimiser.discriminator_lr * self.optimiser.schedule(self.step, self.max_steps)
        for group in opt.optimizer.param_groups:
            group["lr"] = rate
        with self.autocast():
            real_scores = self.discriminator(fit(batch.target, fake.shape[-1])).scores
            loss = hinge_discriminator(real_scores, self.discriminator(fake).scores)
        opt.zero_grad()
        self.manual_backward(loss)
        self.clip(self.discriminator)
        opt.step()
        return loss

    def preview(self, batch: Batch) -> Tensor:
        """The outputs of a batch with the averaged weights, in eval mode, without changing anything."""
        model = self.averaged()
        model.eval()
        with torch.no_grad(), self.autocast():
            image = forward_pass(model, batch).image
        assert image is not None
        return image
