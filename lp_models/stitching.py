"""S, R_eyes, R_lip: keypoints and conditions -> keypoint corrections."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lp_models.config import LivePortraitConfig


class CorrectionMLP(nn.Module):
    """Linear layers with ReLU between; starts as the zero correction.

    Only the last layer starts at zero: with every layer at zero, as upstream's helper does, no weight but the last bias
    would ever get a gradient.
    """

    def __init__(self, size_in: int, hidden: Sequence[int], size_out: int) -> None:
        super().__init__()
        sizes = (size_in, *hidden)
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.ReLU()]
        last = nn.Linear(sizes[-1], size_out)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.mlp = nn.Sequential(*layers, last)

    def forward(self, x: Float[Tensor, "B I"]) -> Float[Tensor, "B O"]:
        # Corrections are a few thousandths: never in half precision.
        """Flat keypoints and conditions -> flat corrections, in fp32."""
        with torch.autocast(x.device.type, enabled=False):
            return self.mlp(x.float())


class StitchingRetargeting(nn.Module):
    """The three correction networks under the names of the official file's parts."""

    def __init__(self, config: LivePortraitConfig) -> None:
        super().__init__()
        flat = 3 * config.num_keypoints
        self.num_keypoints = config.num_keypoints
        self.stitching = CorrectionMLP(2 * flat, config.stitching_hidden, flat + 2)
        self.lip = CorrectionMLP(flat + 2, config.lip_hidden, flat)
        self.eye = CorrectionMLP(flat + 3, config.eye_hidden, flat)

    def stitch(self, x_s: Float[Tensor, "B K 3"], x_d: Float[Tensor, "B K 3"]) -> Float[Tensor, "B K 3"]:
        """Corrected driving keypoints, so that the shoulders of the source stay where they are."""
        correction = self.stitching(torch.cat((x_s.flatten(1), x_d.flatten(1)), dim=1))
        delta = correction[:, :-2].unflatten(1, (self.num_keypoints, 3))
        shift = nn.functional.pad(correction[:, None, -2:], (0, 1))
        return x_d + delta + shift

    def retarget_eyes(self, x_s: Float[Tensor, "B K 3"], eyes: Float[Tensor, "B 3"]) -> Float[Tensor, "B K 3"]:
        """Change of the keypoints for eye ratios (source's two, wanted)."""
        return self.eye(torch.cat((x_s.flatten(1), eyes), dim=1)).unflatten(1, (self.num_keypoints, 3))

    def retarget_lips(self, x_s: Float[Tensor, "B K 3"], lips: Float[Tensor, "B 2"]) -> Float[Tensor, "B K 3"]:
        """Change of the keypoints for lip ratios (source's, wanted)."""
        return self.lip(torch.cat((x_s.flatten(1), lips), dim=1)).unflatten(1, (self.num_keypoints, 3))

    def forward(self, x_s: Float[Tensor, "B K 3"], x_d: Float[Tensor, "B K 3"]) -> Float[Tensor, "B K 3"]:
        """The same as `stitch`, for wrappers that only forward calls."""
        return self.stitch(x_s, x_d)
