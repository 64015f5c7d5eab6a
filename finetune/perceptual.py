"""Pictures -> feature maps to compare them by: VGG-19 from a local file, or fixed filters that need no file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from finetune.losses import feature_matching
from finetune.teachers.network_file import fill_from_file

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
VGG_SLICES = (2, 7, 12, 21, 30)
"""Ends of relu1_1, relu2_1, relu3_1, relu4_1, relu5_1 in torchvision's vgg19().features."""
VGG_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)


@runtime_checkable
class FeatureNet(Protocol):
    """A plug-in for the perceptual loss."""

    summary: str
    """One line for the log: what it is and where it comes from."""
    layer_weights: Sequence[float]
    is_stand_in: bool
    """Whether a net that is given by path (the puppet teacher) takes its place."""

    def __call__(self, image: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        """RGB in 0-1 -> one feature map per layer."""
        ...


class OrientedFilters(nn.Module):
    """Offline stand-in: oriented edge filters, their pooled energies, and fixed random mixtures of those.

    It sees what a first visual layer sees (where edges run, how strong they are, how textured a patch is, at three
    sizes) and nothing of objects. Values come from formulas and a fixed seed, so every machine has the same ones.
    """

    summary = "stand-in: fixed oriented filters at 3 sizes (no VGG file given)"
    is_stand_in = True

    filters: Tensor
    mixing: Tensor
    opponent: Tensor

    def __init__(self, orientations: int = 6, kernel: int = 7, mixtures: int = 32, scales: int = 3) -> None:
        super().__init__()
        self.scales = scales
        self.layer_weights = (1.0, 1.0, 1.0) * scales
        self.register_buffer("filters", _gabors(orientations, kernel), persistent=False)
        generator = torch.Generator().manual_seed(7)
        channels = self.filters.shape[0]
        mixing = torch.randn(mixtures, channels, 3, 3, generator=generator) / (3 * channels**0.5)
        self.register_buffer("mixing", mixing, persistent=False)
        # Luminance, then two opponent colours.
        opponent = torch.tensor([[0.299, 0.587, 0.114], [0.5, -0.5, 0.0], [0.25, 0.25, -0.5]])
        self.register_buffer("opponent", opponent[:, :, None, None], persistent=False)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        """Per size: signed responses, pooled energies, mixtures of energies."""
        layers = []
        for scale in range(self.scales):
            if scale:
                image = F.avg_pool2d(image, 2)
            colours = F.conv2d(image, self.opponent.to(image.dtype))
            grey = colours[:, :1]
            responses = F.conv2d(F.pad(grey, (3, 3, 3, 3), mode="replicate"), self.filters.to(grey.dtype))
            energy = F.avg_pool2d(torch.sqrt(responses.float().square() + 1e-4).to(grey.dtype), 2)
            mixed = F.relu(F.conv2d(energy, self.mixing.to(energy.dtype), stride=2, padding=1))
            layers += [torch.cat((responses, colours[:, 1:]), dim=1), energy, mixed]
        return layers


def _gabors(orientations: int, kernel: int) -> Float[Tensor, "N 1 k k"]:
    """Odd (edge) and even (line) Gabor filters, zero mean, unit L1 norm."""
    half = kernel // 2
    y, x = torch.meshgrid(torch.arange(-half, half + 1.0), torch.arange(-half, half + 1.0), indexing="ij")
    bank = []
    for index in range(orientations):
        angle = torch.tensor(torch.pi * index / orientations)
        along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
        envelope = torch.exp(-(along.square() + 0.4 * across.square()) / (2 * 1.5**2))
        for wave in (torch.sin(along * 1.4), torch.cos(along * 1.4)):
            values = envelope * wave
            values = values - values.mean()
            bank.append(values / values.abs().sum())
    return torch.stack(bank)[:, None]


class Vgg19(nn.Module):
    """VGG-19 trained on ImageNet, from torchvision's weights file.

    Raises:
        ValueError: the file is missing or is not that file.
    """

    layer_weights = VGG_WEIGHTS
    is_stand_in = False
    mean: Tensor
    std: Tensor

    def __init__(self, path: Path | str) -> None:
        super().__init__()
        from torchvision.models import vgg19

        net = vgg19(weights=None)
        fill_from_file(
            net, path, "features.path",
            "torchvision's VGG-19 file vgg19-dcbb9e9d.pth, or use the offline stand-in with features=filters",
        )  # fmt: skip
        features = net.features
        assert isinstance(features, nn.Sequential)
        begins = (0, *VGG_SLICES[:-1])
        self.slices = nn.ModuleList(features[a:b] for a, b in zip(begins, VGG_SLICES, strict=True))
        self.requires_grad_(False).eval()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)
        self.summary = f"VGG-19 from {path}"

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        """The five ReLU layers of face-vid2vid."""
        x, layers = (image - self.mean) / self.std, []
        for part in self.slices:
            x = part(x)
            layers.append(x)
        return layers


def perceptual(net: FeatureNet, image: Float[Tensor, "B 3 H W"], target: Float[Tensor, "B 3 H W"]) -> Float[Tensor, ""]:
    """L_P = sum_l w_l mean |phi_l(I) - phi_l(I_target)|_1 / sum_l w_l (face-vid2vid A.2); gradient to `image` only."""
    with torch.no_grad():
        wanted = net(target)
    found = net(image)
    total = image.new_zeros(())
    for weight, theirs, ours in zip(net.layer_weights, wanted, found, strict=True):
        total = total + weight * feature_matching([theirs], [ours])
    return total / sum(net.layer_weights)
