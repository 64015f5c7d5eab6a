"""W: a feature volume and two keypoint sets -> the warped 2-D feature map (LivePortrait; face-vid2vid)."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lp_models.config import LivePortraitConfig
from lp_models.dense_motion import DenseMotion, DenseMotionNetwork
from lp_models.layers import SameBlock2d
from lp_models.pull import KeypointPull


class Warp(NamedTuple):
    """A source moved to the driving pose. Flow: where to sample the volume, x y z in -1 to 1; occlusion 1 = visible."""

    features: Float[Tensor, "B F H W"]
    flow: Float[Tensor, "B D H W 3"]
    occlusion: Float[Tensor, "B 1 H W"]
    shift: Float[Tensor, "B 2 h w"] | None = None
    """From here to the place in the source picture, x y; None unless the model copies pixels. Of any side."""
    over: Float[Tensor, "B 4 h w"] | None = None
    """What covers the moved pixels (lp_models/mouth.py): colours times share, and share."""


class WarpingNetwork(nn.Module):
    """Moves the source's volume from its keypoints to the driving ones and flattens it."""

    def __init__(self, config: LivePortraitConfig) -> None:
        super().__init__()
        flat = config.volume_channels * config.volume_depth
        self.dense_motion_network = DenseMotionNetwork(config)
        self.third = SameBlock2d(flat, config.feature_channels, activation="lrelu")
        self.fourth = nn.Conv2d(config.feature_channels, config.feature_channels, 1)
        self.pull = KeypointPull(config) if config.followed_keypoints else None

    def forward(
        self,
        volume: Float[Tensor, "B C D H W"],
        kp_source: Float[Tensor, "B K 3"],
        kp_driving: Float[Tensor, "B K 3"],
    ) -> Warp:
        """Warp the volume; keypoints as given by `lp_models.geometry`."""
        motion: DenseMotion = self.dense_motion_network(volume, kp_source, kp_driving)
        with torch.autocast(volume.device.type, enabled=False):
            moved = F.grid_sample(volume.float(), motion.flow, align_corners=False)
        features = self.fourth(self.third(moved.flatten(1, 2)))
        features = features * motion.occlusion.to(features.dtype)
        shift, over = motion.shift, None
        if self.pull is not None and shift is not None:
            pulled = self.pull(shift, kp_source, kp_driving)
            shift, features, over = pulled.shift, features + pulled.features, pulled.over
        return Warp(features=features, flow=motion.flow, occlusion=motion.occlusion, shift=shift, over=over)
