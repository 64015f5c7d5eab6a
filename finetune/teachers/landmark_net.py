"""A picture -> the 70 landmarks by any TorchScript file whose input and output are declared in the options."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from finetune.clips import NUM_LANDMARKS
from finetune.teachers.network_file import TeacherError, existing_file

OPTION = "teachers.landmarks"


@dataclass(frozen=True, kw_only=True)
class LandmarkFile:
    """The `teachers.landmarks` options: the file, and what it reads and gives.

    Raises:
        ValueError: a number is out of range or the order does not name 70 landmarks.
    """

    path: Path | str | None = None
    """A TorchScript file: f32[B,3,S,S] -> f32[B,N,2] or f32[B,2N]. Loading it runs its code: use files you trust."""
    side_px: int = 256
    """S: the side that it reads."""
    mean: Sequence[float] = (0.0, 0.0, 0.0)
    """Subtracted from RGB in 0-1."""
    std: Sequence[float] = (1.0, 1.0, 1.0)
    """Then divided by."""
    units: Literal["frac", "px", "centred"] = "frac"
    """Of the output: fractions of the side, pixels of the side it reads, or -1 to 1."""
    num_outputs: int = NUM_LANDMARKS
    """N: points that it gives."""
    order: Sequence[int] = ()
    """For each of the 70 landmarks (docs/puppets.md) the number of the output that shows it; empty: the same order."""

    def __post_init__(self) -> None:
        if self.units not in ("frac", "px", "centred"):
            raise ValueError(f"{OPTION}.units is {self.units!r}; give frac, px or centred")
        if any(deviation <= 0 for deviation in self.std) or len(self.std) != 3 or len(self.mean) != 3:
            raise ValueError(f"{OPTION}.mean and std need three numbers each, those of std above 0")
        order = list(self.order)
        if (len(order) or self.num_outputs) != NUM_LANDMARKS or any(not 0 <= i < self.num_outputs for i in order):
            raise ValueError(
                f"{OPTION}.order must name one of the {self.num_outputs} outputs for each of the {NUM_LANDMARKS} "
                "landmarks"
            )

    def load(self) -> "LandmarkNet | None":
        """The network, or None without a path.

        Raises:
            TeacherError: the file is missing, no TorchScript, or gives something else than was declared.
        """
        if self.path is None:
            return None
        file = existing_file(self.path, f"{OPTION}.path", "a TorchScript file")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript itself; such files will be around
                script = torch.jit.load(str(file), map_location="cpu").eval()
        except (RuntimeError, ValueError) as error:
            raise TeacherError(f"{OPTION}.path={file} is no TorchScript file; save one with torch.jit.save") from error
        net = LandmarkNet(script, self)
        net.summary = f"TorchScript from {file}"
        net.requires_grad_(False)
        net.try_once()
        return net


class LandmarkNet(nn.Module):
    """Asks the script and brings its answer into our order and units."""

    mean: Tensor
    std: Tensor

    def __init__(self, script: nn.Module, declared: LandmarkFile) -> None:
        super().__init__()
        self.script, self.declared = script, declared
        self.summary = "TorchScript"
        self.register_buffer("mean", torch.tensor([*declared.mean])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor([*declared.std])[:, None, None], persistent=False)

    def try_once(self) -> None:
        """Ask about a grey picture.

        Raises:
            TeacherError: the answer is not what was declared.
        """
        declared = self.declared
        wanted = f"f32[1,{declared.num_outputs},2] for a picture of {declared.side_px} px"
        try:
            with torch.no_grad():
                answer = self.script(torch.zeros(1, 3, declared.side_px, declared.side_px))
        except RuntimeError as error:
            reason = " ".join(str(error).split())[-80:]
            raise TeacherError(f"{OPTION}.path={declared.path} should give {wanted}, but fails ({reason})") from error
        shapes = ((1, declared.num_outputs, 2), (1, 2 * declared.num_outputs))
        if not isinstance(answer, Tensor) or tuple(answer.shape) not in shapes:
            given = list(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
            raise TeacherError(
                f"{OPTION}.path={declared.path} should give {wanted}, but gives {given}; correct num_outputs"
            )

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B L 2"]:
        """RGB in 0-1 -> landmarks in fractions of the side."""
        declared = self.declared
        size = (declared.side_px, declared.side_px)
        x = F.interpolate(image.float(), size=size, mode="bilinear", align_corners=False, antialias=True)
        points: Tensor = self.script((x - self.mean) / self.std).float()
        points = points.reshape(len(image), declared.num_outputs, 2)
        if declared.units == "px":
            points = (points + 0.5) / declared.side_px
        elif declared.units == "centred":
            points = (points + 1) / 2
        return points[:, list(declared.order)] if declared.order else points
