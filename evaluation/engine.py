"""Crops -> motion, motion and a source -> moved crops: the networks on one device, without files or detectors."""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from evaluation.driving import DrivingOptions, PosedMotion, drive_image, neutral_expression, posed, posed_motion
from evaluation.retarget import finished
from lp_models import LivePortrait, Motion
from lp_models.fast import FastPortrait, Precision, best_precision
from lp_models.fast.allocator import keep_freed_memory
from lp_models.fast.warping import WarpSource
from lp_models.stitching import StitchingRetargeting

Kind = Literal["fast", "plain"]
SMALL_FRAME_PX = 256
"""Networks that write larger frames than this fill two cores with one frame; smaller ones gain by batches."""


class PreparedSource(NamedTuple):
    """What is computed once per source picture; T pictures, or one for all frames."""

    volume: Float[Tensor, "T C D H W"]
    canonical: Float[Tensor, "T K 3"]
    motion: PosedMotion
    x_s: Float[Tensor, "T K 3"]
    warp: WarpSource | None
    """The fast networks' share; None for the plain ones."""
    image: Float[Tensor, "T 3 S S"]


class Engine:
    """The networks of one weights directory on one device.

    Args:
        model: any size; it belongs to the engine from now on.
        device: cpu, cuda, cuda:1, ...
        batch_frames: frames generated at once; 0 chooses: 4 for small networks and on GPUs, else 1.
        kind: fast, or plain for the readable networks that it is tested against.
        precision: of the fast networks; None takes the best that the device has.
        compiled: let torch.compile fuse the fast networks; the first frames then take a minute.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(
        self,
        model: LivePortrait,
        device: str = "cpu",
        batch_frames: int = 0,
        *,
        kind: Kind = "fast",
        precision: Precision | None = None,
        compiled: bool = False,
    ) -> None:
        if batch_frames < 0:
            raise ValueError(f"batch_frames={batch_frames} is out of range; give 1 or more, or 0 to let it choose")
        if kind not in get_args(Kind):
            raise ValueError(f"engine={kind!r} is unknown; choose one of {', '.join(get_args(Kind))}")
        self.device = torch.device(device)
        self.config = model.config
        model = model.eval().to(self.device)
        self.appearance = model.appearance
        self.corrections: StitchingRetargeting = model.stitching
        is_small = self.config.output_px <= SMALL_FRAME_PX
        self.batch_frames = batch_frames or (4 if is_small or self.device.type == "cuda" else 1)
        if self.device.type == "cpu":
            keep_freed_memory()
        self.plain = model if kind == "plain" else None
        self.fast = FastPortrait(model, precision or best_precision(self.device)) if kind == "fast" else None
        self.motion = model.motion if self.fast is None else self.fast.motion
        if compiled and self.fast is not None:
            self.fast.compile_networks()

    @property
    def input_px(self) -> int:
        """Side of the crops that go in."""
        return self.config.image_px

    @property
    def output_px(self) -> int:
        """Side of the crops that come out."""
        return self.config.output_px

    @torch.inference_mode()
    def prepare(
        self,
        crops: UInt8[np.ndarray, "*T S S 3"],
        face: tuple[PosedMotion, Float[Tensor, "T K 3"]] | None = None,
    ) -> PreparedSource:
        """Read source crops, one or several, once per picture; `face` is what `read_face` said of them, if it did."""
        image = self._to_network(crops if crops.ndim == 4 else crops[None])
        pose, canonical = face or self._face(image)
        volume, x_s = self.appearance(image), posed(canonical, pose)
        return PreparedSource(
            volume, canonical, pose, x_s, self.fast.prepare(volume, x_s, image) if self.fast else None, image
        )

    @torch.inference_mode()
    def read_motion(self, crops: UInt8[np.ndarray, "T S S 3"]) -> PosedMotion:
        """How the head is posed in each frame."""
        return self.read_face(crops)[0]

    @torch.inference_mode()
    def read_face(self, crops: UInt8[np.ndarray, "T S S 3"]) -> tuple[PosedMotion, Float[Tensor, "T K 3"]]:
        """How the head is posed in each frame, and its canonical keypoints."""
        return self._face(self._to_network(crops))

    def _face(self, image: Float[Tensor, "T 3 S S"]) -> tuple[PosedMotion, Float[Tensor, "T K 3"]]:
        motion: Motion = self.motion(image)
        return posed_motion(motion), motion.canonical.float()

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
        """What the generator is to show for each driving frame of one source picture; no retargeting, no edit."""
        neutral = self.neutral(driving) if is_still else None
        x_d = drive_image(source.canonical, source.motion, driving, reference, options, neutral)
        stitch = self.corrections.stitch if stitching else None
        last = options.rules == "animal-stitched"
        return finished(source.x_s.expand_as(x_d), x_d, stitch, options.multiplier, stitch_last=last)

    def render(
        self, source: PreparedSource, x_d: Float[Tensor, "T K 3"]
    ) -> Iterator[UInt8[np.ndarray, "S_out S_out 3"]]:
        """Keypoints -> pictures, a few at a time; one source picture for all frames, or one for each."""
        step = self.batch_frames
        for start in range(0, len(x_d), step):
            part = x_d[start : start + step]
            own = source if len(source.x_s) == 1 else _frames(source, start, start + step)
            yield from self._pictures(own, part)

    @torch.inference_mode()
    def _pictures(self, source: PreparedSource, x_d: Float[Tensor, "T K 3"]) -> UInt8[np.ndarray, "T S_out S_out 3"]:
        if self.fast is not None and source.warp is not None:
            image = self.fast.drive(source.warp, x_d)
        else:
            assert self.plain is not None
            volume = source.volume.expand(len(x_d), -1, -1, -1, -1)
            picture = source.image.expand(len(x_d), -1, -1, -1)
            image = self.plain.drive(volume, source.x_s.expand_as(x_d), x_d, picture)
        # Truncated, not rounded: upstream's way.
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

    def neutral(self, driving: PosedMotion) -> Float[Tensor, "1 K 3"]:
        """A calm expression: upstream's for official weights; for others none is known, and zero stands for it."""
        if self.config.name == "official":
            return neutral_expression().to(driving.delta)
        return torch.zeros_like(driving.delta[:1])

    def _to_network(self, crops: UInt8[np.ndarray, "T S S 3"]) -> Float[Tensor, "T 3 S S"]:
        side = self.input_px
        if crops.shape[1:3] != (side, side):
            raise ValueError(f"the crops are {crops.shape[2]}x{crops.shape[1]} px; these weights read {side}x{side}")
        image = torch.from_numpy(np.ascontiguousarray(crops)).to(self.device)
        return image.permute(0, 3, 1, 2).float() / 255


def _frames(source: PreparedSource, start: int, stop: int) -> PreparedSource:
    """Some of several source pictures."""
    warp = None if source.warp is None else source.warp.each(lambda x: x[start:stop])
    return PreparedSource(
        volume=source.volume[start:stop], canonical=source.canonical[start:stop],
        motion=source.motion.frames(start, stop), x_s=source.x_s[start:stop], warp=warp,
        image=source.image[start:stop],
    )  # fmt: skip


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
