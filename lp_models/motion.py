"""M: a portrait -> head pose, expression and canonical keypoints (LivePortrait, arXiv 2407.03168)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lp_models.config import NUM_BINS, LivePortraitConfig
from lp_models.convnext import ConvNeXt
from lp_models.geometry import Motion, angle_from_bins

START_SCALE = 1.3
"""Scale of an untrained network; the published weights lie around it (1.1-1.7 in their motion templates)."""
START_LAYOUT = (
    # x, y, z (right, down, inward) of where an untrained network sees each keypoint, in a crop at START_SCALE.
    # Roles follow LivePortrait's index sets: brows 1 2, eyes 11 13 15 16 18, mouth 6 12 14 17 19 20.
    (0.00, -0.62, 0.10),
    (-0.28, -0.36, -0.12),
    (0.28, -0.36, -0.12),
    (-0.34, 0.20, 0.02),
    (-0.56, -0.12, 0.30),
    (0.00, 0.78, 0.34),
    (0.00, 0.24, -0.28),
    (0.34, 0.20, 0.02),
    (-0.44, -0.56, 0.20),
    (0.44, -0.56, 0.20),
    (0.56, -0.12, 0.30),
    (-0.24, -0.16, -0.14),
    (-0.14, 0.34, -0.14),
    (-0.24, -0.06, -0.12),
    (-0.20, 0.28, -0.10),
    (0.24, -0.16, -0.14),
    (0.24, -0.06, -0.12),
    (0.00, 0.44, -0.12),
    (0.00, 0.04, -0.34),
    (0.00, 0.54, -0.02),
    (0.20, 0.28, -0.10),
)


class MotionLogits(NamedTuple):
    """The seven heads as the network gives them, under the official names."""

    pitch: Float[Tensor, "B 66"]
    yaw: Float[Tensor, "B 66"]
    roll: Float[Tensor, "B 66"]
    t: Float[Tensor, "B 3"]
    exp: Float[Tensor, "B K*3"]
    scale: Float[Tensor, "B 1"]
    kp: Float[Tensor, "B K*3"]


class MotionDetector(ConvNeXt):
    """The ConvNeXt body with the seven linear heads beside it, as in the official file."""

    def __init__(self, config: LivePortraitConfig) -> None:
        super().__init__(config.motion_dims, config.motion_depths)
        width, num_keypoints = config.motion_dims[-1], config.num_keypoints
        self.fc_kp = nn.Linear(width, 3 * num_keypoints)
        self.fc_scale = nn.Linear(width, 1)
        self.fc_pitch = nn.Linear(width, NUM_BINS)
        self.fc_yaw = nn.Linear(width, NUM_BINS)
        self.fc_roll = nn.Linear(width, NUM_BINS)
        self.fc_t = nn.Linear(width, 3)
        self.fc_exp = nn.Linear(width, 3 * num_keypoints)
        self._initialise_heads(num_keypoints)

    def _initialise_heads(self, num_keypoints: int) -> None:
        """Start as an upright face at scale 1.3 without expression, the keypoints spread over it."""
        for head in (self.fc_kp, self.fc_scale, self.fc_t, self.fc_exp):
            nn.init.trunc_normal_(head.weight, std=1e-3)
            nn.init.zeros_(head.bias)
        for head in (self.fc_pitch, self.fc_yaw, self.fc_roll):
            nn.init.trunc_normal_(head.weight, std=1e-2)
            nn.init.zeros_(head.bias)
        nn.init.constant_(self.fc_scale.bias, START_SCALE)
        # Other keypoint counts repeat the layout, each round a little closer to the middle. Plain floats, because
        # arithmetic on the meta device would import torch's compiler (4 s).
        start = [
            coordinate * 0.8 ** (i // len(START_LAYOUT)) / START_SCALE
            for i in range(num_keypoints)
            for coordinate in START_LAYOUT[i % len(START_LAYOUT)]
        ]
        with torch.no_grad():
            self.fc_kp.bias.copy_(torch.tensor(start))

    def forward(self, image: Float[Tensor, "B 3 S S"]) -> MotionLogits:
        """RGB in 0-1 -> the raw heads, in fp32 also under autocast."""
        features = self.features(image)
        # fp32: a bfloat16 keypoint or pose bin would be too coarse.
        with torch.autocast(features.device.type, enabled=False):
            return MotionLogits(
                pitch=self.fc_pitch(features),
                yaw=self.fc_yaw(features),
                roll=self.fc_roll(features),
                t=self.fc_t(features),
                exp=self.fc_exp(features),
                scale=self.fc_scale(features),
                kp=self.fc_kp(features),
            )


class MotionExtractor(nn.Module):
    """Reads how a portrait is posed."""

    def __init__(self, config: LivePortraitConfig) -> None:
        super().__init__()
        self.side_px = config.motion_px
        self.detector = MotionDetector(config)

    def forward(self, image: Float[Tensor, "B 3 S S"]) -> Motion:
        """RGB in 0-1 -> Motion; bins become degrees here, once. Larger pictures are shrunk by area."""
        if image.shape[-1] > self.side_px:
            image = F.interpolate(image, size=(self.side_px, self.side_px), mode="area")
        heads: MotionLogits = self.detector(image)
        return Motion(
            pitch_deg=angle_from_bins(heads.pitch),
            yaw_deg=angle_from_bins(heads.yaw),
            roll_deg=angle_from_bins(heads.roll),
            shift=heads.t,
            delta=heads.exp.unflatten(1, (-1, 3)),
            scale=heads.scale,
            canonical=heads.kp.unflatten(1, (-1, 3)),
        )
