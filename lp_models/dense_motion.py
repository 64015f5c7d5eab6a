"""Two keypoint sets and a feature volume -> a dense 3-D flow and an occlusion map (part of W).

Quirk kept from upstream: grids have their end points at exactly -1 and 1, yet every sampling uses align_corners=False,
so that an identity flow enlarges the picture by n / (n - 1). Trained weights have learnt to live with it.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lp_models.config import LivePortraitConfig
from lp_models.geometry import identity_grid
from lp_models.layers import DownBlock3d, UpBlock3d

HEATMAP_VARIANCE = 0.01


class DenseMotion(NamedTuple):
    """What the dense-motion network says about one pair. Flow: where to sample the source volume, x y z in -1 to 1."""

    flow: Float[Tensor, "B D H W 3"]
    occlusion: Float[Tensor, "B 1 H W"]
    mask: Float[Tensor, "B K+1 D H W"]
    shift: Float[Tensor, "B 2 H W"] | None = None
    """Where the surface that is seen lies in the source picture, relative to here; None unless pixels are copied."""


def sparse_motions(
    grid: Float[Tensor, "D H W 3"], kp_source: Float[Tensor, "B K 3"], kp_driving: Float[Tensor, "B K 3"]
) -> Float[Tensor, "B K+1 D H W 3"]:
    """The identity (for the background) and one pure translation per keypoint, as sampling grids."""
    offset = F.pad(kp_source - kp_driving, (0, 0, 1, 0))
    return grid + offset[:, :, None, None, None, :]


def deformed_volumes(
    volume: Float[Tensor, "B C D H W"], motions: Float[Tensor, "B N D H W 3"]
) -> Float[Tensor, "B N C D H W"]:
    """The volume sampled once by each motion; trilinear, zeros outside."""
    num_motions = motions.shape[1]
    repeated = volume[:, None].expand(-1, num_motions, -1, -1, -1, -1).flatten(0, 1)
    sampled = F.grid_sample(repeated, motions.flatten(0, 1), align_corners=False)
    return sampled.unflatten(0, (-1, num_motions))


def heatmaps(
    grid: Float[Tensor, "D H W 3"], kp_source: Float[Tensor, "B K 3"], kp_driving: Float[Tensor, "B K 3"]
) -> Float[Tensor, "B K+1 1 D H W"]:
    """Where each keypoint arrives minus where it came from, as Gaussians; zeros for the background."""

    def gaussian(keypoints: Tensor) -> Tensor:
        distance2 = (grid - keypoints[:, :, None, None, None, :]).square().sum(dim=-1)
        return torch.exp(-0.5 * distance2 / HEATMAP_VARIANCE)

    change = gaussian(kp_driving) - gaussian(kp_source)
    return F.pad(change, (0, 0, 0, 0, 0, 0, 1, 0))[:, :, None]


def surface_shift(moves: Float[Tensor, "B D H W 3"], depths: Float[Tensor, "B D H W"]) -> Float[Tensor, "B 2 H W"]:
    """The moves of a volume seen from the front: their x and y, weighted by how much each depth is seen."""
    return torch.einsum("bdhw,bdhwi->bihw", depths.float().softmax(dim=1), moves[..., :2])


class Encoder(nn.Module):
    """Halves the side again and again and keeps every step."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.down_blocks = nn.ModuleList(DownBlock3d(before, after) for before, after in pairwise(widths))

    def forward(self, x: Float[Tensor, "B C D H W"]) -> list[Tensor]:
        """The input and the output of every block, widest first."""
        steps = [x]
        for block in self.down_blocks:
            steps.append(block(steps[-1]))
        return steps


