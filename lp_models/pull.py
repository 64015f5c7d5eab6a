"""Where the coarse flow misses a keypoint -> a fine shift that takes the pixels there, and a hint for the generator.

Not upstream's. A narrow model's flow has few cells (32 x 32 for a picture of 256 px): an eye is one cell high, and no
such flow can shut it. Some keypoints have places of their own in the picture (lids, lips, nose: what guidance ties to
landmarks); around each, pixels are pulled to where it goes, by inverse-distance weights (Shepard 1968). Lids that meet
lie at one place: there it still counts which of them a pixel is on the side of.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lp_models.config import LivePortraitConfig
from lp_models.mouth import MouthInside
from lp_models.pixels import centres
from lp_models.roles import LIDS, LIPS

FINER = 4
"""Cells of the fine shift for each of the flow, on each side."""
REACH = 0.2
"""Distance, in units of the frame from -1 to 1, at which half of the pull is left."""
NEAR = 0.01
"""Within this distance all pixels move alike."""
POWER = 3.0
"""Of the inverse squared distance: the higher, the more the nearest keypoint decides. Lids meet, so it must be high."""
MEETING = (*LIDS, LIPS)
"""Edges that meet."""
TINY = 1e-6
WIDTH = 0.06
"""Of the Gaussians that show the generator where keypoints are."""


class Pulled(NamedTuple):
    """What keypoints add to a coarse warp."""

    shift: Float[Tensor, "B 2 H4 W4"]
    """From here to the place in the source picture, x y."""
    features: Float[Tensor, "B F H W"]
    over: Float[Tensor, "B 4 H4 W4"] | None
    """What covers the moved pixels: colours times share, and share; None for a model that opens no mouths."""


class KeypointPull(nn.Module):
    """Takes the pixels around some keypoints to where those go: exactly, but where lids or lips meet."""

    def __init__(self, config: LivePortraitConfig) -> None:
        super().__init__()
        self.chosen = list(config.followed_keypoints)
        pairs = [pair for pair in MEETING if set(pair) <= set(self.chosen)]
        self.meeting = [(self.chosen.index(one), self.chosen.index(other)) for one, other in pairs]
        self.eyes = self.meeting[:2] if pairs[:2] == list(LIDS) else None
        self.mouth = MouthInside() if config.opens_mouth else None
        self.show = nn.Conv2d(len(self.chosen) + 2, config.feature_channels, 1)
        # A trained model that is given this layer paints as before at first.
        for parameter in self.show.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self,
        shift: Float[Tensor, "B 2 H W"],
        kp_source: Float[Tensor, "B K 3"],
        kp_driving: Float[Tensor, "B K 3"],
    ) -> Pulled:
        """The coarse shift and both keypoint sets -> the fine shift and an addition to the warped features."""
        H, W = shift.shape[-2:]
        with torch.autocast(shift.device.type, enabled=False):
            coarse = shift.float()
            # Not by a list of indices, which would be copied to the device at every call.
            origin, goal = (
                torch.stack([points[:, k, :2] for k in self.chosen], dim=1).float()
                for points in (kp_source, kp_driving)
            )
            there = F.grid_sample(coarse, goal[:, :, None], padding_mode="border", align_corners=False)[..., 0].mT
            pull = spread(origin - goal - there, self._kept_apart(origin, goal), FINER * H, FINER * W)
            fine = F.interpolate(coarse, scale_factor=FINER, mode="bilinear", align_corners=False) + pull
            evidence = torch.cat((bumps(goal, H, W), F.avg_pool2d(pull, FINER) / REACH), dim=1)
            over = None
            if self.mouth is not None:
                over = self.mouth(kp_source.float(), kp_driving.float(), FINER * H, FINER * W)
        return Pulled(shift=fine, features=self.show(evidence), over=over)

    def _kept_apart(self, origin: Float[Tensor, "B N 2"], goal: Float[Tensor, "B N 2"]) -> Float[Tensor, "B N 2"]:
        """Places to measure nearness from: goals, but edges that meet are never nearer together than in the source.

        Else, where an eye shuts, skin above it would be as near to the lower lid as to the upper one.
        """
        places = list(goal.unbind(1))
        turn = self._turn(origin, goal)
        for one, other in self.meeting:
            before, now = origin[:, other] - origin[:, one], goal[:, other] - goal[:, one]
            if turn is not None:
                before = torch.einsum("bij,bj->bi", turn, before)
            length = before.norm(dim=-1, keepdim=True)
            along = before / (length + TINY)
            # Signed: lids a little past each other are further from where they were. Far past means that the source's
            # own order was noise: lips that are shut.
            left = (now * along).sum(dim=-1, keepdim=True)
            is_order = ((left + 2 * length) / (length + TINY)).clamp(0, 1)
            apart = along * is_order * F.relu(length - left) / 2
            places[one], places[other] = places[one] - apart, places[other] + apart
        return torch.stack(places, dim=1)

    def _turn(self, origin: Float[Tensor, "B N 2"], goal: Float[Tensor, "B N 2"]) -> Float[Tensor, "B 2 2"] | None:
        """How the line between the eyes has turned in the picture; None where the lids are not all followed."""
        if self.eyes is None:
            return None

        (a, b), (c, d) = self.eyes
        lines = [points[:, c] + points[:, d] - points[:, a] - points[:, b] for points in (origin, goal)]
        before, now = (line / line.norm(dim=-1, keepdim=True).clamp(min=TINY) for line in lines)
        cos = (before * now).sum(dim=-1)
        sin = before[:, 0] * now[:, 1] - before[:, 1] * now[:, 0]
        return torch.stack((torch.stack((cos, -sin), dim=-1), torch.stack((sin, cos), dim=-1)), dim=-2)


def spread(
    values: Float[Tensor, "B K 2"], places: Float[Tensor, "B K 2"], height: int, width: int
) -> Float[Tensor, "B 2 H W"]:
    """Values at scattered places -> a map that has them there and is zero far away.

    The weight of each is (d^2 + NEAR^2)^-POWER, as a share of all and of one zero at the distance REACH.
    """
    dx = centres(width, places) - places[..., :1]
    dy = centres(height, places) - places[..., 1:]
    distance2 = dy.square()[..., None] + dx.square()[:, :, None]  # B K H W
    weight = ((REACH**2 + NEAR**2) / (distance2 + NEAR**2)) ** POWER
    total = 1 + weight.sum(dim=1, keepdim=True)
    return torch.einsum("bkhw,bkc->bchw", weight, values) / total


def bumps(places: Float[Tensor, "B K 2"], height: int, width: int) -> Float[Tensor, "B K H W"]:
    """A Gaussian around each place."""

    def along(centre: Tensor, place: Tensor) -> Tensor:
        return torch.exp(-0.5 * ((centre - place) / WIDTH).square())

    gx, gy = along(centres(width, places), places[..., :1]), along(centres(height, places), places[..., 1:])
    return gy[..., None] * gx[:, :, None]
