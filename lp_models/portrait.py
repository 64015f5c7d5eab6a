"""A source portrait and a driving portrait -> the source in the driving pose: the five networks together."""

from jaxtyping import Float
from torch import Tensor, nn

from lp_models.appearance import AppearanceExtractor
from lp_models.config import LivePortraitConfig
from lp_models.generator import SpadeGenerator
from lp_models.geometry import Motion, driven_keypoints, source_keypoints
from lp_models.motion import MotionExtractor
from lp_models.pixels import moved_pixels
from lp_models.stitching import StitchingRetargeting
from lp_models.warping import Warp, WarpingNetwork


class LivePortrait(nn.Module):
    """The complete model of one size."""

    def __init__(self, config: LivePortraitConfig) -> None:
        super().__init__()
        self.config = config
        self.appearance = AppearanceExtractor(config)
        self.motion = MotionExtractor(config)
        self.warping = WarpingNetwork(config)
        self.generator = SpadeGenerator(config)
        self.stitching = StitchingRetargeting(config)

    def forward(
        self, source: Float[Tensor, "B 3 S S"], driving: Float[Tensor, "B 3 S S"]
    ) -> Float[Tensor, "B 3 S_out S_out"]:
        """The source with the absolute pose and expression of the driving picture, without stitching; RGB in 0-1."""
        motion_source: Motion = self.motion(source)
        motion_driving: Motion = self.motion(driving)
        volume = self.appearance(source)
        driven = driven_keypoints(motion_source, motion_driving)
        return self.drive(volume, source_keypoints(motion_source), driven, source)

    def drive(
        self,
        volume: Float[Tensor, "B C D H W"],
        kp_source: Float[Tensor, "B K 3"],
        kp_driving: Float[Tensor, "B K 3"],
        source: Float[Tensor, "B 3 S S"] | None = None,
    ) -> Float[Tensor, "B 3 S_out S_out"]:
        """One frame: the source's volume moved from its keypoints to the driving ones; RGB in 0-1.

        Args:
            volume: of the appearance network.
            kp_source: keypoints of the source.
            kp_driving: where they go.
            source: the picture that the volume is of; only models that copy pixels look at it, and they need it.

        Raises:
            ValueError: the model copies pixels and has no source.
        """
        warp: Warp = self.warping(volume, kp_source=kp_source, kp_driving=kp_driving)
        return self.paint(warp, source)

    def paint(self, warp: Warp, source: Float[Tensor, "B 3 S S"] | None) -> Float[Tensor, "B 3 S_out S_out"]:
        """The picture of a warped source."""
        return self.generator(warp.features, self.moved(warp, source))

    def moved(self, warp: Warp, source: Float[Tensor, "B 3 S S"] | None) -> Float[Tensor, "B 3 S_out S_out"] | None:
        """The source as the flow moves it, with nothing painted; None for a model that does not copy pixels."""
        if source is None or warp.shift is None:
            return None
        # Smaller pictures than the model's own are painted smaller too (training, finetune/forward.py).
        side_px = warp.features.shape[-1] * self.config.output_px // self.config.volume_side
        return moved_pixels(source, warp.shift, side_px, warp.over)
