"""Faces with known landmarks -> patches with known openings, jittered and blurred: what a ruler learns from."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from data_pipeline.records import SPECIES
from finetune.landmarks import MARGIN, PATCH_PX, OpeningRuler, patch_frames, patches, to_patch
from finetune.pairs import Annotation

CUT_PX = 60
MARKS = (
    ((36,), (39,), (37, 38), (40, 41)),  # right eye: outer corner, inner corner, upper, lower lid
    ((45,), (42,), (43, 44), (46, 47)),
    ((48,), (54,), (62,), (66,)),  # mouth corners, inner lips
)
"""Landmarks of the 70 (docs/puppets.md) whose means the readers learn."""


class Lessons(NamedTuple):
    """Patches wider than the ruler's, with what is true of them."""

    cut: Float[Tensor, "N 3 3 C C"]
    """Right eye, left eye (mirrored), mouth."""
    marks: Float[Tensor, "N 3 M 2"]
    """In coordinates of the ruler's own patch (-1 to 1 within it)."""
    opening: Float[Tensor, "N 3"]
    weight: Float[Tensor, "N 3"]
    """0 where the opening is unknown or cannot be seen."""
    species: Int64[Tensor, " N"]

    def rows(self, index: Tensor) -> "Lessons":
        """Some of them."""
        return Lessons(*(value[index] for value in self))


def lessons(
    image: Float[Tensor, "B 3 S S"],
    points: Float[Tensor, "B 5 2"],
    landmarks: Float[Tensor, "B L 2"],
    visible: Float[Tensor, "B L"],
    opening: Float[Tensor, "B 3"],
    species: Int64[Tensor, " B"],
) -> Lessons:
    """Pictures with truth (fractions of the side; openings of right eye, left eye, lips) -> lessons."""
    frames = patch_frames(points)
    marks = torch.stack(
        [torch.stack([landmarks[:, list(m)].mean(dim=1) for m in part], dim=1) for part in MARKS], dim=1
    )
    seen = torch.stack([torch.stack([visible[:, list(m)].mean(dim=1) for m in part]).amin(dim=0) for part in MARKS], 1)
    cut = patches(image, frames, CUT_PX, MARGIN)
    return Lessons(cut, to_patch(marks, frames), opening, (seen > 0.4).float(), species)


def lessons_of(image: Float[Tensor, "B 3 S S"], truth: Annotation, has_truth: Bool[Tensor, " B"]) -> Lessons:
    """One side of a batch -> lessons; rows without truth weigh nothing. Of a driver the species is not known: 0."""
    opening = torch.cat((truth.eye_open, truth.lip_open), dim=1)
    kind = torch.zeros(len(image), dtype=torch.long, device=image.device)
    found = lessons(image, truth.points, truth.landmarks, truth.visible, opening, kind)
    return found._replace(weight=found.weight * has_truth[:, None])


def jittered(given: Lessons, draw: torch.Generator) -> tuple[Float[Tensor, "B 3 3 P P"], Float[Tensor, "B 3 M 2"]]:
    """Patches as the ruler will meet them: displaced, turned, soft as generated frames are, in other light."""
    num, device = len(given.cut), given.cut.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return (torch.rand(num, 3, *shape, generator=draw) * (high - low) + low).to(device)

    turn, size, move = torch.deg2rad(uniform(-10.0, 10.0)), uniform(0.85, 1.15), uniform(-0.12, 0.12, 2)
    mirror = torch.where(uniform(0.0, 1.0) < 0.5, -1.0, 1.0)
    mirror[:, :2] = 1  # eyes are mirrored already; a mouth may be
    turned = (
        torch.stack((turn.cos(), -turn.sin(), turn.sin(), turn.cos()), dim=-1).unflatten(-1, (2, 2))
        * size[..., None, None]
    )
    flipped = turned * torch.stack((mirror, torch.ones_like(mirror)), dim=-1)[..., None, :]
    at = (torch.arange(PATCH_PX, device=device) + 0.5) / PATCH_PX * 2 - 1
    local = torch.stack(torch.meshgrid(at, at, indexing="xy"), dim=-1)
    grid = (torch.einsum("hwj,bnij->bnhwi", local, flipped) + move[:, :, None, None]) / MARGIN
    picture = F.grid_sample(
        given.cut.flatten(0, 1), grid.flatten(0, 1), padding_mode="border", align_corners=False
    ).unflatten(0, (num, 3))
    marks = torch.linalg.solve(flipped, (given.marks - move[:, :, None]).mT).mT
    swap = marks[:, :, [1, 0, 2, 3]]  # of a mirrored mouth the corners change places
    marks = torch.where((mirror < 0)[..., None, None], swap, marks)
    return _in_other_light(_softened(picture, draw), draw), marks


