"""A picture -> pitch, yaw, roll by a ResNet-50 with three 66-bin heads (Hopenet, Ruiz et al. 2018)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from finetune.perceptual import IMAGENET_MEAN, IMAGENET_STD
from finetune.teachers.network_file import fill_from_file

WANTED = (
    "a state dict of a ResNet-50 with fc_yaw, fc_pitch and fc_roll of 66 bins (Hopenet's hopenet_robust_alpha1.pkl)"
)
NUM_BINS = 66


@dataclass(frozen=True, kw_only=True)
class PoseFile:
    """The `teachers.pose` options.

    Raises:
        ValueError: the signs are not three numbers of size 1.
    """

    path: Path | str | None = None
    side_px: int = 224
    first_deg: float = -99.0
    """Angle of the first bin; bins are 3 degrees wide."""
    signs: Sequence[int] = (-1, 1, 1)
    """Of pitch, yaw, roll, to ours: nose down, nose to the viewer's left, clockwise. Hopenet's pitch counts upwards."""

    def __post_init__(self) -> None:
        if len(self.signs) != 3 or any(sign not in (-1, 1) for sign in self.signs):
            raise ValueError(f"teachers.pose.signs is {list(self.signs)}; give 1 or -1 for pitch, yaw and roll")

    def load(self) -> "HeadPoseNet | None":
        """The network, or None without a path.

        Raises:
            TeacherError: the file does not fit.
        """
        if self.path is None:
            return None
        net = HeadPoseNet(self.side_px, self.first_deg, self.signs)
        # Hopenet's files carry a fourth head from a finer training step, which nothing reads.
        fill_from_file(
            net.net, self.path, "teachers.pose.path", WANTED,
            rename=lambda name: None if name.startswith("fc_finetune.") else name,
        )  # fmt: skip
        net.summary = f"ResNet-50 with 66-bin heads from {self.path}"
        return net


class HeadPoseNet(nn.Module):
    """Reads the head pose of pictures in [0, 1]."""

    mean: Tensor
    std: Tensor
    signs: Tensor

    def __init__(self, side_px: int = 224, first_deg: float = -99.0, signs: Sequence[int] = (-1, 1, 1)) -> None:
        super().__init__()
        from torchvision.models import resnet50

        net = resnet50(weights=None)
        net.fc = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
        for name in ("fc_yaw", "fc_pitch", "fc_roll"):
            net.add_module(name, nn.Linear(2048, NUM_BINS))
        self.net, self.side_px, self.first_deg = net, side_px, first_deg
        self.summary = "ResNet-50 with 66-bin heads, untrained"
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)
        self.register_buffer("signs", torch.tensor(signs, dtype=torch.float32), persistent=False)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3"]:
        """RGB in 0-1 -> pitch, yaw, roll in degrees, in our signs."""
        size = (self.side_px, self.side_px)
        x = F.interpolate(image.float(), size=size, mode="bilinear", align_corners=False, antialias=True)
        x = self.net((x - self.mean) / self.std)
        index = torch.arange(NUM_BINS, device=x.device, dtype=x.dtype)
        heads = [self.net.get_submodule(name)(x) for name in ("fc_pitch", "fc_yaw", "fc_roll")]
        bins = torch.stack(heads, dim=1).softmax(dim=2)
        return ((bins * index).sum(dim=2) * 3 + self.first_deg) * self.signs
