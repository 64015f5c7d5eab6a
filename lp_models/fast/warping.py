"""The warping network -> the same flow, occlusion and features, with the source's share computed once per source.

- what depends on the source alone (its squeezed volume, its keypoints' Gaussians) is prepared once;
- candidate motions are pure translations: sampled by three small matrix products instead of a 5-D grid_sample;
- the decoder's "enlarge, then 3x3x3" runs on the small map, one 3x2x2 kernel for each of the four kinds of pixels;
- the 7x7x7 mask convolution runs in the frequency domain, the 7x7 occlusion convolution as 49 shifted sums;
- candidate motions are never written out: the flow is the grid plus the mask's mean of K + 1 offsets;
- the volume is sampled by weighted sums of rows.
"""

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lp_models.dense_motion import HEATMAP_VARIANCE, DenseMotionNetwork, Hourglass, surface_shift
from lp_models.fast.convolution import ReadyConv, folded
from lp_models.fast.fourier import FourierConv3d
from lp_models.fast.sampling import sampled_rows, translated
from lp_models.geometry import identity_grid
from lp_models.layers import DownBlock3d, UpBlock3d
from lp_models.warping import Warp, WarpingNetwork

LEAKY_SLOPE = 0.01
"""Of the warping network's `third` block."""

SENSITIVE_UPS = 3
"""How many of the widest enlarging blocks are kept in the better precision."""


class WarpSource(NamedTuple):
    """What the warping network computes once per source."""

    compressed: Float[Tensor, "B C4 D H W"]
    """The squeezed volume."""
    gaussians: Float[Tensor, "B K D H W"]
    keypoints: Float[Tensor, "B K 3"]
    volume: Float[Tensor, "B C D H W"]
    rows: Float[Tensor, "B V C"]
    """The volume with its voxels in order D, H, W and their channels together."""
    picture: Float[Tensor, "B 3 S S"] | None = None
    """For models that copy pixels."""

    def repeated(self, count: int) -> "WarpSource":
        """One source for `count` frames; no copy."""
        return self if len(self.volume) == count else self.each(lambda x: x.expand(count, *x.shape[1:]))

    def each(self, change: Callable[[Tensor], Tensor]) -> "WarpSource":
        """The same change to every tensor."""
        compressed, gaussians, keypoints, volume, rows, picture = self
        changed = (change(x) for x in (compressed, gaussians, keypoints, volume, rows))
        return WarpSource(*changed, picture=None if picture is None else change(picture))


def gaussians(grid: Float[Tensor, "D H W 3"], keypoints: Float[Tensor, "B K 3"]) -> Float[Tensor, "B K D H W"]:
    """A Gaussian around each keypoint: a product of three, one per axis."""
    z, y, x = grid[:, 0, 0, 2], grid[0, :, 0, 1], grid[0, 0, :, 0]

    def along(axis: Tensor, values: Tensor) -> Tensor:
        return torch.exp(-0.5 * (axis - values[..., None]).square() / HEATMAP_VARIANCE)

    gx, gy, gz = along(x, keypoints[..., 0]), along(y, keypoints[..., 1]), along(z, keypoints[..., 2])
    return gz[..., :, None, None] * gy[..., None, :, None] * gx[..., None, None, :]


class FastUp(nn.Module):
    """UpBlock3d on the small map: enlarged neighbours are equal, so each of four kinds of pixels has 3x2x2 taps."""

    def __init__(self, block: UpBlock3d, dtype: torch.dtype) -> None:
        super().__init__()
        weight, bias = folded(block.conv.weight, block.conv.bias, block.norm)
        self.channels = weight.shape[0]
        kernels = [_halved(_halved(weight, row, dim=3), column, dim=4) for row in (0, 1) for column in (0, 1)]
        self.conv = ReadyConv(torch.cat(kernels), bias.repeat(4), dtype=dtype, padding=1, activation="relu")

    def forward(self, x: Float[Tensor, "B Cin D H W"]) -> Float[Tensor, "B Cout D H*2 W*2"]:
        """Twice the side, the same depth; ReLU included."""
        B, _, D, H, W = x.shape
        kinds = self.conv(x).permute(0, 2, 3, 4, 1).unflatten(4, (2, 2, self.channels))  # B D H+1 W+1 2 2 C
        result = x.new_empty((B, D, H, 2, W, 2, self.channels), dtype=kinds.dtype)
        for row in (0, 1):
            for column in (0, 1):
                result[:, :, :, row, :, column] = kinds[:, :, row : row + H, column : column + W, row, column]
        return result.flatten(4, 5).flatten(2, 3).permute(0, 4, 1, 2, 3)


