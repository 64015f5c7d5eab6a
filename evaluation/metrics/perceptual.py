"""Two runs of frames -> LPIPS where its weights are at hand, and a named stand-in that needs none."""

from importlib.util import find_spec
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

SHIFT, SPREAD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""LPIPS' normalisation of RGB in -1..1."""
NUM_SCALES = 4
WINDOW_PX = 9
FLAT_GRADIENT = 0.01
"""Gradient strength (RGB 0-1 per pixel) below which a region counts as flat: noise of 8-bit video, not structure."""


def gradient_distance(result: Float[Tensor, "T 3 S S"], truth: Float[Tensor, "T 3 S S"]) -> Float[Tensor, " T"]:
    """Gradient-feature distance per frame: a stand-in, not LPIPS.

    At each of four scales (halved each time): central differences of the smoothed RGB picture, divided by the square
    root of their local energy; half the mean squared difference of those unit features. Equal frames give 0, unrelated
    texture about 1, opposite edges 2; a change of brightness or contrast gives little, a moved edge much.
    """
    total = torch.zeros(result.shape[0], device=result.device)
    a, b = result, truth
    for _ in range(NUM_SCALES):
        total += 0.5 * (_unit_gradients(a) - _unit_gradients(b)).square().sum(dim=1).mean(dim=(1, 2))
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return total / NUM_SCALES


def _unit_gradients(image: Float[Tensor, "T 3 S S"]) -> Float[Tensor, "T 6 S2 S2"]:
    kernel = image.new_tensor([1.0, 2.0, 1.0]) / 4
    weight = (kernel[:, None] * kernel).expand(3, 1, 3, 3)
    smooth = F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), weight, groups=3)
    dx = (smooth[:, :, 1:-1, 2:] - smooth[:, :, 1:-1, :-2]) / 2
    dy = (smooth[:, :, 2:, 1:-1] - smooth[:, :, :-2, 1:-1]) / 2
    gradients = torch.cat((dx, dy), dim=1)
    energy = gradients.square().sum(dim=1, keepdim=True)
    local = F.avg_pool2d(energy, WINDOW_PX, stride=1, padding=WINDOW_PX // 2, count_include_pad=False)
    return gradients / (local + FLAT_GRADIENT**2).sqrt()


class Lpips(nn.Module):
    """LPIPS-Alex v0.1 (Zhang 2018) from local weights: AlexNet from a file, the linear layers from torchmetrics."""

    def __init__(self, alexnet: nn.Module, linear: dict[str, Tensor]) -> None:
        super().__init__()
        self.features: nn.Module = alexnet.features  # pyright: ignore[reportAttributeAccessIssue]
        self.taps = (1, 4, 7, 9, 11)
        for i in range(len(self.taps)):
            self.register_buffer(f"linear{i}", linear[f"lin{i}.model.1.weight"])
        self.eval().requires_grad_(False)

    @classmethod
    def from_file(cls, path: Path) -> "Lpips":
        """Read torchvision's AlexNet (`alexnet-owt-*.pth`) from disk; nothing is downloaded.

        Raises:
            ValueError: the file is missing or is not AlexNet's.
        """
        from torchvision.models import alexnet

        if not path.is_file():
            raise ValueError(f"{path}: no such file; give torchvision's AlexNet weights, or null")
        net = alexnet(weights=None)
        try:
            net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:
            raise ValueError(f"{path}: these are not torchvision's AlexNet weights; give that .pth or null") from error
        return cls(net, linear_weights())

    def forward(self, result: Float[Tensor, "T 3 S S"], truth: Float[Tensor, "T 3 S S"]) -> Float[Tensor, " T"]:
        """Distance per frame of pictures in 0-1."""
        shift, spread = (result.new_tensor(values).reshape(1, 3, 1, 1) for values in (SHIFT, SPREAD))
        a, b = ((2 * x - 1 - shift) / spread for x in (result, truth))
        total = torch.zeros(result.shape[0], device=result.device)
        for index, layer in enumerate(self.features):  # pyright: ignore[reportArgumentType]
            a, b = layer(a), layer(b)
            if index in self.taps:
                weight = getattr(self, f"linear{self.taps.index(index)}")
                difference = (F.normalize(a, dim=1, eps=1e-8) - F.normalize(b, dim=1, eps=1e-8)).square()
                total = total + F.conv2d(difference, weight).mean(dim=(1, 2, 3))
            if index == self.taps[-1]:
                break
        return total


def linear_weights() -> dict[str, Tensor]:
    """The five 1x1 layers of LPIPS-Alex, which torchmetrics ships."""
    spec = find_spec("torchmetrics")
    if spec is None or spec.origin is None:
        raise ValueError("LPIPS needs torchmetrics, which is not installed")
    path = Path(spec.origin).parent / "functional" / "image" / "lpips_models" / "alex.pth"
    return torch.load(path, map_location="cpu", weights_only=True)
