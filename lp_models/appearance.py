"""F: a portrait -> its appearance as a feature volume (LivePortrait, arXiv 2407.03168; face-vid2vid, 2011.15126)."""

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from lp_models.config import LivePortraitConfig
from lp_models.layers import DownBlock2d, ResBlock3d, SameBlock2d


class AppearanceExtractor(nn.Module):
    """Reads what a source looks like; run once per source."""

    def __init__(self, config: LivePortraitConfig) -> None:
        super().__init__()
        widths = [
            min(config.appearance_max_width, config.appearance_width * 2**i) for i in range(config.num_down_blocks + 1)
        ]
        self.volume_shape = (config.volume_channels, config.volume_depth)
        self.first = SameBlock2d(3, widths[0])
        self.down_blocks = nn.ModuleList(DownBlock2d(before, after) for before, after in pairwise(widths))
        self.second = nn.Conv2d(widths[-1], config.volume_channels * config.volume_depth, 1)
        self.resblocks_3d = nn.Sequential()
        for i in range(config.num_resblocks):
            self.resblocks_3d.add_module(f"3dr{i}", ResBlock3d(config.volume_channels))

    def forward(self, image: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B C D H W"]:
        """RGB in 0-1 -> volume; channel c * D + d of the flat map becomes (c, d)."""
        x = self.first(image)
        for block in self.down_blocks:
            x = block(x)
        return self.resblocks_3d(self.second(x).unflatten(1, self.volume_shape))
