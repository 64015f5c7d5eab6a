"""The base recipe: batches -> better appearance, motion, warping and generator networks, one step at a time."""

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from finetune.adversary import Judges, Views
from finetune.announcement import lines
from finetune.discriminator import PatchDiscriminator
from finetune.divisors import divisors, judges_total, mean_of_processes, weighted, world_size
from finetune.forward import Forward, fit, forward_pass
from finetune.guard import Drift, FrozenMotion, motion_drift
from finetune.lora import Lora
from finetune.micro_batches import micro_batches
from finetune.objective import COPY_TERMS, Cuts, Objective
from finetune.optimiser import EVERYTHING, TRAINED, Optimiser, Stage, stages_of
from finetune.pairs import Batch
from finetune.perceptual import FeatureNet
from finetune.quick_networks import quicken
from finetune.recipe import Precision, Recipe
from finetune.recompute import recompute
from finetune.strategies import held_back
from finetune.teachers.panel import TeacherFiles
from lp_models import LivePortrait


class BaseModule(Recipe):
    """One training step of the base: picture, adversarial, keypoint and teacher losses."""

    kind = "base"

    def __init__(  # noqa: PLR0913  (the recipe's parts, all by name)
        self,
        model: LivePortrait,
        objective: Objective,
        optimiser: Optimiser,
        features: nn.Module | None = None,
        discriminator: PatchDiscriminator | None = None,
        face_discriminator: PatchDiscriminator | None = None,
        lip_discriminator: PatchDiscriminator | None = None,
        r1: float = 0.0,
        r1_every: int = 16,
        gan_from_step: int = 0,
        stages: Sequence[Stage | Mapping[str, Any]] = (),
        teachers: object = None,
        lora: Lora | None = None,
        accumulate: int = 1,
        recompute_modules: Sequence[str] = (),
        compile_modules: Sequence[str] = (),
        precision: Precision = "auto",
        seed: int = 0,
    ) -> None:
        super().__init__(model, optimiser, precision, seed)
        if teachers is not None and not isinstance(teachers, TeacherFiles):
            raise ValueError("recipe.teachers must be the `teachers` options; leave it at ${teachers}")
        for name, value in (("accumulate", accumulate), ("r1_every", r1_every)):
            if value < 1:
                raise ValueError(f"recipe.{name} is {value}; give 1 or more")
        if objective.any_weight(*COPY_TERMS) and not model.config.copies_pixels:
            raise ValueError(
                f"recipe.objective.weights: {' and '.join(COPY_TERMS)} are about the moved source picture, and this "
                "model has copies_pixels=false; leave them at 0"
            )
        self.objective, self.accumulate = objective, accumulate
        # Teachers are neither trained nor saved.
        self.teachers = None if teachers is None else teachers.load()
        told = None if self.teachers is None else self.teachers.features
        self.features = told if told is not None and getattr(features, "is_stand_in", True) else features
        self.judges = Judges(self._wanted(discriminator, face_discriminator, lip_discriminator), r1, r1_every)
        self.gan_from_step = gan_from_step
        self.stages = stages_of(Stage, stages)
        model.stitching.requires_grad_(False)
        self.learning = [part for part in TRAINED if optimiser.module_lr.get(part, 1.0) > 0]
        self.guard = FrozenMotion(model.motion) if objective.weight("guard") else None
        self.lora = None if lora is None else lora.build(model)
        self._open: Stage | None = None
        self._divisors: dict[str, float] = {}
        # Before the networks are wrapped: the same sums in another order.
        quicken(self)
        recompute(model, recompute_modules)
        for part in compile_modules:
            # In place: names of the state dict stay what they are.
            model.get_submodule(part).compile()

    def _wanted(self, *nets: PatchDiscriminator | None) -> dict[str, PatchDiscriminator]:
        """The discriminators whose terms have weight.

        Raises:
            ValueError: a term has weight and no discriminator.
        """
        wanted: dict[str, PatchDiscriminator] = {}
        for region, net in zip(("", "_face", "_lip"), nets, strict=True):
            if self.objective.any_weight(f"gan{region}", f"feature_matching{region}"):
                if net is None:
                    name = f"{region[1:]}_discriminator" if region else "discriminator"
                    raise ValueError(f"recipe.objective.weights.gan{region} needs recipe.{name}; give one, or weight 0")
                wanted[region] = net
        return wanted

    @property
    def discriminator(self) -> nn.Module | None:
        """That of the whole frame."""
        return dict(self.judges.named()).get("")

    def announce(self) -> list[str]:
        """What is used and what is absent, for the start of the log."""
        return lines(self)

    def helpers(self) -> dict[str, nn.Module]:
        """Discriminators, the guard's frozen start, low-rank updates: what checkpoints hold beside the model."""
        found: dict[str, nn.Module] = {f"{region[1:]}_discriminator" if region else "discriminator": net
                                       for region, net in self.judges.named()}  # fmt: skip
        if self.guard is not None:
            found["guard"] = self.guard
        if self.lora is not None:
            found["lora"] = self.lora
        return found

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam over the four networks, and one over the discriminators."""
        instead = {part: self.lora.parameters_of(part) for part in self.lora.modules_adapted} if self.lora else None
        optimisers: list[torch.optim.Optimizer] = [self.optimiser.build(self.model, TRAINED, instead)]
        if len(self.judges.nets):
            optimisers.append(self.optimiser.build_discriminator(self.judges))
        return optimisers

    def on_fit_start(self) -> None:
        """Lightning warns of modules in eval mode: here they are teachers and the guard, meant to be."""
        warnings.filterwarnings("ignore", ".*in eval mode at the start of training.*")

    def on_train_start(self) -> None:
        """Lightning has just put every module into training mode."""
        self._open = None

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One step of the networks, and one of the discriminators once they take part."""
        generator_opt = self.all_optimisers()[0]
        stage = self.stage()
        lr = self.optimiser.set_rates(generator_opt.optimizer, self.step, self.max_steps, stage.module_lr)
        self.open(stage)
        adversarial = len(self.judges.nets) > 0 and self.step >= self.gan_from_step and stage.paints
        generator_opt.zero_grad(set_to_none=True)
        terms, views = self.accumulated(batch, adversarial)
        if self.lora is not None:
            self.lora.collect()
        norm = self.clip(self.model if self.lora is None else nn.ModuleList((self.model, self.lora)))
        generator_opt.step()
        if self.lora is not None:
            self.lora.write()
        if adversarial:
            terms |= self._discriminator_step(self.all_optimisers()[1], views)
        self.step, self.last_rows = self.step + 1, len(batch.source)
        if self.ema is not None:
            self.ema.update(self.model, self.step)
        self.last_terms = terms | {"grad_norm": norm, "lr": torch.tensor(lr)}

    def accumulated(self, batch: Batch, adversarial: bool) -> tuple[dict[str, Tensor], list[Views]]:
        """Backward passes of all parts of a batch: the terms, their weighted total, and what the judges will see.

        A term of a part counts by the part's share of the rows that the term is a mean over, so that the sum is the
        whole batch's. (Batch statistics are those of each part, and the spline warps are drawn for each.) Among several
        processes gradients are those of the mean over the rows of all; what is returned is about this process' rows.
        """
        found: dict[str, Tensor] = {}
        views: list[Views] = []
        is_whole = self.accumulate == 1 and world_size() == 1
        whole = {} if is_whole else divisors(self.objective, batch, self.teachers)
        self._divisors = mean_of_processes(whole, self.device)
        for index, part in enumerate(micro_batches(batch, self.accumulate)):
            out, terms, seen = self._pass(part, adversarial, index)
            told = terms
            if whole:
                own = divisors(self.objective, part, self.teachers)
                told, terms = weighted(terms, own, whole), weighted(terms, own, self._divisors)
            total = self.objective.total(terms)
            if not bool(total.detach().isfinite()):
                self.check({**({} if out.image is None else {"frame": out.image}), **terms, "total": total})
            self._backward(
                total, [out.own] if out.image is None else [out.own, out.image], index + 1 == self.accumulate
            )
            views.append({region: (fake.detach(), real) for region, (fake, real) in seen.items()})
            for name, value in {**told, "total": total if told is terms else self.objective.total(told)}.items():
                found[name] = found[name] + value.detach() if name in found else value.detach()
        return found, views

    def _backward(self, total: Tensor, reach: Sequence[Tensor], is_last: bool) -> None:
        """The backward pass of one part of a step; processes average their gradients at the last one.

        Args:
            total: what is minimised; without a gradient where no row of the part has a term.
            reach: what depends on the parameters that learn. A process without such a row takes part all the same,
                with gradients of zero: the others would wait for it.
            is_last: of the parts.
        """
        if world_size() > 1 and not total.requires_grad:
            total = torch.stack([0 * value.float().sum() for value in reach]).sum()
        if total.requires_grad:
            with nullcontext() if is_last or world_size() == 1 else held_back(self.trainer.strategy):
                self.manual_backward(total)

    def open(self, stage: Stage) -> None:
        """Let the stage's modules learn; the others keep their weights and their batch statistics."""
        if stage is self._open:
            return
        self._open = stage
        for part in TRAINED:
            learns = part in self.learning and part in stage.train and stage.module_lr.get(part, 1.0) > 0
            module = self.model.get_submodule(part)
            adapted = self.lora is not None and part in self.lora.modules_adapted
            module.requires_grad_(learns and not adapted).train(learns)
            if adapted and self.lora is not None:
                self.lora.open(part, learns)

    def stage(self) -> Stage:
        """The stage in force."""
        return next((stage for stage in self.stages if self.step < stage.until), EVERYTHING)

    def terms(self, batch: Batch, adversarial: bool) -> tuple[Forward, dict[str, Tensor]]:
        """The forward pass and all generator-side terms, unweighted."""
        return self._pass(batch, adversarial, 0)[:2]

    def _pass(self, batch: Batch, adversarial: bool, part: int) -> tuple[Forward, dict[str, Tensor], Views]:
        draw = torch.Generator().manual_seed((self.seed * 1_000_003 + self.step) + part * 7_919)
        transform = self.objective.transform(len(batch.source), draw)
        if transform is not None:
            transform = type(transform)(*(value.to(self.device) for value in transform))
        stage = self.stage()
        with self.autocast():
            out = forward_pass(self.model, batch, transform, stage, self.objective.mirror_rows(batch))
        features: FeatureNet | None = self.features  # pyright: ignore[reportAssignmentType]
        cuts = None if out.image is None else self.objective.cuts(out.image, batch, adversarial)
        terms = self.objective.terms(out, batch, features, self.teachers, cuts)
        if self.guard is not None:
            with self.autocast():
                terms["guard"] = self.guard.distance(out.source, out.driving, batch, stage.motion_px)
        views: Views = {}
        if adversarial and out.image is not None and cuts is not None:
            views = self._views(out.image, batch, cuts)
            with self.autocast():
                terms |= self.judges.generator_terms(views)
        return out, terms, views

    def _views(self, image: Tensor, batch: Batch, cuts: Cuts) -> Views:
        """What each judge sees: the lips only of rows that the recipe allows."""
        views = {"": (image, fit(batch.target, image.shape[-1]))}
        if cuts.face is not None:
            views["_face"] = cuts.face
        if cuts.lip is not None and cuts.lip_rows is not None:
            chosen = self.objective.rows("gan_lip", batch)[cuts.lip_rows]
            if bool(chosen.any()):
                views["_lip"] = (cuts.lip[0][chosen], cuts.lip[1][chosen])
        return {region: views[region] for region, _ in self.judges.named() if region in views}

    def _discriminator_step(self, opt: LightningOptimizer, views: Sequence[Views]) -> dict[str, Tensor]:
        rate = self.optimiser.discriminator_lr * self.optimiser.schedule(self.step, self.max_steps)
        for group in opt.optimizer.param_groups:
            group["lr"] = rate
        opt.zero_grad()
        found: dict[str, Tensor] = {}
        reach = [next(net.parameters()) for _, net in self.judges.named()]
        for index, view in enumerate(views):
            with self.autocast():
                terms = self.judges.discriminator_terms(view)
            if self.judges.wants_penalty(self.step):
                terms |= self.judges.penalties(view)
            total = judges_total(terms, view, self._divisors)
            if not bool(total.detach().isfinite()):
                self.check(terms)
            self._backward(total, reach, index + 1 == len(views))
            for name, value in terms.items():
                found[name] = found.get(name, torch.zeros(())).to(value.device) + value.detach() / len(views)
        for _, net in self.judges.named():
            self.clip(net)
        opt.step()
        return found

    def drift(self, batch: Batch) -> Drift | None:
        """How far the motion network has moved on the people of a batch; None without the guard."""
        return None if self.guard is None else motion_drift(self.model.motion, self.guard.motion, batch)

    def preview(self, batch: Batch) -> Tensor:
        """The outputs of a batch with the averaged weights, in eval mode, without changing anything."""
        model = self.averaged()
        model.eval()
        with torch.no_grad(), self.autocast():
            image = forward_pass(model, batch).image
        assert image is not None
        return image