def _halved(weight: Tensor, kind: int, dim: int) -> Tensor:
    """Three taps on an axis enlarged twice -> two taps on the small one: (left, own) or (own, right)."""
    a, b, c = weight.unbind(dim)
    return torch.stack((a, b + c) if kind == 0 else (a + b, c), dim=dim)


class FastHourglass(nn.Module):
    """The U-Net with folded norms. The input's channels come heatmaps first, then the deformed volumes."""

    def __init__(self, hourglass: Hourglass, order: list[int], dtype: torch.dtype, sensitive: torch.dtype) -> None:
        super().__init__()
        downs: list[DownBlock3d] = list(hourglass.encoder.down_blocks)  # pyright: ignore[reportAssignmentType]
        ups: list[UpBlock3d] = list(hourglass.decoder.up_blocks)  # pyright: ignore[reportAssignmentType]
        convs = []
        for i, block in enumerate(downs):
            weight, bias = folded(block.conv.weight, block.conv.bias, block.norm)
            convs.append(ReadyConv(weight[:, order] if i == 0 else weight, bias, dtype=dtype, activation="relu"))
        self.down = nn.ModuleList(convs)
        narrow = len(ups) - SENSITIVE_UPS
        self.up = nn.ModuleList(FastUp(block, sensitive if i >= narrow else dtype) for i, block in enumerate(ups))
        weight, bias = folded(hourglass.decoder.conv.weight, hourglass.decoder.conv.bias, hourglass.decoder.norm)
        own = weight.shape[1] - len(order)
        inputs = [*range(own), *(own + i for i in order)]
        self.last = ReadyConv(weight[:, inputs], bias, dtype=sensitive, activation="relu")

    def forward(self, x: Float[Tensor, "B C D H W"]) -> Float[Tensor, "B C2 D H W"]:
        """Evidence -> features of the same size."""
        steps = [x]
        for conv in self.down:
            steps.append(_halved_sides(conv(steps[-1])))
        y = steps.pop()
        for block, skip in zip(self.up, reversed(steps), strict=True):
            y = block(y)
            y = torch.cat((y, skip.to(y.dtype)), dim=1)
        return self.last(y)


def _halved_sides(x: Float[Tensor, "B C D H W"]) -> Float[Tensor, "B C D H/2 W/2"]:
    """Mean of 2x2 in every depth slice; slices are pooled as pictures, for which torch has a bfloat16 kernel."""
    slices = F.avg_pool2d(x.transpose(1, 2).flatten(0, 1), 2)
    return slices.unflatten(0, (len(x), -1)).transpose(1, 2)


