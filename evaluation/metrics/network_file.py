"""A network in a local file and how it wants its pictures -> vectors: TorchScript, torch.export or ONNX."""

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

Runner = Callable[[np.ndarray], np.ndarray]
BATCH = 8
"""Pictures that go through at once: bounds the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFile:
    """Somebody's network for faces or whole pictures. Nothing is downloaded; the format is told by the file's suffix.

    Raises:
        ValueError: a number does not make sense.
    """

    path: Path
    """`.pt`, `.ts`, `.torchscript` (TorchScript), `.pt2` (torch.export) or `.onnx`."""
    side_px: int
    """Side of the squares that it reads."""
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Taken off RGB in 0-1; ArcFace: 0.5; ImageNet networks: 0.485, 0.456, 0.406."""
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Divided by; ArcFace: 0.5; ImageNet networks: 0.229, 0.224, 0.225."""
    channels: Literal["rgb", "bgr"] = "rgb"
    template: tuple[tuple[float, float], ...] | None = None
    """Where the five points should lie, in pixels of its square; None: our own crop of the head."""
    outputs: tuple[int, int] | None = None
    """First and one past the last number of its vector that are used, e.g. the expression part; None for all."""

    def __post_init__(self) -> None:
        if self.side_px < 1 or min(self.std) <= 0:
            raise ValueError(f"{self.path}: side_px={self.side_px} and std={self.std} must be above 0")
        if self.template is not None and np.shape(self.template) != (5, 2):
            raise ValueError(f"{self.path}: template must hold five points (x, y), not {self.template}")

    def __call__(self, pictures: UInt8[np.ndarray, "N S S 3"]) -> Float32[np.ndarray, "N D"]:
        """Vectors of RGB pictures; other sizes are scaled.

        Raises:
            ValueError: the file is missing, is no network, or does not give a vector for each picture.
        """
        run = opened(self.path)
        parts = [self._vectors(run, pictures[i : i + BATCH]) for i in range(0, len(pictures), BATCH)]
        return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)

    def _vectors(self, run: Runner, pictures: np.ndarray) -> np.ndarray:
        if pictures.shape[1] != self.side_px:
            size = (self.side_px, self.side_px)
            pictures = np.stack([cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in pictures])
        x = (pictures.astype(np.float32) / 255 - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        if self.channels == "bgr":
            x = x[..., ::-1]
        try:
            y = run(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
        except (RuntimeError, TypeError, ValueError) as error:
            what = str(error).strip().splitlines()[0]
            raise ValueError(f"{self.path} does not take {self.side_px}x{self.side_px} px pictures ({what})") from error
        if y.ndim == 4:  # a map: its mean over the picture
            y = y.mean(axis=(2, 3))
        if y.ndim != 2 or len(y) != len(pictures):
            raise ValueError(f"{self.path} gives {y.shape} for {len(pictures)} pictures; a vector for each is needed")
        first, last = self.outputs or (0, y.shape[1])
        if not 0 <= first < last <= y.shape[1]:
            raise ValueError(f"{self.path} gives {y.shape[1]} numbers; outputs={self.outputs} are not among them")
        return y[:, first:last].astype(np.float32)


@functools.lru_cache(maxsize=8)
def opened(path: Path) -> Runner:
    """Load a network, once.

    Raises:
        ValueError: the file is missing or is no network of the kind that its suffix says.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give the path of a local network file, nothing is downloaded")
    loaders = {".onnx": _onnx, ".pt2": _exported, ".pt": _script, ".ts": _script, ".torchscript": _script}
    if path.suffix not in loaders:
        raise ValueError(f"{path}: unknown kind of network; known are {', '.join(sorted(loaders))}")
    try:
        return loaders[path.suffix](path)
    except Exception as error:  # each library has kinds of its own
        raise ValueError(f"{path}: this is not a network of the kind {path.suffix}; export it again") from error


def _script(path: Path) -> Runner:
    import torch

    with warnings.catch_warnings():
        # TorchScript is on its way out of torch, but is what identity networks are handed around as.
        warnings.simplefilter("ignore", DeprecationWarning)
        net = torch.jit.load(path, map_location="cpu").eval()
    return functools.partial(_run_torch, net)


def _exported(path: Path) -> Runner:
    import torch

    return functools.partial(_run_torch, torch.export.load(path).module())


def _run_torch(net: Callable, x: np.ndarray) -> np.ndarray:
    import torch

    with torch.inference_mode():
        y = net(torch.from_numpy(x))
    return _first(y).numpy()


def _onnx(path: Path) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(x: np.ndarray) -> np.ndarray:
        try:
            return np.asarray(session.run(None, {name: x})[0])
        except Exception as error:  # onnxruntime's own kinds have no base of their own
            raise RuntimeError(str(error)) from error

    return run


def _first(y: Any) -> Any:  # noqa: ANN401 - a tensor, or containers of one
    while isinstance(y, (tuple, list, dict)):
        y = next(iter(y.values())) if isinstance(y, dict) else y[0]
    return y
