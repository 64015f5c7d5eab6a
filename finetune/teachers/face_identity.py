"""A face -> an embedding of whose it is, by an improved ResNet-50 trained with ArcFace, from a local file.

The network of InsightFace's arcface_torch (iresnet50, 112 px); written from its state dict's layout. Its published
weights are for non-commercial research.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from finetune.regions import similarity_crop
from finetune.teachers.network_file import fill_from_file

WANTED = "a state dict of arcface_torch's iresnet50 (backbone.pth, 512 numbers per face)"
SIDE_PX = 112
TEMPLATE_PX = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
"""Where ArcFace's training put the five points, in pixels of the crop; the viewer's left eye first."""
LAYERS = (3, 4, 14, 3)
WIDTHS = (64, 128, 256, 512)


@runtime_checkable
class IdentityNet(Protocol):
    """A plug-in for the identity term."""

    summary: str

    def __call__(self, image: Float[Tensor, "B 3 H W"], points: Float[Tensor, "B 5 2"]) -> Float[Tensor, "B E"]:
        """RGB in 0-1 and five points in fractions of the side -> embeddings; gradients flow to the pixels."""
        ...


@dataclass(frozen=True, kw_only=True)
class IdentityFile:
    """The `teachers.identity` options."""

    path: Path | str | None = None

    def load(self) -> "ArcFace | None":
        """The network, or None without a path.

        Raises:
            TeacherError: the file does not fit.
        """
        if self.path is None:
            return None
        net = ArcFace()
        fill_from_file(net.net, self.path, "teachers.identity.path", WANTED)
        net.summary = f"iresnet50 from {self.path}"
        return net


class ArcFace(nn.Module):
    """Aligns faces by their five points and embeds them."""

    template: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.net = IResNet()
        self.summary = "iresnet50, untrained"
        # The published template counts pixel centres from 0.
        self.register_buffer("template", (torch.tensor(TEMPLATE_PX) + 0.5) / SIDE_PX, persistent=False)

    def forward(self, image: Float[Tensor, "B 3 H W"], points: Float[Tensor, "B 5 2"]) -> Float[Tensor, "B 512"]:
        """RGB in 0-1 -> embeddings of length 1."""
        face = similarity_crop(image.float(), points, self.template, SIDE_PX)
        return F.normalize(self.net(face * 2 - 1), dim=1)


class Block(nn.Module):
    """Norm, 3x3, norm, PReLU, 3x3 (with the stride), norm; added to the input or its projection."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(before)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.prelu = nn.PReLU(after)
        self.conv2 = nn.Conv2d(after, after, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(after)
        self.downsample: nn.Module | None = None
        if stride != 1 or before != after:
            project = nn.Conv2d(before, after, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(project, nn.BatchNorm2d(after))

    def forward(self, x: Float[Tensor, "B Cin H W"]) -> Float[Tensor, "B Cout h w"]:
        """The map plus its correction."""
        y = self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x)))))
        return self.bn3(y) + (x if self.downsample is None else self.downsample(x))


class IResNet(nn.Module):
    """Four stages, each halving the side, then one linear layer on the flat map; names are those of the files."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.prelu = nn.PReLU(WIDTHS[0])
        before = WIDTHS[0]
        for index, (depth, width) in enumerate(zip(LAYERS, WIDTHS, strict=True), start=1):
            blocks = [Block(before if i == 0 else width, width, 2 if i == 0 else 1) for i in range(depth)]
            self.add_module(f"layer{index}", nn.Sequential(*blocks))
            before = width
        self.bn2 = nn.BatchNorm2d(before)
        self.fc = nn.Linear(before * (SIDE_PX // 16) ** 2, 512)
        self.features = nn.BatchNorm1d(512)

    def forward(self, x: Float[Tensor, "B 3 112 112"]) -> Float[Tensor, "B 512"]:
        """RGB in -1 to 1 -> the embedding."""
        x = self.prelu(self.bn1(self.conv1(x)))
        for index in range(1, len(LAYERS) + 1):
            x = self.get_submodule(f"layer{index}")(x)
        return self.features(self.fc(self.bn2(x).flatten(1)))