class Decoder(nn.Module):
    """Doubles the side back, joining what the encoder kept."""

    def __init__(self, widths: list[int], out_width: int, kernel: int) -> None:
        super().__init__()
        # widths[0] is the input; the narrowest block gives out_width instead of it.
        blocks = []
        for i in range(len(widths) - 1, 0, -1):
            joined = 1 if i == len(widths) - 1 else 2
            blocks.append(UpBlock3d(joined * widths[i], widths[i - 1] if i > 1 else out_width))
        self.up_blocks = nn.ModuleList(blocks)
        channels = out_width + widths[0]
        self.conv = nn.Conv3d(channels, channels, kernel, padding=kernel // 2)
        self.norm = nn.BatchNorm3d(channels)

    def forward(self, steps: list[Tensor]) -> Float[Tensor, "B C D H W"]:
        """The encoder's steps -> one map at the input's size."""
        *skips, x = steps
        for block, skip in zip(self.up_blocks, reversed(skips), strict=True):
            x = torch.cat((block(x), skip), dim=1)
        return F.relu(self.norm(self.conv(x)))


class Hourglass(nn.Module):
    """A 3-D U-Net that pools height and width only."""

    def __init__(self, config: LivePortraitConfig, channels_in: int) -> None:
        super().__init__()
        widths = [
            channels_in,
            *(
                min(config.hourglass_max_width, config.hourglass_width * 2**i)
                for i in range(1, config.hourglass_blocks + 1)
            ),
        ]
        out_width = min(config.hourglass_max_width, config.hourglass_width)
        self.encoder = Encoder(widths)
        self.decoder = Decoder(widths, out_width, config.fusion_kernel)
        self.channels_out = out_width + channels_in

    def forward(self, x: Float[Tensor, "B C D H W"]) -> Float[Tensor, "B C2 D H W"]:
        """Evidence -> features of the same size."""
        return self.decoder(self.encoder(x))


class DenseMotionNetwork(nn.Module):
    """Weighs K + 1 candidate motions at every voxel."""

    def __init__(self, config: LivePortraitConfig) -> None:
        super().__init__()
        num_motions = config.num_keypoints + 1
        channels = num_motions * (config.compressed_channels + 1)
        self.hourglass = Hourglass(config, channels)
        self.mask = nn.Conv3d(
            self.hourglass.channels_out, num_motions, config.mask_kernel, padding=config.mask_kernel // 2
        )
        self.compress = nn.Conv3d(config.volume_channels, config.compressed_channels, 1)
        self.norm = nn.BatchNorm3d(config.compressed_channels)
        self.occlusion = nn.Conv2d(
            self.hourglass.channels_out * config.volume_depth,
            1,
            config.occlusion_kernel,
            padding=config.occlusion_kernel // 2,
        )
        self.surface = (
            nn.Conv2d(
                self.hourglass.channels_out * config.volume_depth,
                config.volume_depth,
                config.occlusion_kernel,
                padding=config.occlusion_kernel // 2,
            )
            if config.copies_pixels
            else None
        )

    def depth_scores(self, prediction: Float[Tensor, "B C D H W"]) -> Float[Tensor, "B D H W"] | None:
        """How much each depth is what one sees there; None unless pixels are copied."""
        return None if self.surface is None else self.surface(prediction.flatten(1, 2))

    def forward(
        self,
        volume: Float[Tensor, "B C D H W"],
        kp_source: Float[Tensor, "B K 3"],
        kp_driving: Float[Tensor, "B K 3"],
    ) -> DenseMotion:
        """Flow from the driving frame back to the source volume, and what it cannot see."""
        compressed = F.relu(self.norm(self.compress(volume)))
        # Coordinates stay in fp32 under autocast: bfloat16 here is what spoils the picture (docs/models.md).
        with torch.autocast(volume.device.type, enabled=False):
            kp_source, kp_driving = kp_source.float(), kp_driving.float()
            grid = identity_grid(volume.shape[2], volume.shape[3], volume.shape[4], like=kp_source)
            motions = sparse_motions(grid, kp_source, kp_driving)
            deformed = deformed_volumes(compressed.float(), motions)
            evidence = torch.cat((heatmaps(grid, kp_source, kp_driving), deformed), dim=2).flatten(1, 2)
        prediction = self.hourglass(evidence)
        scores = self.mask(prediction)
        occlusion = self.occlusion(prediction.flatten(1, 2))
        depths = self.depth_scores(prediction)
        with torch.autocast(volume.device.type, enabled=False):
            mask = scores.float().softmax(dim=1)
            flow = torch.einsum("bndhw,bndhwi->bdhwi", mask, motions)
            shift = None if depths is None else surface_shift(flow - grid, depths)
            return DenseMotion(flow=flow, occlusion=occlusion.float().sigmoid(), mask=mask, shift=shift)
