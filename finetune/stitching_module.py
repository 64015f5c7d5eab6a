"""The stitching recipe: a finished base -> the modules that hold the shoulders still and set eyes and lips.

Appearance, motion, warping and generator are frozen (LivePortrait 3.3); only the three correction networks learn, from
cross-identity and cross-species pairs. Openings are measured on the output by a ruler that is trained beforehand.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.nn import functional as F

from finetune.divisors import mean_of_processes, weighted, world_size
from finetune.drivers import HUMAN, Drawn, Driving, draw_drivers, driven_keypoints, rows
from finetune.keypoint_openings import EYES, MOUTH, keypoint_terms
from finetune.landmarks import OpeningRuler, load_ruler
from finetune.lessons import joined, lesson_loss, lessons_of
from finetune.optimiser import Optimiser, stages_of
from finetune.pairs import Batch
from finetune.recipe import Precision, Recipe
from finetune.stitching_objective import (
    WHOLE,
    Asked,
    Poses,
    StitchingObjective,
    StitchingStage,
    ask,
    retarget_terms,
    stitch_terms,
)
from lp_models import LivePortrait, load_pretrained, resolve_weights, source_keypoints
from lp_models.geometry import Motion

FROZEN = ("appearance", "motion", "warping", "generator")


class StitchingModule(Recipe):
    """One step of the three correction networks.

    Args:
        model: a trained base; its own correction networks are the start, untrained (zero) ones included.
        objective: terms, weights, ranges.
        optimiser: of the correction networks.
        driving: who drives whom, and how.
        ruler: file of a trained ruler (`python -m finetune.ruler_training`); "" trains one here first.
        ruler_steps: steps of that training, on rows with truth; part of max_steps.
        ruler_lr: its learning rate.
        start_from: weights (name or directory) whose correction networks are the start instead of the model's own.
        precision: auto, fp32 or bf16.
        seed: of the draws.
        stages: what learns first, at which side, and how openings are judged then.
        features: unused; the same call builds every recipe.

    Raises:
        ValueError: `ruler` or `start_from` cannot be read or does not fit the model.
    """

    kind = "stitching"
    needs_labels = True

    def __init__(  # noqa: PLR0913  (the recipe's parts, all by name)
        self,
        model: LivePortrait,
        objective: StitchingObjective,
        optimiser: Optimiser,
        driving: Driving | None = None,
        ruler: str = "",
        ruler_steps: int = 400,
        ruler_lr: float = 2e-3,
        start_from: str = "",
        precision: Precision = "auto",
        seed: int = 0,
        stages: Sequence[StitchingStage | Mapping[str, Any]] = (),
        features: object = None,
    ) -> None:
        start = start_corrections(model, start_from)
        super().__init__(model, optimiser, precision, seed)
        del features
        self.objective, self.driving, self.start = objective, driving or Driving(), start
        self.stages = stages_of(StitchingStage, stages)
        needed = {keypoint for edges in (*EYES, *MOUTH) for keypoint in (edges.upper, edges.lower)}
        by_keypoints = [stage for stage in self.stages if "openings" in stage.learn and not stage.paints_openings]
        if by_keypoints and max(needed) >= model.config.num_keypoints:
            raise ValueError(
                f"recipe.stages: openings_by=keypoints needs keypoints {sorted(needed)} on lids and lips, and this "
                f"model has {model.config.num_keypoints}"
            )
        self.ruler = load_ruler(Path(ruler)) if ruler else OpeningRuler()
        self.ruler_path, self.ruler_steps, self.ruler_lr = ruler, 0 if ruler else ruler_steps, ruler_lr
        for part in FROZEN:
            model.get_submodule(part).requires_grad_(False)

    def announce(self) -> list[str]:
        """What is used and what is absent."""
        measured = (
            f"openings are measured by the ruler {self.ruler_path}" if self.ruler_path else
            f"openings are measured by a ruler that is trained in the first {self.ruler_steps} steps, where truth is "
            "(few of those have wide-open lips: recipe.ruler=FILE from `python -m finetune.ruler_training` is better)"
        )  # fmt: skip
        return [
            "frozen: appearance, motion, warping, generator; learning: stitching, eyes, lips",
            f"start of the correction networks: {self.start}",
            measured,
            "shoulders: exact masks on rows with labels; elsewhere what lies below and around the face",
            *(
                f"stage until step {stage.until}: {' and '.join(stage.learn)}"
                + (", openings by keypoints" if stage.openings_by == "keypoints" else "")
                + (f", at {stage.side_px} px" if stage.side_px else "")
                for stage in self.stages
            ),
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
            own_steps = max(1, self.max_steps - self.ruler_steps)
            lr = self.optimiser.set_rates(networks.optimizer, self.step - self.ruler_steps, own_steps)
            terms, asked = self._pass(batch)
            total = self._total(terms)
            self.check({**terms, "total": total})
            networks.zero_grad()
            self.manual_backward(self._total(self._shared(terms, asked)) if world_size() > 1 else total)
            norm = self.clip(self.model.stitching)
            networks.step()
            terms |= {"total": total, "grad_norm": norm, "lr": torch.tensor(lr)}
        self.step, self.last_rows = self.step + 1, len(batch.source)
        if self.ema is not None:
            self.ema.update(self.model, max(0, self.step - self.ruler_steps))
        self.last_terms = {name: value.detach() for name, value in terms.items()}

    def _total(self, terms: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([self.objective.weights.get(name, 0.0) * value for name, value in terms.items()]).sum()

    def _shared(self, terms: Mapping[str, Tensor], asked: Asked) -> dict[str, Tensor]:
        """Terms as they count beside those of other processes: some are means over the rows that set eyes or lips."""
        eyes, lips, num = float(asked.sets_eyes.sum()), float(asked.sets_lips.sum()), float(len(asked.sets_eyes))
        own = {name: {"eyes": eyes, "lips": lips}.get(name.split("_")[0], num) for name in terms}
        return weighted(terms, own, mean_of_processes(own, self.device))

    def _frozen_statistics(self) -> None:
        """Frozen networks keep their batch statistics too."""
        for part in FROZEN:
            self.model.get_submodule(part).eval()

    def _ruler_step(self, opt: LightningOptimizer, batch: Batch) -> dict[str, Tensor]:
        self.ruler.requires_grad_(True)
        pictures = ((batch.source, batch.source_truth), (batch.driving, batch.driving_truth))
        given = joined([lessons_of(image, truth, batch.has_truth) for image, truth in pictures])
        loss = lesson_loss(self.ruler, given, self._draw())
        self.check({"ruler": loss})
        opt.zero_grad()
        # Processes see other numbers of rows with truth.
        own = {"ruler": float(given.weight.sum())} if world_size() > 1 else {}
        everyone = mean_of_processes(own, self.device)
        self.manual_backward(weighted({"ruler": loss}, own, everyone)["ruler"] if own else loss)
        self.clip(self.ruler)
        opt.step()
        return {"ruler": loss}

    def _draw(self) -> torch.Generator:
        """This step's random numbers: the same whether or not the run was interrupted."""
        return torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)

    @torch.no_grad()
    def poses(self, batch: Batch, drawn: Drawn | None) -> Poses:
        """Keypoints of the sources and of the sources driven by other rows; without `drawn` nobody drives.

        A driver is another row's individual from its source to its target picture, which always show the same one.
        """
        if drawn is None:
            with self.autocast():
                seen: Motion = self.model.motion(batch.source)
            points = source_keypoints(Motion(*(value.float() for value in seen)))
            return Poses(points, points)
        target = sized(batch.target, batch.source.shape[-1])
        with self.autocast():
            both: Motion = self.model.motion(torch.cat((batch.source, target)))
        both = Motion(*(value.float() for value in both))
        own, later = (Motion(*(value.chunk(2)[part] for value in both)) for part in (0, 1))
        is_human = batch.species == HUMAN
        driven = driven_keypoints(own, rows(own, drawn.partner), rows(later, drawn.partner), is_human, drawn)
        return Poses(source_keypoints(own), driven)

    @torch.no_grad()
    def volumes(self, pictures: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B *volume"]:
        """Of the source pictures, [B, C, D, H, W]; stand-ins of other shapes do in tests."""
        with self.autocast():
            return self.model.appearance(pictures)

    def stage(self) -> StitchingStage:
        """The stage in force."""
        return next((stage for stage in self.stages if self.step < stage.until), WHOLE)

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """All terms of the stage in force, unweighted."""
        return self._pass(batch)[0]

    def _pass(self, batch: Batch) -> tuple[dict[str, Tensor], Asked]:
        """The terms, and what was asked of each row."""
        self.ruler.requires_grad_(False)
        draw, stage = self._draw(), self.stage()
        drawn = draw_drivers(batch.species, self.driving, draw)
        poses = self.poses(batch, drawn if "stitching" in stage.learn else None)
        asked = self._ask(batch, draw)
        corrections = self.model.stitching
        eyes = corrections.retarget_eyes(poses.source, torch.cat((asked.now_eyes, asked.eyes), dim=1))
        lips = corrections.retarget_lips(poses.source, torch.cat((asked.now_lips, asked.lips), dim=1))
        retarget = eyes * asked.sets_eyes[:, None, None] + lips * asked.sets_lips[:, None, None]
        retargeted = poses.source + retarget
        found: dict[str, Tensor] = {}
        if "openings" in stage.learn and not stage.paints_openings:
            known = batch.has_landmarks
            asked = asked._replace(sets_eyes=asked.sets_eyes & known, sets_lips=asked.sets_lips & known)
            found |= keypoint_terms(batch, asked, eyes, lips)
        if not stage.paints:
            return found, asked
        driven = torch.where(drawn.retargeted[:, None, None], retargeted.detach(), poses.driven)
        fixed, learning = {"kept": poses.source}, dict[str, Tensor]()
        if "stitching" in stage.learn:
            fixed["moved"] = driven
            learning["held"] = corrections.stitch(poses.source, driven)
        if stage.paints_openings:
            learning["opened"] = retargeted
        pictures = sized(batch.source, stage.side_px or batch.source.shape[-1])
        volume = self.volumes(pictures)
        with torch.no_grad():
            seen = self._driven(volume, poses.source, fixed, pictures)
        seen |= self._driven(volume, poses.source, learning, pictures)
        if "held" in seen:
            found |= stitch_terms(
                self.objective, batch, seen["kept"], seen["moved"], seen["held"], learning["held"] - driven
            )
        if "opened" in seen:
            found |= retarget_terms(self.ruler, batch, seen["kept"], seen["opened"], asked, eyes, lips)
        return found, asked

    def _driven(
        self, volume: Tensor, source: Float[Tensor, "B K 3"], driven: Mapping[str, Float[Tensor, "B K 3"]],
        pictures: Float[Tensor, "B 3 S S"],
    ) -> dict[str, Tensor]:  # fmt: skip
        """Frames of the sources at several keypoints, in one pass."""
        num = len(driven)
        volumes, sources, images = (torch.cat([value] * num) for value in (volume, source, pictures))
        with self.autocast():
            frames = self.model.drive(volumes, sources, torch.cat(list(driven.values())), images).float()
        return dict(zip(driven, frames.chunk(num), strict=True))

    @torch.no_grad()
    def _ask(self, batch: Batch, draw: torch.Generator) -> Asked:
        """Conditions as at inference: the openings of the source *picture*, known or read."""
        read, truth = self.ruler(batch.source, batch.source_truth.points), batch.source_truth
        known = batch.has_truth[:, None]
        eyes, lips = torch.where(known, truth.eye_open, read.eyes), torch.where(known, truth.lip_open, read.lips)
        return ask(self.objective, eyes, lips, draw)

    def preview(self, batch: Batch) -> Tensor:
        """Stitched frames: each source moves as its own target does."""
        with torch.no_grad():
            own = torch.arange(len(batch.source), device=batch.source.device)
            no = torch.zeros(len(own), dtype=torch.bool, device=own.device)
            poses = self.poses(batch, Drawn(own, no, torch.ones(len(own), device=own.device), no))
            stitched = self.model.stitching.stitch(poses.source, poses.driven)
            return self._driven(self.volumes(batch.source), poses.source, {"all": stitched}, batch.source)["all"]


def start_corrections(model: LivePortrait, start_from: str) -> str:
    """Copy the correction networks of other weights into the model, if any are named; says what the start is.

    Raises:
        ValueError: the weights are missing or their correction networks have other sizes.
    """
    if start_from:
        found = load_pretrained(resolve_weights(start_from)).stitching.state_dict()
        own = model.stitching.state_dict()
        shapes = [{name: value.shape for name, value in state.items()} for state in (found, own)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"recipe.start_from={start_from}: its correction networks have other sizes than those of the model "
                f"{model.config.name}; leave start_from out"
            )
        model.stitching.load_state_dict(found)
        return start_from
    trained = any(bool(net.mlp[-1].weight.any()) for net in model.stitching.children())  # pyright: ignore
    return "the weights' own" if trained else "untrained (zero correction)"


def sized(image: Float[Tensor, "B 3 H H"], side_px: int) -> Float[Tensor, "B 3 S S"]:
    """Targets have the generator's side; networks read the model's own."""
    return image if image.shape[-1] == side_px else F.interpolate(image, (side_px, side_px), mode="area")
