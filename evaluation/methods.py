"""A pair -> frames: the networks under test and the simple baselines that they must beat."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from evaluation.driving import DrivingOptions
from evaluation.engine import Engine
from evaluation.protocols import PairFrames
from evaluation.side_by_side import resized


@runtime_checkable
class Method(Protocol):
    """Anything that moves a source like a driver."""

    name: str
    about: dict[str, Any]
    """Where it comes from: goes into the report."""

    def __call__(self, pair: PairFrames) -> UInt8[np.ndarray, "T S S 3"]:
        """Frames of the truth's number and size."""
        ...


class CopySource:
    """Does nothing: the source, again and again. What does not beat it has learnt nothing."""

    name = "copy source"
    about: dict[str, Any] = {"kind": "baseline"}  # noqa: RUF012 - a constant

    def __call__(self, pair: PairFrames) -> UInt8[np.ndarray, "T S S 3"]:
        """The source for every frame."""
        return np.repeat(pair.source[None], len(pair.driving), axis=0)


class SimilarityWarp:
    """Moves the whole source picture as the driver's five points move: shift, turn and zoom, no expression."""

    name = "similarity warp"
    about: dict[str, Any] = {"kind": "baseline"}  # noqa: RUF012

    def __call__(self, pair: PairFrames) -> UInt8[np.ndarray, "T S S 3"]:
        """Warped sources; the source itself where points are unknown."""
        if pair.source_points is None or pair.driving_points is None:
            return CopySource()(pair)
        rest = pair.driving_points[0]
        ratio = _spread(pair.source_points) / max(1e-6, _spread(rest))
        frames = []
        for points in pair.driving_points:
            wanted = pair.source_points + (points - rest) * ratio
            warped = cv2.warpAffine(
                pair.source, similarity(pair.source_points, wanted), pair.source.shape[1::-1],
                flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
            )  # fmt: skip
            frames.append(warped)
        return np.stack(frames)


class Network:
    """The networks of one weights directory."""

    def __init__(
        self, name: str, engine: Engine, options: DrivingOptions, *, stitching: bool = False, about: dict | None = None
    ) -> None:
        self.name = name
        self.engine = engine
        self.options = options
        self.stitching = stitching
        self.about = {"kind": "network", "stitching": stitching} | (about or {})

    @classmethod
    def from_pretrained(
        cls, name: str, weights: str | Path, *, stitching: bool = False, device: str = "cpu", batch_frames: int = 4,
        multiplier: float = 1.0,
    ) -> "Network":  # fmt: skip
        """Load a weights directory; relative motion, as a user would animate.

        Raises:
            ValueError: the weights cannot be loaded.
        """
        from lp_models.weights import load_pretrained, resolve_weights

        folder = resolve_weights(weights)
        engine = Engine(load_pretrained(folder, device), device, batch_frames)
        # Pose-friendly: source and driver are framed alike, so nothing has to be fitted.
        options = DrivingOptions(balance="pose-friendly", multiplier=multiplier)
        about = {"weights": str(folder), "sha256": weights_hash(folder), "model": engine.config.name}
        return cls(name, engine, options, stitching=stitching, about=about)

    def __call__(self, pair: PairFrames) -> UInt8[np.ndarray, "T S S 3"]:
        """Animate the source crop by the driving crops."""
        side_px, input_px = pair.source.shape[0], self.engine.input_px
        driving = (resized(frame, input_px) for frame in pair.driving)
        frames = self.engine.animate(resized(pair.source, input_px), driving, self.options, stitching=self.stitching)
        return np.stack([resized(frame, side_px) for frame in frames])


def similarity(source: Float[np.ndarray, "5 2"], target: Float[np.ndarray, "5 2"]) -> Float[np.ndarray, "2 3"]:
    """Least-squares shift, turn and zoom from one set of points to another (Umeyama 1991, without reflection)."""
    a, b = source.astype(np.float64), target.astype(np.float64)
    za, zb = (p[:, 0] + 1j * p[:, 1] for p in (a - a.mean(axis=0), b - b.mean(axis=0)))
    z = (za.conj() @ zb) / max(1e-12, float((za.conj() @ za).real))
    turn = np.array([[z.real, -z.imag], [z.imag, z.real]])
    return np.concatenate([turn, (b.mean(axis=0) - turn @ a.mean(axis=0))[:, None]], axis=1)


def weights_hash(folder: Path) -> str:
    """First 16 hex digits over the files of a weights directory, or over a checkpoint file."""
    import hashlib

    digest = hashlib.sha256()
    files = [folder] if folder.is_file() else folder.rglob("*")
    for path in sorted(p for p in files if p.suffix in (".safetensors", ".pth", ".json", ".ckpt")):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def unique_names(folders: Sequence[str]) -> list[str]:
    """Short names for weights directories: as many last parts of their paths as it takes to tell them apart."""
    for length in range(1, 8):
        names = ["/".join(Path(folder).parts[-length:]) or folder for folder in folders]
        if len(set(names)) == len(names):
            return names
    return list(folders)


def _spread(points: np.ndarray) -> float:
    return float(np.linalg.norm(points - points.mean(axis=0)))
