"""G: the warped feature map -> the picture (SPADE decoder, arXiv 1903.07291)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lp_models.config import LivePortraitConfig
from lp_models.layers import SpectralConv2d
from lp_models.pixels import blended

SLOPE = 0.2


class SpadeNorm(nn.Module):
    """Instance norm whose scale and offset are read from a label map at every pixel."""

    def __init__(self, channels: int, label_channels: int, hidden: int) -> None:
        super().__init__()
        self.param_free_norm = nn.InstanceNorm2d(channels, affine=False)
        self.mlp_shared = nn.Sequential(nn.Conv2d(label_channels, hidden, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.mlp_beta = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x: Float[Tensor, "B C H W"], label: Float[Tensor, "B L h w"]) -> Float[Tensor, "B C H W"]:
        """Normalise x, then scale and shift it as the label map says (nearest-neighbour resized)."""
        label = F.interpolate(label, size=x.shape[2:], mode="nearest")
        style = self.mlp_shared(label)
        return self.param_free_norm(x) * (1 + self.mlp_gamma(style)) + self.mlp_beta(style)


class SpadeBlock(nn.Module):
    """Residual block with SPADE norms; a learned shortcut where the widths differ."""

    def __init__(self, channels_in: int, channels_out: int, label_channels: int, hidden: int) -> None:
        super().__init__()
        between = min(channels_in, channels_out)
        self.learned_shortcut = channels_in != channels_out
        self.conv_0 = SpectralConv2d(channels_in, between, 3)
        self.conv_1 = SpectralConv2d(between, channels_out, 3)
        if self.learned_shortcut:
            self.conv_s = SpectralConv2d(channels_in, channels_out, 1, bias=False)
        self.norm_0 = SpadeNorm(channels_in, label_channels, hidden)
        self.norm_1 = SpadeNorm(between, label_channels, hidden)
        if self.learned_shortcut:
            self.norm_s = SpadeNorm(channels_in, label_channels, hidden)

    def forward(self, x: Float[Tensor, "B Cin H W"], label: Float[Tensor, "B L h w"]) -> Float[Tensor, "B Cout H W"]:
        """The shortcut plus two normalised convolutions."""
        shortcut = self.conv_s(self.norm_s(x, label)) if self.learned_shortcut else x
        y = self.conv_0(F.leaky_relu(self.norm_0(x, label), SLOPE))
        y = self.conv_1(F.leaky_relu(self.norm_1(y, label), SLOPE))
        return shortcut + y


class SpadeGenerator(nn.Module):
    """Paints the warped features; the same features are the label map of every SPADE norm."""

    def __init__(self, config: LivePortraitConfig) -> None:
        super().__init__()
        label, hidden, width = config.feature_channels, config.spade_hidden, config.generator_width
        self.num_middle_blocks = config.num_middle_blocks
        self.copies_pixels = config.copies_pixels
        channels = 4 if config.copies_pixels else 3
        self.fc = nn.Conv2d(label, width, 3, padding=1)
        for i in range(config.num_middle_blocks):
            self.add_module(f"G_middle_{i}", SpadeBlock(width, width, label, hidden))
        self.up_0 = SpadeBlock(width, width // 2, label, hidden)
        self.up_1 = SpadeBlock(width // 2, config.generator_out_width, label, hidden)
        if config.upscale > 1:
            self.conv_img = nn.Sequential(
                nn.Conv2d(config.generator_out_width, channels * config.upscale**2, 3, padding=1),
                nn.PixelShuffle(config.upscale),
            )
        else:
            self.conv_img = nn.Conv2d(config.generator_out_width, channels, 3, padding=1)

    def forward(
        self, features: Float[Tensor, "B F H W"], pixels: Float[Tensor, "B 3 S S"] | None = None
    ) -> Float[Tensor, "B 3 S S"]:
        """Warped features -> RGB in 0-1, in fp32.

        Args:
            features: of the warping network.
            pixels: the moved source (`lp_models.pixels.moved_pixels`), for a model that copies pixels.

        Raises:
            ValueError: the model copies pixels and got none.
        """
        check_pixels(self.copies_pixels, pixels)
        x = self.fc(features)
        for i in range(self.num_middle_blocks):
            x = self.get_submodule(f"G_middle_{i}")(x, features)
        x = self.up_0(F.interpolate(x, scale_factor=2.0, mode="nearest"), features)
        x = self.up_1(F.interpolate(x, scale_factor=2.0, mode="nearest"), features)
        x = self.conv_img(F.leaky_relu(x, SLOPE))
        return torch.sigmoid(x.float()) if pixels is None else blended(x.float(), pixels)


def check_pixels(copies_pixels: bool, pixels: Tensor | None) -> None:
    """Refuse pixels where the model has no use for them, and their absence where it needs them."""
    if copies_pixels != (pixels is not None):
        state = "needs the source picture" if copies_pixels else "has no use for the source picture"
        raise ValueError(f"this model has copies_pixels={str(copies_pixels).lower()} and {state}")
