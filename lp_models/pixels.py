"""The source picture moved by the flow, and what is painted over it: detail that no narrow feature map can carry.

Not upstream's: LivePortrait paints every pixel from the warped volume. First-order-motion models (Siarohin 2019) move
pixels or shallow features; here a share of each pixel, decided by the generator, is the moved source's.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def moved_pixels(
    source: Float[Tensor, "B 3 S S"],
    shift: Float[Tensor, "B 2 h w"],
    side_px: int,
    over: Float[Tensor, "B 4 h2 w2"] | None = None,
) -> Float[Tensor, "B 3 S_out S_out"]:
    """Sample the source where each pixel's content lies in it; beyond the edge its last pixels go on.

    Args:
        source: RGB in 0-1, any side.
        shift: from each place of the result to its place in the source, x y, in units of the frame from -1 to 1.
        side_px: of the result.
        over: what covers the moved pixels, of any side: colours times share, and share.
    """
    with torch.autocast(source.device.type, enabled=False):
        dense = F.interpolate(shift.float(), size=(side_px, side_px), mode="bilinear", align_corners=False)
        line = centres(side_px, dense)
        x, y = dense[:, 0] + line, dense[:, 1] + line[:, None]
        places = torch.stack((x, y), dim=-1)
        pixels = F.grid_sample(source.float(), places, padding_mode="border", align_corners=False)
        if over is None:
            return pixels
        cover = F.interpolate(over.float(), size=(side_px, side_px), mode="bilinear", align_corners=False)
        return pixels * (1 - cover[:, 3:]) + cover[:, :3]


def centres(side: int, like: Tensor) -> Float[Tensor, " side"]:
    """Of the pixels along one axis, in units of the frame from -1 to 1."""
    return (2 * torch.arange(side, device=like.device, dtype=like.dtype) + 1) / side - 1


def blended(painted: Float[Tensor, "B 4 S S"], pixels: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B 3 S S"]:
    """Colours and share before the sigmoid, and the moved source -> RGB in 0-1."""
    colour, share = painted.sigmoid().split((3, 1), dim=1)
    return colour + share * (pixels - colour)