class FastWarping(nn.Module):
    """The whole warping network."""

    def __init__(self, network: WarpingNetwork, depth: int, dtype: torch.dtype, sensitive: torch.dtype) -> None:
        """Take the plain network; `dtype` for most, `sensitive` where rounding costs most and time least."""
        super().__init__()
        dense: DenseMotionNetwork = network.dense_motion_network
        self.num_motions = dense.mask.out_channels
        squeezed = dense.compress.out_channels
        order = [k * (squeezed + 1) for k in range(self.num_motions)]
        order += [k * (squeezed + 1) + 1 + c for k in range(self.num_motions) for c in range(squeezed)]
        weight, bias = folded(dense.compress.weight, dense.compress.bias, dense.norm)
        self.compress = ReadyConv(weight, bias, dtype=torch.float32, activation="relu")
        self.hourglass = FastHourglass(dense.hourglass, order, dtype, sensitive)
        self.mask = mask_conv(dense.mask, depth)
        self.occlusion = ShiftedSums(dense.occlusion, depth)
        surface = dense.surface
        self.surface = None if surface is None else ReadyConv(surface.weight, surface.bias, dtype=torch.float32)
        weight, bias = folded(network.third.conv.weight, network.third.conv.bias, network.third.norm)
        # Samples come depth first, channels innermost; the plain network has it the other way round.
        weight = weight.unflatten(1, (-1, depth)).transpose(1, 2).flatten(1, 2)
        self.third = ReadyConv(weight, bias, dtype=sensitive, activation="leaky_relu", slope=LEAKY_SLOPE)
        self.fourth = ReadyConv(network.fourth.weight, network.fourth.bias, dtype=sensitive)
        self.pull = copy.deepcopy(network.pull)

    def prepare(
        self,
        volume: Float[Tensor, "B C D H W"],
        kp_source: Float[Tensor, "B K 3"],
        picture: Float[Tensor, "B 3 S S"] | None = None,
    ) -> WarpSource:
        """Everything that the source alone decides; `picture` is kept for models that copy pixels."""
        grid = identity_grid(volume.shape[2], volume.shape[3], volume.shape[4], like=kp_source)
        compressed = self.compress(volume.contiguous(memory_format=torch.channels_last_3d)).float().contiguous()
        rows = volume.float().flatten(2).mT.contiguous()
        return WarpSource(compressed, gaussians(grid, kp_source), kp_source, volume.float(), rows, picture)

    def forward(self, source: WarpSource, kp_driving: Float[Tensor, "B K 3"]) -> Warp:
        """Warp prepared sources; one source serves all frames."""
        source = source.repeated(len(kp_driving))
        volume = source.volume
        grid = identity_grid(volume.shape[2], volume.shape[3], volume.shape[4], like=kp_driving)
        offsets = F.pad(source.keypoints - kp_driving, (0, 0, 1, 0))
        scores, occlusion, depths = self._scores(source, grid, offsets, kp_driving)
        mask = scores.softmax(dim=1)
        # The mask sums to one, so the mean of (grid + offset) is the grid plus the mean offset.
        moves = torch.einsum("bndhw,bni->bdhwi", mask, offsets)
        flow = moves + grid
        features = self.fourth(self.third(sampled(source, flow))).float() * occlusion
        shift, over = None if depths is None else surface_shift(moves, depths), None
        if self.pull is not None and shift is not None:
            pulled = self.pull(shift, source.keypoints, kp_driving)
            shift, features, over = pulled.shift, features + pulled.features, pulled.over
        return Warp(features=features, flow=flow, occlusion=occlusion, shift=shift, over=over)

    def _scores(
        self, source: WarpSource, grid: Tensor, offsets: Tensor, kp_driving: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        change = gaussians(grid, kp_driving) - source.gaussians
        B, K, D, H, W = change.shape
        moved = translated(source.compressed, offsets)
        evidence = change.new_zeros((B, D, H, W, (K + 1) * (1 + moved.shape[-1])))
        evidence[..., 1 : K + 1] = change.permute(0, 2, 3, 4, 1)  # the background has no heatmap
        evidence[..., K + 1 :].unflatten(-1, (K + 1, -1)).copy_(moved)
        evidence = evidence.permute(0, 4, 1, 2, 3)
        prediction = self.hourglass(evidence)
        depths = None if self.surface is None else self.surface(prediction.flatten(1, 2).float())
        return self.mask(prediction).float(), self.occlusion(prediction).float().sigmoid(), depths


def sampled(source: WarpSource, flow: Float[Tensor, "B D H W 3"]) -> Float[Tensor, "B DC H W"]:
    """The warped volume as a flat map, depth outside and channels inside, channels last."""
    B, C, D, H, W = source.volume.shape
    if flow.device.type != "cpu":
        moved = F.grid_sample(source.volume, flow, align_corners=False)
        return moved.permute(0, 3, 4, 2, 1).reshape(B, H, W, D * C).permute(0, 3, 1, 2)
    places = flow.permute(0, 4, 2, 3, 1).reshape(B, 3, -1)
    parts = [sampled_rows(source.rows[b], (D, H, W), places[b]) for b in range(B)]
    return (parts[0][None] if B == 1 else torch.stack(parts)).view(B, H, W, D * C).permute(0, 3, 1, 2)


class ShiftedSums(nn.Module):
    """A convolution of a volume's flat map to one channel: k x k pointwise products, then shifted sums of k x k maps.

    A direct convolution to a single channel leaves 15 of 16 vector lanes idle.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv2d, depth: int) -> None:
        super().__init__()
        self.kernel = conv.kernel_size[0]
        taps = conv.weight.detach()[0].unflatten(0, (-1, depth)).flip(2, 3)  # C D k k
        bias = taps.new_zeros(1) if conv.bias is None else conv.bias.detach()
        self.register_buffer("weight", taps.permute(1, 2, 3, 0).flatten(1, 2).float().contiguous())  # D (k k) C
        self.register_buffer("bias", bias.float())

    def forward(self, x: Float[Tensor, "B C D H W"]) -> Float[Tensor, "B 1 H W"]:
        """The convolution, zeros outside."""
        B, C, D, H, W = x.shape
        rows = x.permute(0, 2, 3, 4, 1).reshape(B, D, H * W, C).float()
        maps = (rows @ self.weight.mT).sum(dim=1)  # B HW kk
        whole = F.fold(maps.mT, (H, W), self.kernel, padding=self.kernel // 2)
        return whole + self.bias.view(1, 1, 1, 1)


FOURIER_FROM = 5
"""Kernels of this side and larger are cheaper in the frequency domain (measured: docs/speed.md)."""


def mask_conv(conv: nn.Conv3d, depth: int) -> nn.Module:
    """The convolution that scores the K + 1 motions, in the cheaper domain."""
    bias = conv.bias if conv.bias is not None else conv.weight.new_zeros(conv.out_channels)
    if conv.kernel_size[0] >= FOURIER_FROM:
        return FourierConv3d(conv.weight, bias, depth)
    return ReadyConv(conv.weight, bias, dtype=torch.float32)
