"""A picture -> eye and lip opening, differentiably: the ruler with which retargeting measures its own output.

A small network that finds lids and lips in patches around eyes and mouth (LivePortrait measures its own output with a
frozen landmark network, issue 385; that one is not published). `finetune/ruler_training.py` trains it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from data_pipeline.whole_file import whole_file, write_errors

PATCH_PX = 40
REACH = (0.5, 0.5, 0.7)
"""Half-sides of the patches of right eye, left eye, mouth, in eye distances."""
MOUTH_DROP = 0.2
"""The mouth's patch lies this many eye distances below the corners: a jaw opens downwards."""
MARGIN = 1.5
"""Lessons are cut this much wider, so that places, turns and sizes can be jittered afterwards."""
NUM_MARKS = 4
"""Landmarks that the readers learn beside the opening: one corner, the other, upper and lower edge."""


class Opening(NamedTuple):
    """How far eyes (own right, own left) and lips are open: lid or lip distance over corner distance."""

    eyes: Float[Tensor, "B 2"]
    lips: Float[Tensor, "B 1"]


class Frames(NamedTuple):
    """Where patches lie: centre, unit vectors from eye to eye and down, half-side; in fractions of the side."""

    centre: Float[Tensor, "B 3 2"]
    along: Float[Tensor, "B 2"]
    down: Float[Tensor, "B 2"]
    reach: Float[Tensor, "B 3"]


class OpeningRuler(nn.Module):
    """Cuts eyes and mouth out of a picture and reads their openings; gradients flow to the pixels."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.width = width
        self.eye = PatchReader(width)
        self.mouth = PatchReader(width)

    def forward(self, image: Float[Tensor, "B 3 S S"], points: Float[Tensor, "B 5 2"]) -> Opening:
        """Openings of a face whose five points (fractions of the side) are known."""
        return self.read(patches(image, patch_frames(points), PATCH_PX))[0]

    def read(self, cut: Float[Tensor, "B 3 3 P P"]) -> tuple[Opening, Float[Tensor, "B 3 M 2"]]:
        """Openings, and the landmarks in patch coordinates (-1 to 1), of patches as `patches` gives them."""
        # One reader serves both eyes: the left one is mirrored.
        eyes, eye_marks = self.eye(torch.cat((cut[:, 0], cut[:, 1])))
        lips, lip_marks = self.mouth(cut[:, 2])
        marks = torch.stack((*eye_marks.chunk(2), lip_marks), dim=1)
        return Opening(torch.cat(eyes.chunk(2), dim=1), lips), marks


class PatchReader(nn.Module):
    """A patch -> one opening that cannot be negative, and the landmarks of its corners and edges."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # Five channels in: colours and the two coordinates, for what is wanted is a distance.
        layers = [*_layer(5, width, 5, 2), *_layer(width, 2 * width), nn.AvgPool2d(2)]
        layers += [*_layer(2 * width, 3 * width), *_layer(3 * width, 3 * width), nn.AvgPool2d(2), nn.Flatten()]
        self.look = nn.Sequential(*layers, nn.Linear(3 * width * (PATCH_PX // 8) ** 2, 64), nn.SiLU())
        self.opening = nn.Linear(64, 1)
        self.marks = nn.Linear(64, 2 * NUM_MARKS)

    def forward(self, patch: Float[Tensor, "B 3 P P"]) -> tuple[Float[Tensor, "B 1"], Float[Tensor, "B M 2"]]:
        """Opening and landmarks (patch coordinates)."""
        at = torch.linspace(-1, 1, PATCH_PX, device=patch.device)
        where = torch.stack(torch.meshgrid(at, at, indexing="xy")).expand(len(patch), -1, -1, -1)
        seen = self.look(torch.cat((normalised(patch), where), dim=1))
        return F.softplus(self.opening(seen), beta=5), self.marks(seen).unflatten(1, (NUM_MARKS, 2))


def _layer(channels: int, out: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(channels, out, kernel, stride, kernel // 2), nn.GroupNorm(4, out), nn.SiLU()]


def normalised(patch: Float[Tensor, "B 3 P P"]) -> Float[Tensor, "B 3 P P"]:
    """To mean 0 and spread 1: fur, skin and light differ more than openings do."""
    spread = patch.std(dim=(1, 2, 3), keepdim=True)
    return (patch - patch.mean(dim=(1, 2, 3), keepdim=True)) / (spread + 0.05)


def patch_frames(points: Float[Tensor, "B 5 2"]) -> Frames:
    """Five points -> where right eye, left eye and mouth are cut out, upright along the line of the eyes."""
    right, left, corners = points[:, 0], points[:, 1], points[:, 3:].mean(dim=1)
    along = left - right
    distance = along.norm(dim=1, keepdim=True).clamp(min=0.05)
    along = along / distance
    down = torch.stack((-along[:, 1], along[:, 0]), dim=1)
    centre = torch.stack((right, left, corners + MOUTH_DROP * distance * down), dim=1)
    return Frames(centre, along, down, distance * distance.new_tensor(REACH))


def patches(
    image: Float[Tensor, "B 3 S S"], frames: Frames, side_px: int, margin: float = 1.0
) -> Float[Tensor, "B 3 3 P P"]:
    """Right eye, left eye (mirrored) and mouth."""
    at = (torch.arange(side_px, device=image.device, dtype=torch.float32) + 0.5) / side_px * 2 - 1
    local = torch.stack(torch.meshgrid(at, at, indexing="xy"), dim=-1) * margin
    local = local.repeat(3, 1, 1, 1)
    local[1] = local[1] * local.new_tensor([-1.0, 1.0])
    basis = torch.stack((frames.along, frames.down), dim=1)
    offset = torch.einsum("nhwi,bij->bnhwj", local, basis) * frames.reach[:, :, None, None, None]
    grid = (frames.centre[:, :, None, None] + offset) * 2 - 1
    # The three patches of a picture below each other: one sampling call.
    cut = F.grid_sample(image.float(), grid.flatten(1, 2), padding_mode="border", align_corners=False)
    return cut.unflatten(2, (3, side_px)).transpose(1, 2)


def to_patch(marks: Float[Tensor, "B 3 M 2"], frames: Frames) -> Float[Tensor, "B 3 M 2"]:
    """Points of the picture (fractions) -> coordinates of each patch, -1 to 1 in it; the left eye's are mirrored."""
    basis = torch.stack((frames.along, frames.down), dim=2)
    local = torch.einsum("bnmi,bij->bnmj", marks - frames.centre[:, :, None], basis) / frames.reach[:, :, None, None]
    mirror = torch.ones(3, 1, 2, device=marks.device)
    mirror[1, :, 0] = -1
    return local * mirror


def save_ruler(state: Mapping[str, Tensor], path: Path) -> None:
    """Write the tensors of a ruler, whole or not at all."""
    from safetensors.torch import save_file

    with whole_file(path) as part, write_errors(path):
        save_file({name: value.contiguous() for name, value in state.items()}, part)


def load_ruler(path: Path) -> OpeningRuler:
    """A frozen ruler.

    Raises:
        ValueError: the file is missing or is no ruler of this version.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    hint = "train one with `python -m finetune.ruler_training out=FILE`"
    if not path.is_file():
        raise ValueError(f"the ruler {path} is not a file; {hint}")
    try:
        state = load_file(path)
        ruler = OpeningRuler(width=len(state["eye.look.0.bias"]))
        ruler.load_state_dict(state)
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise ValueError(f"{path} is not a ruler of this version ({type(error).__name__}); {hint}") from error
    return ruler.requires_grad_(False)
