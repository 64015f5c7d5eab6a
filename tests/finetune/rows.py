"""Batches made by formulas, so that tests of losses and steps depend on no loader and no file."""

from dataclasses import replace
from typing import Any

import torch

from data_pipeline.records import SPECIES
from finetune.adversary import REGIONS
from finetune.base_module import BaseModule
from finetune.discriminator import PatchDiscriminator
from finetune.objective import COPY_TERMS, Guidance, Objective
from finetune.optimiser import Optimiser
from finetune.pairs import Annotation, Batch
from finetune.perceptual import OrientedFilters
from lp_models import LivePortrait, LivePortraitConfig

HUMAN, CAT, DOG = (SPECIES.index(name) for name in ("human", "cat", "dog"))
TIES = [
    [[11], [68], [37, 38]], [[13], [68], [40, 41]], [[15], [69], [43, 44]], [[16], [69], [46, 47]],
    [[14], [48], [48]], [[17], [54], [54]], [[20], [62], [62]], [[19], [66], [66]], [[12], [30], [30]],
    [[1], [19], [19]], [[2], [24], [24]], [[5], [8], [8]],
]  # fmt: skip
GUIDANCE = Guidance(ties=TIES, spans=[[11, 13], [15, 16], [20, 19], [14, 17]])


def picture(num: int, side: int, phase: float) -> torch.Tensor:
    """Smooth waves: no two rows alike, the same on every machine."""
    y, x = torch.meshgrid(torch.linspace(0, 1, side), torch.linspace(0, 1, side), indexing="ij")
    waves = [torch.sin((3 + c + r) * x * 3 + (2 + c) * y * 4 + phase + r) for r in range(num) for c in range(3)]
    return 0.5 + 0.4 * torch.stack(waves).unflatten(0, (num, 3))


def five_points(num: int, shift: float = 0.0) -> torch.Tensor:
    points = torch.tensor([[0.38, 0.42], [0.62, 0.42], [0.5, 0.55], [0.42, 0.68], [0.58, 0.68]])
    return (points + torch.tensor([shift, 0.0])).repeat(num, 1, 1)


def landmarks(num: int, shift: float = 0.0) -> torch.Tensor:
    """A jaw of 17 points on a half circle, brows, eyes, a mouth: about where a face has them."""
    marks = torch.full((70, 2), 0.5)
    angle = torch.linspace(0, torch.pi, 17)
    marks[:17] = torch.stack((0.5 - 0.25 * angle.cos(), 0.5 + 0.3 * angle.sin()), dim=1)
    marks[17:27, 0], marks[17:27, 1] = torch.linspace(0.3, 0.7, 10), 0.32
    marks[27:36, 0], marks[27:36, 1] = 0.5, torch.linspace(0.4, 0.57, 9)
    for first, centre in ((36, 0.38), (42, 0.62)):
        turn = torch.arange(6) / 6 * 2 * torch.pi
        marks[first : first + 6] = torch.stack((centre - 0.05 * turn.cos(), 0.42 - 0.02 * turn.sin()), dim=1)
    turn = torch.arange(20) / 20 * 2 * torch.pi
    marks[48:68] = torch.stack((0.5 - 0.08 * turn.cos(), 0.68 - 0.03 * turn.sin()), dim=1)
    marks[68], marks[69] = torch.tensor([0.38, 0.42]), torch.tensor([0.62, 0.42])
    return (marks + torch.tensor([shift, 0.0])).repeat(num, 1, 1)


def annotation(num: int, shift: float = 0.0, yaw_deg: float = 10.0) -> Annotation:
    return Annotation(
        points=five_points(num, shift), landmarks=landmarks(num, shift), visible=torch.ones(num, 70),
        eye_open=torch.full((num, 2), 0.3), lip_open=torch.full((num, 1), 0.2),
        pose_deg=torch.tensor([5.0, yaw_deg, -3.0]).repeat(num, 1),
    )  # fmt: skip


def batch(
    species: list[int], truth: list[bool] | None = None, cross: list[bool] | None = None, side: int = 64
) -> Batch:
    """One row per species; the target is twice the side, as the tiny model gives it."""
    num = len(species)
    is_cross = torch.tensor(cross or [False] * num)
    driving = picture(num, side, 0.7)
    target = torch.nn.functional.interpolate(driving, scale_factor=2.0, mode="bilinear", align_corners=False)
    target[is_cross] = picture(num, 2 * side, 1.9)[is_cross]
    values: dict[str, Any] = {
        "source": picture(num, side, 0.0), "driving": driving, "target": target,
        "source_truth": annotation(num), "driving_truth": annotation(num, 0.03, -12.0),
        "target_truth": annotation(num, 0.03, -12.0), "species": torch.tensor(species),
        "is_video": torch.ones(num, dtype=torch.bool), "is_cross": is_cross,
        "has_truth": torch.tensor(truth or [True] * num), "roll_offset_deg": torch.zeros(num),
        "source_labels": torch.zeros(num, side, side, dtype=torch.uint8),
        "has_labels": torch.zeros(num, dtype=torch.bool), "has_landmarks": torch.tensor(truth or [True] * num),
    }  # fmt: skip
    return Batch(**values)


def module(weights: dict[str, float], objective: dict[str, Any] | None = None, **options: Any) -> BaseModule:
    """The tiny model with the given terms, and a discriminator for each region that has weight."""
    torch.manual_seed(0)
    chosen = Objective(**{"guidance": GUIDANCE, "weights": weights, **(objective or {})})
    copies = chosen.any_weight(*COPY_TERMS)
    model = LivePortrait(replace(LivePortraitConfig.named("tiny"), copies_pixels=copies))
    judged = [r for r in REGIONS if chosen.any_weight(f"gan{r}", f"feature_matching{r}")]
    nets = {f"{region[1:]}_discriminator" if region else "discriminator": tiny_judge() for region in judged}
    settings: dict[str, Any] = {
        "optimiser": Optimiser(lr=1e-3, warmup_steps=2, ema_decay=0.9), "features": OrientedFilters(scales=1),
        "precision": "fp32", "seed": 1, **nets, **options,
    }  # fmt: skip
    return BaseModule(model, chosen, **settings)


def tiny_judge() -> PatchDiscriminator:
    return PatchDiscriminator(width=4, max_width=8, num_layers=2)


def gradient_norms(trained: BaseModule) -> dict[str, float]:
    """Norm of the gradient of each network and helper; those without one are left out."""
    parts: dict[str, torch.nn.Module] = {name: trained.model.get_submodule(name) for name in PARTS}
    found = {}
    for name, part in (parts | trained.helpers()).items():
        slopes = [p.grad for p in part.parameters() if p.grad is not None]
        if slopes and any(bool(slope.abs().sum() > 0) for slope in slopes):
            found[name] = float(torch.stack([slope.square().sum() for slope in slopes]).sum().sqrt())
    return found


PARTS = ("appearance", "motion", "warping", "generator", "stitching")
