"""A head -> features, embedding, pose, landmarks and openings: one small network that puppets teach.

An offline stand-in for four published networks. It knows rendered heads with exact truth and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from finetune.clips import NUM_LANDMARKS
from finetune.teachers.network_file import fill_from_file

SIDE_PX = 128
"""Heads are looked at with this side, features at the picture's own."""
WIDTHS = (16, 32, 64, 96, 128)
EMBEDDING = 64
POSE_SCALE_DEG = 30.0
FEATURE_GAIN = 1 / 16
"""Two frames of a clip then differ about as much as they do for the fixed filters, so that one weight suits both."""
JOBS = ("perceptual", "identity", "pose", "landmarks")
WANTED = "a file made with python -m finetune.teachers.train"


class Reading(NamedTuple):
    """What the network says about a picture."""

    embedding: Float[Tensor, "B E"]
    """Length 1; of whose head it is."""
    pose_deg: Float[Tensor, "B 3"]
    landmarks: Float[Tensor, "B L 2"]
    """Fractions of the side."""
    opening: Float[Tensor, "B 3"]
    """Own right eye, own left eye, lips."""


class PuppetNet(nn.Module):
    """Five halvings; landmarks are read as the centres of heat maps, the rest from the coarse maps."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            _stage(before, after, deep=index < 4) for index, (before, after) in enumerate(pairwise((3, *WIDTHS)))
        )
        fused = WIDTHS[2] + WIDTHS[3]
        self.heat = nn.Sequential(
            nn.Conv2d(fused, 48, 3, padding=1), nn.GroupNorm(8, 48), nn.SiLU(), nn.Conv2d(48, NUM_LANDMARKS, 1)
        )
        self.coarse = nn.Sequential(nn.Conv2d(WIDTHS[4], 32, 1), nn.SiLU(), nn.Flatten())
        self.pose = nn.Linear(32 * (SIDE_PX // 32) ** 2, 3)
        self.fine = nn.Sequential(nn.Conv2d(WIDTHS[2], 8, 1), nn.SiLU(), nn.Flatten())
        self.opening = nn.Linear(8 * (SIDE_PX // 8) ** 2, 3)
        self.embed = nn.Linear(sum(WIDTHS[2:]), EMBEDDING)

    def maps(self, image: Float[Tensor, "B 3 H W"], depth: int = 5) -> list[Tensor]:
        """RGB in 0-1 of any side -> the map after each halving."""
        x, found = image * 4 - 2, []
        for stage in self.stages[:depth]:
            x = stage(x)
            found.append(x)
        return found

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Reading:
        """RGB in 0-1 -> everything about the head."""
        if image.shape[-1] != SIDE_PX:
            size = (SIDE_PX, SIDE_PX)
            image = F.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=True)
        maps = self.maps(image)
        coarser = F.interpolate(maps[3], scale_factor=2.0, mode="bilinear", align_corners=False)
        heat = self.heat(torch.cat((maps[2], coarser), dim=1)).float()
        pooled = torch.cat([part.float().mean(dim=(2, 3)) for part in maps[2:]], dim=1)
        return Reading(
            embedding=F.normalize(self.embed(pooled).float(), dim=1),
            pose_deg=self.pose(self.coarse(maps[4])).float() * POSE_SCALE_DEG,
            landmarks=_centres(heat),
            opening=F.softplus(self.opening(self.fine(maps[2])).float()),
        )


def _stage(before: int, after: int, deep: bool) -> nn.Sequential:
    """Half the side, then once more at it where the map is large enough to be worth it."""
    layers: list[nn.Module] = [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after), nn.SiLU()]
    if deep:
        layers += [nn.Conv2d(after, after, 3, padding=1), nn.GroupNorm(8, after), nn.SiLU()]
    return nn.Sequential(*layers)


def _centres(heat: Float[Tensor, "B L h w"]) -> Float[Tensor, "B L 2"]:
    """The mean place of each heat map, in fractions of the side."""
    height, width = heat.shape[2:]
    mass = heat.flatten(2).softmax(dim=2).unflatten(2, (height, width))
    y, x = ((torch.arange(n, device=heat.device) + 0.5) / n for n in (height, width))
    return torch.stack(((mass.sum(dim=2) * x).sum(dim=2), (mass.sum(dim=3) * y).sum(dim=2)), dim=2)


@dataclass(frozen=True, kw_only=True)
class PuppetFile:
    """The `teachers.puppet` options.

    Raises:
        ValueError: a job is unknown.
    """

    path: Path | str | None = None
    serves: Sequence[str] = JOBS
    """Which terms it serves where no other network is given for them."""

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.serves) - set(JOBS)):
            raise ValueError(f"teachers.puppet.serves names {unknown[0]!r}; the jobs are {', '.join(JOBS)}")

    def load(self) -> PuppetNet | None:
        """The network, or None without a path.

        Raises:
            TeacherError: the file does not fit.
        """
        return None if self.path is None else fill_from_file(PuppetNet(), self.path, "teachers.puppet.path", WANTED)


class PuppetFeatures(nn.Module):
    """Its first four maps, for the perceptual loss."""

    layer_weights = (1.0, 1.0, 1.0, 1.0)
    is_stand_in = False

    def __init__(self, net: PuppetNet, summary: str) -> None:
        super().__init__()
        self.net, self.summary = net, summary

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        """RGB in 0-1 -> one map per halving."""
        return [FEATURE_GAIN * part for part in self.net.maps(image, depth=len(self.layer_weights))]


class PuppetIdentity(nn.Module):
    """Its embedding, for the identity term."""

    def __init__(self, net: PuppetNet, summary: str) -> None:
        super().__init__()
        self.net, self.summary = net, summary

    def forward(self, image: Float[Tensor, "B 3 H W"], points: Float[Tensor, "B 5 2"]) -> Float[Tensor, "B E"]:
        """RGB in 0-1 -> embeddings; it was trained on whole crops, so the points are not needed."""
        return self.net(image).embedding


class PuppetPose(nn.Module):
    """Its angles, for the head-pose term."""

    def __init__(self, net: PuppetNet, summary: str) -> None:
        super().__init__()
        self.net, self.summary = net, summary

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3"]:
        """RGB in 0-1 -> pitch, yaw, roll in degrees."""
        return self.net(image).pose_deg


class PuppetLandmarks(nn.Module):
    """Its landmarks, for guidance."""

    def __init__(self, net: PuppetNet, summary: str) -> None:
        super().__init__()
        self.net, self.summary = net, summary

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B L 2"]:
        """RGB in 0-1 -> landmarks in fractions of the side."""
        return self.net(image).landmarks
