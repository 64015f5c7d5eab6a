"""Square crops of one head -> its pose, eye and lip openings and landmarks: the judge of motion, a small network.

It is trained on its own (evaluation/reader_training.py, docs/face_reader.md) and shares nothing with the motion network
that is measured.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor, nn

from data_pipeline.puppets.landmarks import FLIPPED_LANDMARKS
from data_pipeline.records import SPECIES, Species
from evaluation.metrics.recent import Recent
from evaluation.metrics.signals import Signals

WEIGHTS = Path(__file__).with_name("face_reader.safetensors")
SIDE_PX = 128
VIEW_FRAC = 0.85
"""Share of the crop's side that the network sees, in the middle: heads fill 62 % of it."""
NUM_LANDMARKS = 70
_POSE_UNIT_DEG, _OPENING_UNIT = 20.0, 0.3
_FORMAT = "face-reader-1"
_FLAT_SPREAD = 2 / 255
"""A picture whose values spread less than this shows nothing: no reading."""


_Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]
"""The fields of a `Reading` of all frames."""


class Reading(NamedTuple):
    """What the network says about B pictures."""

    pose_deg: Float[Tensor, "B 3"]
    """Pitch, yaw, roll."""
    openings: Float[Tensor, "B 3"]
    """Own right eye, own left eye, lips: ratios, 0 is closed."""
    landmarks: Float[Tensor, "B 70 2"]
    """x, y as shares of the side of what is seen, in the puppets' order; 0 is the left or upper edge."""


class _Step(nn.Module):
    """Convolution, normalisation (while training) and ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, is_trained: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=not is_trained)
        self.norm = nn.BatchNorm2d(outputs) if is_trained else nn.Identity()

    def forward(self, x: Float[Tensor, "B I H W"]) -> Float[Tensor, "B O h w"]:
        return self.norm(self.conv(x)).relu()


class _Residual(nn.Module):
    """A bottleneck added to its input."""

    def __init__(self, channels: int, inner: int, is_trained: bool) -> None:
        super().__init__()
        self.steps = nn.Sequential(
            _Step(channels, inner, 1, 1, is_trained),
            _Step(inner, inner, 3, 1, is_trained),
            _Step(inner, channels, 1, 1, is_trained),
        )

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return x + self.steps(x)


class ReaderNetwork(nn.Module):
    """A convolutional trunk that all species share, with a last layer for each species.

    Args:
        is_trained: with batch normalisation; the shipped network has it folded into the convolutions.
    """

    def __init__(self, is_trained: bool = True) -> None:
        super().__init__()
        t = is_trained
        self.trunk = nn.Sequential(
            _Step(3, 24, 5, 2, t), _Step(24, 48, 3, 2, t), _Residual(48, 24, t), _Residual(48, 24, t),
            _Step(48, 96, 3, 2, t), _Residual(96, 48, t), _Residual(96, 48, t),
            _Step(96, 144, 3, 2, t), _Residual(144, 64, t), _Step(144, 24, 1, 1, t),
        )  # fmt: skip
        self.hidden = nn.Linear(24 * (SIDE_PX // 16) ** 2, 112)
        self.last = nn.Linear(112, len(SPECIES) * (6 + 2 * NUM_LANDMARKS))

    def forward(self, image: Float[Tensor, "B 3 128 128"], species: Int64[Tensor, " B"]) -> Reading:
        """RGB in 0-1 and the position of each picture's species in SPECIES -> readings."""
        found = self.hidden(self.trunk(image * 2 - 1).flatten(1)).relu()
        every = self.last(found).unflatten(1, (len(SPECIES), -1)).float()
        values = every[torch.arange(len(species), device=species.device), species]
        return Reading(
            values[:, :3] * _POSE_UNIT_DEG,
            values[:, 3:6] * _OPENING_UNIT,
            0.5 + values[:, 6:].unflatten(1, (NUM_LANDMARKS, 2)) * 0.25,
        )


def folded(network: ReaderNetwork) -> ReaderNetwork:
    """The same function without normalisation layers: smaller and quicker, not to be trained."""
    from torch.nn.utils.fusion import fuse_conv_bn_weights

    plain = ReaderNetwork(is_trained=False)
    state = {name: value for name, value in network.state_dict().items() if name in plain.state_dict()}
    for name, step in network.named_modules():
        if isinstance(step, _Step):
            norm = step.norm
            if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None or norm.running_var is None:
                raise ValueError("the network is already folded")
            weight, bias = fuse_conv_bn_weights(
                step.conv.weight, None, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
            )
            state |= {f"{name}.conv.weight": weight.detach(), f"{name}.conv.bias": bias.detach()}
    plain.load_state_dict(state)
    return plain.eval().requires_grad_(False)


