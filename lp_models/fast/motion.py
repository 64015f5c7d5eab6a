"""The motion network -> the same motion in half the time: pixel-wise layers by oneDNN, energies as matrix products."""

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lp_models.convnext import EPS, Block
from lp_models.fast.convolution import ReadyConv
from lp_models.motion import MotionExtractor


class FastBlock(nn.Module):
    """One ConvNeXt block, in fp32: the two linear layers are 1x1 convolutions, for which oneDNN is the quicker."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.dwconv, self.norm = block.dwconv, block.norm
        self.widen = _pointwise(block.pwconv1)
        self.narrow = _pointwise(block.pwconv2)
        self.gamma, self.beta = block.grn.gamma, block.grn.beta

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The input plus the block's change."""
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        y = F.gelu(self.widen(y)).permute(0, 2, 3, 1)
        rows = y.flatten(1, 2)
        energy = torch.bmm(rows.new_ones(len(rows), 1, rows.shape[1]), rows.square()).sqrt()[:, None]
        relative = energy / (energy.mean(dim=-1, keepdim=True) + EPS)
        y = torch.addcmul(self.beta, y, 1 + self.gamma * relative)
        return x + self.narrow(y.permute(0, 3, 1, 2))


def _pointwise(linear: nn.Linear) -> ReadyConv:
    return ReadyConv(linear.weight[:, :, None, None], linear.bias, dtype=torch.float32)


def fast_motion(network: MotionExtractor) -> MotionExtractor:
    """The same network with fast blocks; everything else is shared with the plain one, which is not changed."""
    twin, detector = copy.copy(network), copy.copy(network.detector)
    twin._modules, detector._modules = dict(network._modules), dict(network.detector._modules)
    detector.stages = nn.ModuleList(
        nn.Sequential(*(FastBlock(block) for block in stage.children() if isinstance(block, Block)))
        for stage in network.detector.stages
    )
    twin.detector = detector
    return twin
