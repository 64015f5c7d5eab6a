"""Where lips part that were shut in the source -> what covers the moved pixels there: the inside of the mouth.

Not upstream's. Pixels that are only moved cannot open a mouth: no pixel of the source shows its inside, and a lip line
that is pulled apart is two lip lines. The generator may paint over this; on animals that it has never seen it does not
know where.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lp_models.pixels import centres
from lp_models.roles import LIPS, MOUTH_CORNERS

UPPER, LOWER = LIPS
DARK = (0.16, 0.07, 0.07)
"""Colour at first, RGB."""
SHUT, OPEN = 0.04, 0.1
"""Gaps of the source's lips, in units of the frame from -1 to 1: up to the first it shows nothing of the inside, from
the second on its own inside is stretched and nothing is covered."""
LEAST = 0.03
"""Lips that part by less than this show it in part."""
SOFT = 0.012
"""Width of the edge."""
TINY = 1e-6


class MouthInside(nn.Module):
    """Fills the lens between parting lips with one colour that is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.colour = nn.Parameter(torch.tensor(DARK))

    def forward(
        self, kp_source: Float[Tensor, "B K 3"], kp_driving: Float[Tensor, "B K 3"], height: int, width: int
    ) -> Float[Tensor, "B 4 H W"]:
        """Both keypoint sets -> colours times share, and share."""
        before, opening = _gap(kp_source), _gap(kp_driving)
        parted, open_now = ((gap / LEAST).clamp(0, 1) for gap in (opening - before, opening))
        share = ((OPEN - before) / (OPEN - SHUT)).clamp(0, 1) * parted * open_now
        inside = share[:, None, None, None] * lens(kp_driving, height, width)
        return torch.cat((inside * self.colour[:, None, None], inside), dim=1)


def lens(keypoints: Float[Tensor, "B K 3"], height: int, width: int) -> Float[Tensor, "B 1 H W"]:
    """1 between two arcs from corner to corner through the middles of the inner lips, with a soft edge."""
    middle, along, down, half = _axes(keypoints)
    x, y = centres(width, keypoints) - middle[:, :1], centres(height, keypoints) - middle[:, 1:]
    aside = (x[:, None, :] * along[:, :1, None] + y[:, :, None] * along[:, 1:, None]) / half[:, :, None]
    depth = x[:, None, :] * down[:, :1, None] + y[:, :, None] * down[:, 1:, None]
    arc = 1 - aside.square()
    top, bottom = (((keypoints[:, k, :2] - middle) * down).sum(dim=1)[:, None, None] * arc for k in (UPPER, LOWER))
    ends = (1 - aside.abs()) * half[:, :, None]
    return torch.stack([(edge / SOFT).sigmoid() for edge in (depth - top, bottom - depth, ends)]).prod(dim=0)[:, None]


def _axes(
    keypoints: Float[Tensor, "B K 3"],
) -> tuple[Float[Tensor, "B 2"], Float[Tensor, "B 2"], Float[Tensor, "B 2"], Float[Tensor, "B 1"]]:
    """Middle of the corners, unit vectors along and across their line, half its length in units of the frame."""
    left, right = (keypoints[:, corner, :2] for corner in MOUTH_CORNERS)
    line = right - left
    length = line.norm(dim=1, keepdim=True).clamp(min=TINY)
    along = line / length
    return (left + right) / 2, along, torch.stack((-along[:, 1], along[:, 0]), dim=1), length / 2


def _gap(keypoints: Float[Tensor, "B K 3"]) -> Float[Tensor, " B"]:
    """How far the inner lips are apart, across the line of the corners; negative where they cross."""
    down = _axes(keypoints)[2]
    return ((keypoints[:, LOWER, :2] - keypoints[:, UPPER, :2]) * down).sum(dim=1)
