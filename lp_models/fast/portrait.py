"""A LivePortrait -> its inference twin: prepares a source once, then makes frames several times sooner."""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lp_models.fast.convolution import can_pack
from lp_models.fast.generator import FastGenerator
from lp_models.fast.motion import fast_motion
from lp_models.fast.warping import FastWarping, WarpSource
from lp_models.pixels import moved_pixels
from lp_models.portrait import LivePortrait
from lp_models.warping import Warp

Precision = Literal["float32", "bfloat16", "float16"]
"""Of most convolutions. Keypoints, flow, occlusion, sampling and sums are fp32 whatever is chosen."""


class FastPortrait(nn.Module):
    """M, W and G of one model for inference: `drive(prepare(volume, x_s), x_d)` is `model.drive(volume, x_s, x_d)`.

    In reduced precision the convolutions whose rounding costs most and whose time matters least stay in fp32 (measured
    one by one, docs/speed.md): the first of the generator and the hidden maps of its middle blocks, the two after the
    warp, and the hourglass' last four.

    Args:
        model: any size; its weights are folded and copied, it is not changed.
        precision: float32 gives the plain twin's pictures to rounding; bfloat16 (CPUs with the instructions, GPUs) and
            float16 (GPUs) round more and run faster.

    Raises:
        ValueError: the precision is not one of those, or is float16 for a model on the CPU.
    """

    def __init__(self, model: LivePortrait, precision: Precision = "float32") -> None:
        super().__init__()
        if precision not in get_args(Precision):
            raise ValueError(f"precision={precision!r} is unknown; choose one of {', '.join(get_args(Precision))}")
        device = next(model.parameters()).device
        if precision == "float16" and device.type == "cpu":
            raise ValueError("precision=float16 has no fast kernels on a CPU; choose bfloat16 or float32")
        dtype: torch.dtype = getattr(torch, precision)
        # A GPU's float16 keeps three more bits than bfloat16 and fp32 costs it far more than a CPU.
        sensitive = torch.float16 if precision == "float16" else torch.float32
        self.config = model.config
        self.precision: Precision = precision
        with torch.no_grad():
            self.motion = fast_motion(model.motion)
            self.warping = FastWarping(model.warping, model.config.volume_depth, dtype, sensitive)
            self.generator = FastGenerator(model.generator, dtype, sensitive)
        self.to(device).requires_grad_(False).eval()

    def compile_networks(self) -> None:
        """Let torch.compile fuse what is left; the first frame then takes a minute. Needs a C++ compiler, or a GPU."""
        mode = "max-autotune" if next(self.buffers()).device.type == "cuda" else "default"
        self.warping.compile(mode=mode)
        self.generator.compile(mode=mode)

    @torch.inference_mode()
    def prepare(
        self,
        volume: Float[Tensor, "B C D H W"],
        kp_source: Float[Tensor, "B K 3"],
        picture: Float[Tensor, "B 3 S S"] | None = None,
    ) -> WarpSource:
        """Everything that the source alone decides; one source serves any number of frames.

        Args:
            volume: of the appearance network.
            kp_source: keypoints of the source.
            picture: what the volume is of; only models that copy pixels look at it, and they need it.
        """
        return self.warping.prepare(volume, kp_source, picture if self.config.copies_pixels else None)

    @torch.inference_mode()
    def drive(self, source: WarpSource, kp_driving: Float[Tensor, "B K 3"]) -> Float[Tensor, "B 3 S_out S_out"]:
        """One prepared source (or one per frame) moved to the driving keypoints; RGB in 0-1, fp32."""
        return self.paint(self.warping(source, kp_driving), source)

    def paint(self, warp: Warp, source: WarpSource) -> Float[Tensor, "B 3 S_out S_out"]:
        """The picture of a warped source."""
        if source.picture is None or warp.shift is None:
            return self.generator(warp.features)
        picture = source.repeated(len(warp.shift)).picture
        assert picture is not None
        return self.generator(warp.features, moved_pixels(picture, warp.shift, self.config.output_px, warp.over))


def best_precision(device: str | torch.device) -> Precision:
    """The fastest precision that this device runs well: float16 on a GPU, bfloat16 where a CPU has it, else float32."""
    if torch.device(device).type == "cuda":
        return "float16"
    has_bfloat16 = can_pack(torch.empty(0)) and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "bfloat16" if has_bfloat16 else "float32"
