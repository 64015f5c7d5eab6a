"""Two runs of frames -> LPIPS where its weights are at hand, and a named stand-in that needs none."""

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from evaluation.metrics.image import in_unit
from evaluation.metrics.metric import Metric

PERCEPTUAL_METRICS = (
    Metric(
        name="lpips", title="LPIPS", unit="", better="down", source="Zhang 2018, v0.1; equals the lpips package",
        needs="no AlexNet weights given (lpips_weights); see the stand-in beside it",
        definition="LPIPS-Alex v0.1 on RGB in -1..1; needs torchvision's AlexNet weights as a local file",
    ),
    Metric(
        name="grad_distance", title="gradient distance", unit="0-2", better="down", source="ours", stands_for="LPIPS",
        definition="gradient-feature distance, a stand-in, not LPIPS: colour gradients (Sobel) at 4 scales, "
        "each divided by its local strength (9x9 window), half the mean squared difference; 0 for equal frames, about "
        "1 for unrelated ones",
    ),
)  # fmt: skip
SHIFT, SPREAD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""LPIPS' normalisation of RGB in -1..1."""
NUM_SCALES = 4
WINDOW_PX = 9
FLAT_GRADIENT = 0.01
"""Gradient strength (RGB 0-1 per pixel) below which a region counts as flat: noise of 8-bit video, not structure."""


def gradient_distance(made: UInt8[np.ndarray, "S S 3"], true: UInt8[np.ndarray, "S S 3"]) -> float:
    """Gradient-feature distance of two frames: a stand-in, not LPIPS.

    At each of four scales (halved each time): Sobel gradients of the RGB picture, divided by the square root of their
    local energy; half the mean squared difference of those unit features. Equal frames give 0, unrelated texture about
    1, opposite edges 2; a change of brightness or contrast gives little, a moved edge much.
    """
    a, b = in_unit(made), in_unit(true)
    total = 0.0
    for _ in range(NUM_SCALES):
        total += _distance(a, b)
        half = (max(1, a.shape[1] // 2), max(1, a.shape[0] // 2))
        a, b = (cv2.resize(x, half, interpolation=cv2.INTER_AREA) for x in (a, b))
    return total / NUM_SCALES


def _distance(a: Float32[np.ndarray, "S S 3"], b: Float32[np.ndarray, "S S 3"]) -> float:
    """Half of |u - v|^2 is (|u|^2 + |v|^2) / 2 - uv: the unit features need not be made."""
    (ax, ay), (bx, by) = _gradients(a), _gradients(b)
    energy_a, energy_b, across = (
        _over_colours(ax, ax, ay, ay),
        _over_colours(bx, bx, by, by),
        _over_colours(ax, bx, ay, by),
    )
    flat = np.float32(FLAT_GRADIENT**2)
    local_a, local_b = (cv2.blur(energy, (WINDOW_PX, WINDOW_PX)) + flat for energy in (energy_a, energy_b))
    half = (energy_a / local_a + energy_b / local_b) / 2 - across / np.sqrt(local_a * local_b)
    return max(0.0, cv2.mean(half)[0])


def _gradients(image: Float32[np.ndarray, "S S 3"]) -> tuple[np.ndarray, np.ndarray]:
    return cv2.Sobel(image, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(image, cv2.CV_32F, 0, 1, scale=1 / 8)


def _over_colours(ax: np.ndarray, bx: np.ndarray, ay: np.ndarray, by: np.ndarray) -> Float32[np.ndarray, "S S"]:
    return cv2.transform(ax * bx + ay * by, np.ones((1, 3), np.float32))


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
        if not path.is_file():
            raise ValueError(f"{path}: no such file; give torchvision's AlexNet weights, or null")
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            from torchvision.models import alexnet

            net = alexnet(weights=None)
            net.load_state_dict(state)
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
