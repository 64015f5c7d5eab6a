"""Openings by keypoints alone: how far lids and lips must go for a wanted opening, without painting a frame.

In models whose guided keypoints lie on lids and lips (docs/training.md), the way of a lid is known: the change of the
opening times the width of the eye. Retargeting that has learnt this much finds the rest on painted frames.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from finetune.losses import row_mean
from finetune.pairs import Batch
from finetune.stitching_objective import Asked
from lp_models.roles import LIDS, LIPS

LEAST_WIDTH = 0.05
"""Narrower eyes and mouths, in units of the frame, are seen in profile: their openings say little."""


class Edges(NamedTuple):
    """An eye or the mouth: the keypoints on its edges, and the landmarks of its corners."""

    upper: int
    lower: int
    corners: tuple[int, int]
    """The viewer's left first."""
    upper_share: float
    """Of the change: lids move mostly by the upper one, lips mostly by the lower."""


EYES = tuple(Edges(*lids, corners, 0.75) for lids, corners in zip(LIDS, ((36, 39), (42, 45)), strict=True))
MOUTH = (Edges(*LIPS, (48, 54), 0.25),)


def keypoint_terms(
    batch: Batch, asked: Asked, delta_eyes: Float[Tensor, "B K 3"], delta_lips: Float[Tensor, "B K 3"]
) -> dict[str, Tensor]:
    """Mean distance of the edges' keypoints from where a wanted opening puts them, in widths of the eye or mouth.

    Of rows that set the part, which must have landmarks. `*_size`: mean change of all keypoints, as on painted frames.
    """
    marks = batch.source_truth.landmarks * 2 - 1
    eyes, lips = asked.eyes - asked.now_eyes, asked.lips - asked.now_lips
    sets_eyes, sets_lips = asked.sets_eyes.float(), asked.sets_lips.float()
    return {
        "eyes": row_mean(_off(delta_eyes, marks, eyes, EYES), sets_eyes),
        "eyes_size": row_mean(delta_eyes.abs().mean(dim=(1, 2)), sets_eyes),
        "lips": row_mean(_off(delta_lips, marks, lips, MOUTH), sets_lips),
        "lips_size": row_mean(delta_lips.abs().mean(dim=(1, 2)), sets_lips),
    }


def _off(
    delta: Float[Tensor, "B K 3"], marks: Float[Tensor, "B L 2"], change: Float[Tensor, "B N"], parts: Sequence[Edges]
) -> Float[Tensor, " B"]:
    """Mean distance of the edges' keypoints from where a change of the opening puts them, in widths of the part."""
    errors = []
    for n, edges in enumerate(parts):
        along = marks[:, edges.corners[1]] - marks[:, edges.corners[0]]
        width = along.norm(dim=-1, keepdim=True).clamp(min=LEAST_WIDTH)
        # Downwards in the face: across the line of the corners.
        down = torch.stack((-along[:, 1], along[:, 0]), dim=-1) / width
        way = change[:, n : n + 1] * width * down
        for keypoint, share in ((edges.upper, -edges.upper_share), (edges.lower, 1 - edges.upper_share)):
            errors.append((delta[:, keypoint, :2] - share * way).norm(dim=-1) / width[:, 0])
    return torch.stack(errors).mean(dim=0)
