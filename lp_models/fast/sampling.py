"""Volumes sampled at other places -> the same numbers as grid_sample, several times sooner on a CPU."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def translation_matrix(length: int, offset: Float[Tensor, "*any"]) -> Float[Tensor, "*any length length"]:
    """Linear interpolation along one axis when the identity grid is moved by `offset` (in units of the [-1, 1] frame).

    Includes upstream's quirk: the grid ends at exactly -1 and 1, sampling places pixel centres between (align_corners
    off), so even offset 0 is no identity. Rows: where to, columns: where from; weight outside is lost.
    """
    index = torch.arange(length, device=offset.device, dtype=torch.float32)
    grid = torch.linspace(-1, 1, length, device=offset.device)
    position = ((grid + offset[..., None] + 1) * length - 1) / 2
    return (1 - (position[..., None] - index).abs()).clamp_(min=0)


def translated(volume: Float[Tensor, "B C D H W"], offsets: Float[Tensor, "B N 3"]) -> Float[Tensor, "B D H W N C"]:
    """The volume sampled on the identity grid moved by each offset (x y z): trilinear, zeros outside; channels last.

    A translation acts on each axis alone, so three matrix products with few, large factors replace eight look-ups per
    voxel. Each product contracts the axis that lies innermost and puts the new one in front.
    """
    B, C, D, H, W = volume.shape
    N = offsets.shape[1]
    x, y, z = (translation_matrix(n, offsets[..., i]).flatten(0, 1) for i, n in enumerate((W, H, D)))  # BN n n
    planes = z.unflatten(0, (B, N)).flatten(1, 2) @ volume.transpose(1, 2).reshape(B, D, -1)  # B (N D) (C H W)
    by_w = x @ planes.view(B * N, -1, W).mT  # BN W (D C H)
    by_h = y @ by_w.view(B * N, -1, H).mT  # BN H (W D C)
    return by_h.view(B, N, H, W, D, C).permute(0, 4, 2, 3, 1, 5)


def sampled_rows(
    rows: Float[Tensor, "V C"], size: tuple[int, int, int], places: Float[Tensor, "3 P"]
) -> Float[Tensor, "P C"]:
    """Trilinear samples of one channels-last volume, zeros outside (align_corners off), as a weighted sum of 8 rows.

    Args:
        rows: the volume with its voxels in order D, H, W.
        size: D, H, W.
        places: x, y, z in -1 to 1, each for all places.
    """
    D, H, W = size
    corners, shares = zip(*(_ends(place, n) for place, n in zip(places, (W, H, D), strict=True)), strict=True)
    (x, y, z), (share_x, share_y, share_z) = corners, shares
    index = (z[:, :, None, None] * H + y[:, None, :, None]) * W + x[:, None, None, :]
    weight = share_z[:, :, None, None] * share_y[:, None, :, None] * share_x[:, None, None, :]
    return F.embedding_bag(index.view(-1, 8), rows, per_sample_weights=weight.view(-1, 8), mode="sum")


def _ends(place: Float[Tensor, " P"], length: int) -> tuple[Tensor, Float[Tensor, "P 2"]]:
    """The two voxels between which a place lies on one axis, and their shares; 0 for those outside."""
    position = (place + 1).mul_(length / 2).sub_(0.5).clamp_(-2, length + 1)
    low = position.floor()
    high_share = position - low
    low = low.int()
    first = (1 - high_share) * ((low >= 0) & (low < length))
    second = high_share * ((low >= -1) & (low < length - 1))
    corner = torch.stack((low, low + 1), dim=1).clamp_(0, length - 1)
    return corner, torch.stack((first, second), dim=1)
