"""The readable networks -> the same networks with quicker ways through some of their parts, for training.

`lp_models/*.py` says what is computed. Here the same sums are taken in another order: outputs and gradients are equal
to rounding (tests/finetune/test_quick_networks.py), parameters and their names are the same ones.
"""

from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from finetune.frozen_convolution import frozen_convolution
from finetune.perceptual import OrientedFilters
from lp_models.dense_motion import HEATMAP_VARIANCE, DenseMotion, DenseMotionNetwork, surface_shift
from lp_models.generator import SLOPE, SpadeBlock, SpadeNorm
from lp_models.geometry import identity_grid


def quicken(net: nn.Module) -> None:
    """Let what is inside take the quicker ways, in place. Do it before `torch.compile` and `recompute`."""
    for module in net.modules():
        for kind, way in QUICKER.items():
            if isinstance(module, kind):
                module.forward = MethodType(way, module)


def restore(net: nn.Module) -> None:
    """Take the readable ways again."""
    for module in net.modules():
        if isinstance(module, tuple(QUICKER)):
            module.__dict__.pop("forward", None)


def _spade_block(
    block: SpadeBlock, x: Float[Tensor, "B Cin H W"], label: Float[Tensor, "B L h w"]
) -> Float[Tensor, "B Cout H W"]:
    """The label map is enlarged once per block, not once per norm, and read by one convolution for all norms."""
    norms = [block.norm_0, block.norm_1, *([block.norm_s] if block.learned_shortcut else [])]
    first, second, *third = _styles(norms, label, x.shape[2:])
    shortcut = block.conv_s(_normalised(block.norm_s, x, third[0])) if third else x
    y = block.conv_0(F.leaky_relu(_normalised(block.norm_0, x, first), SLOPE))
    y = block.conv_1(F.leaky_relu(_normalised(block.norm_1, y, second), SLOPE))
    return shortcut + y


def _styles(norms: Sequence[SpadeNorm], label: Float[Tensor, "B L h w"], size: torch.Size) -> Sequence[Tensor]:
    label = F.interpolate(label, size=size, mode="nearest")
    weight, bias = _together([norm.mlp_shared[0] for norm in norms])
    return F.relu(F.conv2d(label, weight, bias, padding=1)).chunk(len(norms), dim=1)


def _normalised(norm: SpadeNorm, x: Float[Tensor, "B C H W"], style: Float[Tensor, "B h H W"]) -> Tensor:
    weight, bias = _together([norm.mlp_gamma, norm.mlp_beta])
    scale, offset = F.conv2d(style, weight, bias, padding=1).chunk(2, dim=1)
    return norm.param_free_norm(x) * (1 + scale) + offset


def _together(convolutions: Sequence[nn.Module]) -> tuple[Tensor, Tensor]:
    weights: list[Tensor] = [conv.weight for conv in convolutions]  # pyright: ignore[reportAssignmentType]
    biases: list[Tensor] = [conv.bias for conv in convolutions]  # pyright: ignore[reportAssignmentType]
    return torch.cat(weights), torch.cat(biases)


def _dense_motion(
    net: DenseMotionNetwork,
    volume: Float[Tensor, "B C D H W"],
    kp_source: Float[Tensor, "B K 3"],
    kp_driving: Float[Tensor, "B K 3"],
) -> DenseMotion:
    """Candidate motions are translations: their samplings and Gaussians are products over the three axes."""
    compressed = F.relu(net.norm(net.compress(volume)))
    with torch.autocast(volume.device.type, enabled=False):
        kp_source, kp_driving = kp_source.float(), kp_driving.float()
        grid = identity_grid(volume.shape[2], volume.shape[3], volume.shape[4], like=kp_source)
        offsets = F.pad(kp_source - kp_driving, (0, 0, 1, 0))
        change = gaussians(kp_driving, grid) - gaussians(kp_source, grid)
        heat = F.pad(change, (0, 0, 0, 0, 0, 0, 1, 0))[:, :, None]
        evidence = torch.cat((heat, translated(compressed.float(), offsets)), dim=2).flatten(1, 2)
    prediction = net.hourglass(evidence)
    scores, occlusion = net.mask(prediction), net.occlusion(prediction.flatten(1, 2))
    depths = net.depth_scores(prediction)
    with torch.autocast(volume.device.type, enabled=False):
        mask = scores.float().softmax(dim=1)
        # The mask sums to 1: the mean of grid + offset is grid + the mean of the offsets.
        moves = torch.einsum("bndhw,bni->bdhwi", mask, offsets)
        shift = None if depths is None else surface_shift(moves, depths)
        return DenseMotion(flow=grid + moves, occlusion=occlusion.float().sigmoid(), mask=mask, shift=shift)


def gaussians(keypoints: Float[Tensor, "B K 3"], grid: Float[Tensor, "D H W 3"]) -> Float[Tensor, "B K D H W"]:
    """exp(-|p - x|^2 / 2 v) = e(x) e(y) e(z): a few exponentials a keypoint instead of one a voxel."""
    lines = (grid[0, 0, :, 0], grid[0, :, 0, 1], grid[:, 0, 0, 2])
    across, down, inward = (
        torch.exp(-0.5 * (line - keypoints[..., axis, None]).square() / HEATMAP_VARIANCE)
        for axis, line in enumerate(lines)
    )
    return inward[..., None, None] * (down[..., None] * across[..., None, :])[:, :, None]


def translated(volume: Float[Tensor, "B C D H W"], offsets: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N C D H W"]:
    """The volume sampled at an identity grid plus each offset: trilinear, zeros outside, as three matrix products."""
    B, C, D, H, W = volume.shape
    N = offsets.shape[1]
    across, down, inward = (_shift(n, offsets[..., i].flatten()) for i, n in enumerate((W, H, D)))
    moved = volume[:, None].expand(-1, N, -1, -1, -1, -1).reshape(B * N, C * D * H, W) @ across.mT
    moved = down[:, None] @ moved.reshape(B * N, C * D, H, W)
    moved = inward[:, None] @ moved.reshape(B * N, C, D, H * W)
    return moved.reshape(B, N, C, D, H, W)


def _shift(size: int, offset: Float[Tensor, " N"]) -> Float[Tensor, "N size size"]:
    """Linear weights [to, from] of a line moved by each offset; end points at -1 and 1, align_corners=False."""
    at = ((torch.linspace(-1, 1, size, device=offset.device) + 1 + offset[:, None]) * size - 1) / 2
    return F.relu(1 - (at[..., None] - torch.arange(size, device=offset.device)).abs())


def _oriented_filters(net: OrientedFilters, image: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
    """The way back from the filters' responses to the picture costs a sixth (finetune/frozen_convolution.py)."""
    if image.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return OrientedFilters.forward(net, image)
    layers = []
    for scale in range(net.scales):
        if scale:
            image = F.avg_pool2d(image, 2)
        colours = F.conv2d(image, net.opponent)
        grey = F.pad(colours[:, :1], (3, 3, 3, 3), mode="replicate")
        responses = frozen_convolution(grey, net.filters)
        energy = F.avg_pool2d(torch.sqrt(responses.square() + 1e-4), 2)
        mixed = F.relu(F.conv2d(energy, net.mixing, stride=2, padding=1))
        layers += [torch.cat((responses, colours[:, 1:]), dim=1), energy, mixed]
    return layers


QUICKER: dict[type[nn.Module], Callable[..., Any]] = {
    SpadeBlock: _spade_block, DenseMotionNetwork: _dense_motion, OrientedFilters: _oriented_filters,
}  # fmt: skip
"""Kind of module -> its quicker way."""