def _softened(picture: Float[Tensor, "B 3 3 P P"], draw: torch.Generator) -> Float[Tensor, "B 3 3 P P"]:
    """Some as sharp as they are, the others blurred by shrinking to a half, a third or a quarter and back."""
    flat = picture.flatten(0, 1)
    kind = torch.randint(0, 5, (len(flat),), generator=draw).to(flat.device)
    out = flat.clone()
    for value, side in ((1, PATCH_PX // 2), (2, PATCH_PX // 3), (3, PATCH_PX // 4)):
        chosen = kind == value
        small = F.interpolate(flat[chosen], size=(side, side), mode="bilinear", antialias=True)
        out[chosen] = F.interpolate(small, size=(PATCH_PX, PATCH_PX), mode="bilinear")
    return out.unflatten(0, picture.shape[:2])


def _in_other_light(picture: Float[Tensor, "B 3 3 P P"], draw: torch.Generator) -> Float[Tensor, "B 3 3 P P"]:
    num = len(picture)
    gain = (0.35 * torch.randn(num, 1, 1, 1, 1, generator=draw)).exp()
    tint = 1 + 0.12 * torch.randn(num, 1, 3, 1, 1, generator=draw)
    noise = 0.03 * torch.rand(num, 3, 1, 1, 1, generator=draw) * torch.randn(picture.shape, generator=draw)
    lit = picture.clamp(min=1e-4) ** gain.to(picture.device) * tint.to(picture.device) + noise.to(picture.device)
    return lit.clamp(0, 1)


def lesson_loss(ruler: OpeningRuler, given: Lessons, draw: torch.Generator) -> Float[Tensor, ""]:
    """Mean Huber error of openings and landmarks, weighted.

    Not the absolute error: most lips are shut, and its minimum would be to call all of them shut.
    """
    picture, marks = jittered(given, draw)
    seen, found = ruler.read(picture)
    opening = F.smooth_l1_loss(torch.cat(seen, dim=1), given.opening, reduction="none", beta=0.1)
    places = F.smooth_l1_loss(found, marks, reduction="none", beta=0.1).mean(dim=(2, 3))
    return ((opening + 0.3 * places) * given.weight).sum() / given.weight.sum().clamp(min=1e-6)


class Accuracy(NamedTuple):
    """How well a ruler reads one kind of opening."""

    num: int
    correlation: float
    mean_error: float


@torch.no_grad()
def accuracies(ruler: OpeningRuler, given: Lessons) -> dict[str, dict[str, Accuracy]]:
    """Species (and `all`) -> eyes, lips -> accuracy on patches that are cut as the ruler cuts them."""
    inner = round(CUT_PX / MARGIN)
    start = (CUT_PX - inner) // 2
    cut = given.cut[..., start : start + inner, start : start + inner]
    seen = torch.cat([torch.cat(ruler.read(part)[0], dim=1) for part in cut.split(256)])
    table: dict[str, dict[str, Accuracy]] = {}
    for name in ("all", *SPECIES):
        rows = torch.ones(len(seen), dtype=torch.bool) if name == "all" else given.species == SPECIES.index(name)
        table[name] = {}
        for part, columns in (("eyes", [0, 1]), ("lips", [2])):
            use = (given.weight[rows][:, columns] > 0).flatten()
            read, true = (v[rows][:, columns].flatten()[use].numpy() for v in (seen, given.opening))
            table[name][part] = accuracy(read, true)
    return table


def accuracy(read: np.ndarray, true: np.ndarray) -> Accuracy:
    """Correlation (nan if either is constant) and mean absolute error."""
    varies = len(read) > 1 and read.std() > 0 and true.std() > 0
    correlation = float(np.corrcoef(read, true)[0, 1]) if varies else float("nan")
    return Accuracy(len(read), correlation, float(np.abs(read - true).mean()) if len(read) else float("nan"))


def joined(parts: Sequence[Lessons]) -> Lessons:
    """One set of many."""
    return Lessons(*(torch.cat(values) for values in zip(*parts, strict=True)))