def save_reader(network: ReaderNetwork, path: Path, facts: dict[str, str]) -> None:
    """Write a trained network, folded, in half precision; `facts` travel in the file's header."""
    from safetensors.torch import save_file

    from data_pipeline.whole_file import whole_file

    state = {name: value.detach().half().contiguous() for name, value in folded(network).state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        save_file(state, part, metadata={**facts, "format": _FORMAT})


def load_reader(path: Path) -> ReaderNetwork:
    """The folded network of a file.

    Raises:
        ValueError: the file is missing or holds no reader of this version.
    """
    from safetensors import SafetensorError, safe_open

    hint = "train one with `python -m evaluation.reader_training puppets=DIR out=FILE`"
    if not path.is_file():
        raise ValueError(f"the face reader's weights {path} do not exist; {hint}")
    network = ReaderNetwork(is_trained=False)
    try:
        with safe_open(path, "pt") as stored:
            if (stored.metadata() or {}).get("format") != _FORMAT:
                raise ValueError(f"{path} holds no {_FORMAT}; {hint}")
            network.load_state_dict({name: stored.get_tensor(name).float() for name in stored.keys()})  # noqa: SIM118
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ValueError(f"{path} is not a face reader of this version ({type(error).__name__}); {hint}") from error
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


@dataclass(kw_only=True)
class FaceReader:
    """Reads the motion of a head from crops framed like ours (data_pipeline/crop.py).

    It always answers where a picture shows anything at all, also when no head is in it: see the metric `detected`.
    What it read of the last few clips is remembered: several methods share a driver, several measures a result.

    Args:
        path: the weights, None for the shipped ones.
        batch_frames: pictures read at once.
        mirror: read each picture and its mirror image and average: steadier, and left and right are judged alike.

    Raises:
        ValueError: at the first use, when the weights are missing or damaged.
    """

    path: str | Path | None = None
    batch_frames: int = 8
    mirror: bool = True
    _network: ReaderNetwork | None = field(default=None, init=False, repr=False, compare=False)
    _recent: Recent[_Arrays] = field(default_factory=lambda: Recent[_Arrays](), init=False, repr=False, compare=False)

    def __getstate__(self) -> dict[str, object]:
        """Without the network, which is read again where this travels to, and without what it read."""
        return {**self.__dict__, "_network": None, "_recent": Recent[_Arrays]()}

    def missing(self) -> str:
        """Why this cannot read, in one sentence; empty when it can."""
        try:
            self._load()
        except ValueError as error:
            return str(error)
        return ""

    def __call__(self, frames: UInt8[np.ndarray, "T S S 3"], species: Species) -> Signals:
        """Crops of one head in time -> its motion; NaN for frames without any picture."""
        return self.with_landmarks(frames, species)[0]

    def with_landmarks(
        self, frames: UInt8[np.ndarray, "T S S 3"], species: Species
    ) -> tuple[Signals, Float32[np.ndarray, "T 70 2"]]:
        """Crops of one head in time -> its motion and the puppets' 70 landmarks in pixels, centres at integers."""
        found = self._recent.of(lambda: self._read(frames, species), frames, species)
        pose, openings, landmarks = (array.copy() for array in found)  # whoever changes them changes nobody else's
        cut_px = cut_of(frames.shape[1])
        seen_px = np.float32(frames.shape[1] - 2 * cut_px)
        return Signals(*pose.T, *openings.T), landmarks * seen_px + np.float32(cut_px - 0.5)

    def _load(self) -> ReaderNetwork:
        if self._network is None:
            self._network = load_reader(Path(self.path or WEIGHTS))
        return self._network

    def _read(self, frames: np.ndarray, species: Species) -> _Arrays:
        network, kind = self._load(), torch.tensor(SPECIES.index(species))
        parts: list[list[np.ndarray]] = [[], [], []]
        with torch.inference_mode():
            for start in range(0, len(frames), self.batch_frames):
                view = to_input(frames[start : start + self.batch_frames])
                kinds = kind.expand(len(view))
                reading = network(view, kinds)
                if self.mirror:
                    reading = averaged(reading, unmirrored(network(view.flip(3), kinds)))
                is_empty = (view.flatten(1).std(dim=1) < _FLAT_SPREAD).numpy()
                for part, values in zip(parts, reading, strict=True):
                    part.append(np.where(is_empty.reshape(-1, *[1] * (values.ndim - 1)), np.float32(np.nan), values))
        pose, openings, landmarks = (np.concatenate(part) for part in parts)
        return pose, openings, landmarks


def unmirrored(reading: Reading) -> Reading:
    """What was read in a mirror image, as it is in the picture itself."""
    sign = reading.pose_deg.new_tensor([1.0, -1.0, -1.0])
    flip = reading.landmarks.new_tensor([1.0, 0.0])
    landmarks = flip + reading.landmarks[:, FLIPPED_LANDMARKS] * reading.landmarks.new_tensor([-1.0, 1.0])
    return Reading(reading.pose_deg * sign, reading.openings[:, [1, 0, 2]], landmarks)


def averaged(one: Reading, other: Reading) -> Reading:
    """The mean of two readings of the same pictures."""
    return Reading(*((a + b) / 2 for a, b in zip(one, other, strict=True)))


def cut_of(side_px: int) -> int:
    """Pixels at each edge of a crop that the reader does not look at."""
    return round(side_px * (1 - VIEW_FRAC) / 2)


def to_input(frames: UInt8[np.ndarray, "T S S 3"]) -> Float[Tensor, "T 3 128 128"]:
    """u8 crops of any side -> what the network takes: their middle."""
    import cv2

    cut = cut_of(frames.shape[1])
    middle = frames[:, cut : frames.shape[1] - cut, cut : frames.shape[2] - cut]
    way = cv2.INTER_AREA if middle.shape[1] > SIDE_PX else cv2.INTER_LINEAR
    return to_float(np.stack([cv2.resize(frame, (SIDE_PX,) * 2, interpolation=way) for frame in middle]))


def to_float(views: UInt8[np.ndarray, "T 128 128 3"]) -> Float[Tensor, "T 3 128 128"]:
    """u8 pictures of the reader's side -> 0-1."""
    stacked = torch.from_numpy(views).permute(0, 3, 1, 2)
    return stacked.to(torch.float32, memory_format=torch.channels_last) / 255
