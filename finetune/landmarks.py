"""A picture -> eye and lip opening, differentiably: the ruler with which retargeting measures its own output.

A small network trained on puppets, where openings are exact. It is frozen while it measures (LivePortrait, issue 385).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from finetune.losses import row_mean

PATCH_PX = 32
"""Eyes and mouth are cut out at this side."""
PATCH_SCALE = (0.62, 0.62, 0.8)
"""Half-sides of the patches of right eye, left eye, mouth, in eye distances."""


class Opening(NamedTuple):
    """How far eyes (own right, own left) and lips are open: lid or lip distance over corner distance."""

    eyes: Float[Tensor, "B 2"]
    lips: Float[Tensor, "B 1"]


class OpeningRuler(nn.Module):
    """Cuts eyes and mouth out of a picture and reads their openings; gradients flow to the pixels."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.eye = _patch_reader(width)
        self.mouth = _patch_reader(width)

    def forward(self, image: Float[Tensor, "B 3 S S"], points: Float[Tensor, "B 5 2"]) -> Opening:
        """Openings of a face whose five points (fractions of the side) are known."""
        right, left, mouth = patches(image, points)
        # One reader serves both eyes: the left one is mirrored.
        both = self.eye(torch.cat((right, left.flip(-1))))
        return Opening(torch.cat(both.chunk(2), dim=1), self.mouth(mouth))


def _patch_reader(width: int) -> nn.Sequential:
    """A 32 px patch -> one number that cannot be negative."""
    layers: list[nn.Module] = []
    channels = 3
    for index in range(3):
        out = width * 2**index
        layers += [nn.Conv2d(channels, out, 3, padding=1), nn.GroupNorm(4, out), nn.SiLU(), nn.AvgPool2d(2)]
        channels = out
    side = PATCH_PX // 8
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(channels * side**2, 64), nn.SiLU(), nn.Linear(64, 1), nn.Softplus()
    )


def patches(image: Float[Tensor, "B 3 S S"], points: Float[Tensor, "B 5 2"]) -> list[Float[Tensor, "B 3 p p"]]:
    """Right eye, left eye and mouth, upright along the line of the eyes, each to mean 0 and spread 1."""
    right, left = points[:, 0], points[:, 1]
    mouth = points[:, 3:].mean(dim=1)
    along = left - right
    distance = along.norm(dim=1, keepdim=True).clamp(min=0.05)
    along = along / distance
    down = torch.stack((-along[:, 1], along[:, 0]), dim=1)
    at = (torch.arange(PATCH_PX, device=image.device, dtype=points.dtype) + 0.5) / PATCH_PX * 2 - 1
    result = []
    for centre, scale in zip((right, left, mouth), PATCH_SCALE, strict=True):
        reach = (scale * distance)[:, None, None]
        x = centre[:, 0, None, None] + reach[:, 0] * (
            along[:, 0, None, None] * at + down[:, 0, None, None] * at[:, None]
        )
        y = centre[:, 1, None, None] + reach[:, 0] * (
            along[:, 1, None, None] * at + down[:, 1, None, None] * at[:, None]
        )
        grid = torch.stack((x, y), dim=-1) * 2 - 1
        patch = F.grid_sample(image.float(), grid, padding_mode="border", align_corners=False)
        # Fur, skin and light differ more than openings do.
        spread = patch.std(dim=(1, 2, 3), keepdim=True)
        result.append((patch - patch.mean(dim=(1, 2, 3), keepdim=True)) / (spread + 0.05))
    return result


def opening_loss(
    seen: Opening, eyes: Float[Tensor, "B 2"], lips: Float[Tensor, "B 1"], weight: Float[Tensor, " B"]
) -> Float[Tensor, ""]:
    """Mean Huber error of the openings over the rows with weight.

    Not the absolute error: most lips are shut, and its minimum would be to call all of them shut.
    """
    seen_all, wanted = torch.cat(seen, dim=1), torch.cat((eyes, lips), dim=1)
    error = F.smooth_l1_loss(seen_all, wanted, reduction="none", beta=0.2).mean(dim=1)
    return row_mean(error, weight)
