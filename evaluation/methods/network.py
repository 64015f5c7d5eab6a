"""A pair -> frames that the networks of a weights directory make."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from evaluation.driving import DrivingOptions
from evaluation.engine import Engine
from evaluation.protocols.pairs import PairFrames
from evaluation.retarget import eyes_delta, finished, lips_delta
from evaluation.side_by_side import resized


class Network:
    """The networks of one weights directory.

    Args:
        name: in tables.
        engine: the networks on a device.
        options: how the driver's motion is taken over.
        stitching: correct the keypoints so that shoulders stay (S).
        about: where the weights come from.
    """

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
        """Load a weights directory of any size; relative motion, as a user would animate.

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
        """Animate the source crop by the driving crops, or by the openings that a sweep asks for.

        Raises:
            ValueError: a sweep's source does not know its own openings.
        """
        side_px, input_px = pair.source.shape[0], self.engine.input_px
        source = resized(pair.source, input_px)
        if pair.commanded is not None:
            frames = self._swept(source, pair)
        else:
            driving = (resized(frame, input_px) for frame in pair.driving)
            frames = self.engine.animate(source, driving, self.options, stitching=self.stitching)
        return np.stack([resized(frame, side_px) for frame in frames])

    @torch.inference_mode()
    def _swept(self, source: UInt8[np.ndarray, "S S 3"], pair: PairFrames) -> list[UInt8[np.ndarray, "O O 3"]]:
        """The source at rest, its eyes or lips retargeted to each commanded ratio."""
        if pair.source_openings is None or pair.commanded is None:
            raise ValueError(
                f"{pair.pair_id}: how open the source's eyes and lips are is unknown; give them as they look with "
                "protocol.source_eyes=0.35 protocol.source_lips=0.0, or use data with truth files"
            )
        engine = self.engine
        prepared = engine.prepare(source)
        count, device = len(pair.commanded), engine.device
        x_s = prepared.x_s.expand(count, -1, -1)
        wanted = torch.from_numpy(pair.commanded).to(device)[:, None]
        own = torch.from_numpy(pair.source_openings).to(device).expand(count, 3)
        if pair.sweep == "lips":
            change = lips_delta(engine.corrections, x_s, own[:, 2:], wanted)
        else:
            change = eyes_delta(engine.corrections, x_s, own[:, :2], wanted)
        stitch = engine.corrections.stitch if self.stitching else None
        is_last = self.options.rules == "animal-stitched"
        x_d = finished(x_s, x_s + change, stitch, self.options.multiplier, stitch_last=is_last)
        return list(engine.render(prepared, x_d))


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
