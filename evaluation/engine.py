"""A source crop and driving crops -> moved crops: the networks around the driving rules, without files or detectors."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from evaluation.driving import DrivingOptions, PosedMotion, drive_image, neutral_expression, posed, posed_motion
from evaluation.retarget import finished
from lp_models import LivePortrait, Motion


class PreparedSource(NamedTuple):
    """What is computed once per source picture."""

    volume: Float[Tensor, "1 C D H W"]
    canonical: Float[Tensor, "1 K 3"]
    motion: PosedMotion
    x_s: Float[Tensor, "1 K 3"]


class Engine:
    """The networks of one weights directory on one device."""

    def __init__(self, model: LivePortrait, device: str = "cpu", batch_frames: int = 4) -> None:
        if batch_frames < 1:
            raise ValueError(f"batch_frames={batch_frames} is out of range; give 1 or more")
        self.model = model.eval().to(device)
        self.device = torch.device(device)
        self.batch_frames = batch_frames

    @property
    def input_px(self) -> int:
        """Side of the crops that go in."""
        return self.model.config.image_px

    @property
    def output_px(self) -> int:
        """Side of the crops that come out."""
        return self.model.config.output_px

    @torch.inference_mode()
    def prepare(self, crop: UInt8[np.ndarray, "S S 3"]) -> PreparedSource:
        """Read the source once."""
        image = self._to_network(crop[None])
        motion: Motion = self.model.motion(image)
        pose = posed_motion(motion)
        canonical = motion.canonical.float()
        return PreparedSource(self.model.appearance(image), canonical, pose, posed(canonical, pose))

    @torch.inference_mode()
    def read_motion(self, crops: UInt8[np.ndarray, "T S S 3"]) -> PosedMotion:
        """How the driver is posed in each frame."""
        return posed_motion(self.model.motion(self._to_network(crops)))

    @torch.inference_mode()
    def keypoints(
        self,
        source: PreparedSource,
        driving: PosedMotion,
        reference: PosedMotion,
        options: DrivingOptions,
        *,
        stitching: bool,
        is_still: bool,
    ) -> Float[Tensor, "T K 3"]:
        """What the generator is to show, for each driving frame."""
        neutral = self._neutral(driving) if is_still else None
        x_d = drive_image(source.canonical, source.motion, driving, reference, options, neutral)
        x_s = source.x_s.expand_as(x_d)
        return finished(x_s, x_d, self.model.stitching.stitch if stitching else None, options.multiplier)

    def render(
        self, source: PreparedSource, x_d: Float[Tensor, "T K 3"]
    ) -> Iterator[UInt8[np.ndarray, "S_out S_out 3"]]:
        """Keypoints -> pictures, a few at a time; u8 by truncation, as upstream."""
        for part in x_d.split(self.batch_frames):
            yield from self._pictures(source, part)

    @torch.inference_mode()
    def _pictures(self, source: PreparedSource, x_d: Float[Tensor, "T K 3"]) -> UInt8[np.ndarray, "T S_out S_out 3"]:
        volume = source.volume.expand(len(x_d), -1, -1, -1, -1)
        image = self.model.drive(volume, source.x_s.expand_as(x_d), x_d)
        return (image.clamp(0, 1) * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()

    def animate(
        self,
        source: UInt8[np.ndarray, "S S 3"],
        driving: Iterable[UInt8[np.ndarray, "S S 3"]],
        options: DrivingOptions,
        *,
        stitching: bool = False,
        is_still: bool = False,
    ) -> Iterator[UInt8[np.ndarray, "S_out S_out 3"]]:
        """Crops in, crops out, lazily; the first driving crop is the reference of relative motion."""
        prepared = self.prepare(source)
        reference: PosedMotion | None = None
        for chunk in chunks(driving, self.batch_frames):
            motion = self.read_motion(np.stack(chunk))
            reference = motion.frames(0, 1) if reference is None else reference
            x_d = self.keypoints(prepared, motion, reference, options, stitching=stitching, is_still=is_still)
            yield from self.render(prepared, x_d)

    def _neutral(self, driving: PosedMotion) -> Tensor:
        """A calm expression: upstream's for official weights; for others none is known, and zero stands for it."""
        if self.model.config.name == "official":
            return neutral_expression().to(driving.delta)
        return torch.zeros_like(driving.delta[:1])

    def _to_network(self, crops: UInt8[np.ndarray, "T S S 3"]) -> Float[Tensor, "T 3 S S"]:
        side = self.input_px
        if crops.shape[1:3] != (side, side):
            raise ValueError(f"the crops are {crops.shape[2]}x{crops.shape[1]} px; these weights read {side}x{side}")
        image = torch.from_numpy(np.ascontiguousarray(crops)).to(self.device)
        return image.permute(0, 3, 1, 2).float() / 255


def chunks(frames: Iterable[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """Frames in lists of `size`, the last one shorter; reads no further than the list it is giving."""
    chunk: list[np.ndarray] = []
    for frame in frames:
        chunk.append(frame)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
