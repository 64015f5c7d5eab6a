"""The same held-out rows again and again -> how far off each species is: a row in species.csv and the loggers' curves.

The terms of a step are means over whatever species its rows show. These are means over the rows of one species, of
rows that stay the same, with the averaged weights: curves of different runs can be compared.
"""

from dataclasses import dataclass
from pathlib import Path

import lightning
import torch
from torch import Tensor

from data_pipeline.records import SPECIES
from finetune import losses
from finetune.callbacks.on_time import OnTime
from finetune.forward import fit
from finetune.guidance import FIVE_POINT_TIES
from finetune.insight import CHUNK_ROWS, Insight, look
from finetune.loggers import loggers_of
from finetune.metrics_file import MetricsFile
from finetune.pairs import Batch
from finetune.perceptual import FeatureNet, perceptual
from finetune.recipe import Recipe


@dataclass(kw_only=True, eq=False)
class SpeciesNumbers(OnTime):
    """Each `every` steps: L1, perceptual and guide of each species."""

    path: Path
    batch: Batch

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Rows beyond the checkpoint that is resumed are cut off."""
        if trainer.is_global_zero:
            MetricsFile(path=self.path).cut_after(self.module.step)

    def look(self, trainer: lightning.Trainer, step: int) -> None:
        """Measure."""
        found = species_terms(self.module, look(self.module, self.batch), self.batch)
        MetricsFile(path=self.path).append({"step": step, **found})
        for logger in loggers_of(trainer):
            logger.scalars(found, step)


@torch.no_grad()
def species_terms(module: Recipe, seen: Insight, batch: Batch) -> dict[str, float]:
    """`species/term` -> its mean over the species' rows; terms as in docs/losses.md, unweighted."""
    net = getattr(module, "features", None)
    guidance = getattr(getattr(module, "objective", None), "guidance", None)
    target = fit(batch.target, seen.image.shape[-1])
    found: dict[str, float] = {}
    for number, name in enumerate(SPECIES):
        mine = batch.species.cpu() == number
        if not bool(mine.any()):
            continue
        found[f"{name}/l1"] = float((seen.image - target)[mine].abs().mean())
        if isinstance(net, FeatureNet):
            found[f"{name}/perceptual"] = _perceptual(net, seen.image[mine], target[mine], module.device)
        if guidance is not None:
            truth, exact = batch.target_truth, batch.has_truth.float()
            for marks, ties, known in (
                (truth.landmarks, guidance.resolved(), exact), (truth.points, FIVE_POINT_TIES, 1 - exact),
            ):  # fmt: skip
                if bool(known[mine].any()):
                    kind = "guide" if marks is truth.landmarks else "guide_five_points"
                    value = losses.landmark_guidance(seen.kp_output[mine], marks[mine], ties, known[mine])
                    found[f"{name}/{kind}"] = float(value)
    return found


def _perceptual(net: FeatureNet, image: Tensor, target: Tensor, device: torch.device) -> float:
    """In parts, weighted by their rows: feature maps of many rows would need more memory than a step."""
    total = 0.0
    for first in range(0, len(image), CHUNK_ROWS):
        part = slice(first, first + CHUNK_ROWS)
        ours, theirs = image[part].to(device), target[part].to(device)
        total += float(perceptual(net, ours, theirs)) * len(ours)
    return total / len(image)
