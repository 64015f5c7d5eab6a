"""A model -> what each trick of the inference twin gives: the plain piece and the fast one, timed alone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evaluation.speed import Scene, timed
from lp_models import LivePortrait
from lp_models.dense_motion import deformed_volumes, heatmaps, sparse_motions
from lp_models.fast.convolution import ReadyConv, folded
from lp_models.fast.generator import EnlargedStyles, normalised
from lp_models.fast.sampling import translated
from lp_models.fast.warping import FastUp, FastWarping, ShiftedSums, gaussians, mask_conv, sampled
from lp_models.generator import SpadeBlock
from lp_models.geometry import identity_grid
from lp_models.layers import SpectralConv2d


@dataclass(frozen=True, slots=True, kw_only=True)
class Trick:
    """One piece of a frame, both ways; medians of wall time."""

    name: str
    plain_ms: float
    fast_ms: float
    largest_difference: float
    """Of the numbers that come out, in fp32."""


def tricks_of(model: LivePortrait, scene: Scene, repeats: int) -> list[Trick]:
    """Time every piece; what bfloat16 and kept memory give is in the rows of whole frames."""
    with torch.inference_mode():
        return [*_warping_tricks(model, scene, repeats), *_generator_tricks(model, scene, repeats)]


def _trick(name: str, plain: Callable[[], Any], fast: Callable[[], Any], repeats: int) -> Trick:
    difference = 0.0
    a, b = plain(), fast()
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        difference = float((a.float() - b.float()).abs().max())
    return Trick(
        name=name, plain_ms=timed(plain, repeats)[0], fast_ms=timed(fast, repeats)[0], largest_difference=difference
    )


def _warping_tricks(model: LivePortrait, scene: Scene, repeats: int) -> list[Trick]:
    dense = model.warping.dense_motion_network
    config, volume, x_s, x_d = model.config, scene.volume, scene.x_s, scene.x_d
    D, H, W = volume.shape[2:]
    grid = identity_grid(D, H, W, like=x_s)
    squeezed = F.relu(dense.norm(dense.compress(volume)))
    motions = sparse_motions(grid, x_s, x_d)
    offsets = F.pad(x_s - x_d, (0, 0, 1, 0))
    evidence = torch.cat((heatmaps(grid, x_s, x_d), deformed_volumes(squeezed, motions)), dim=2).flatten(1, 2)
    steps = dense.hourglass.encoder(evidence)
    prediction = dense.hourglass.decoder(steps)
    flow = model.warping(volume, kp_source=x_s, kp_driving=x_d).flow
    ups: Any = dense.hourglass.decoder.up_blocks
    fast_up = FastUp(ups[-1], torch.float32)
    up_input = torch.rand(1, ups[-1].conv.in_channels, D, H // 2, W // 2)
    first: Any = dense.hourglass.encoder.down_blocks[0]
    first_conv = ReadyConv(
        *folded(first.conv.weight, first.conv.bias, first.norm), dtype=torch.float32, activation="relu"
    )
    rows_evidence = evidence.contiguous(memory_format=torch.channels_last_3d)
    mask, fast_mask = dense.mask, mask_conv(dense.mask, D)
    occlusion, sums = dense.occlusion, ShiftedSums(dense.occlusion, D)
    last = prediction.contiguous(memory_format=torch.channels_last_3d)

    source = FastWarping(model.warping, D, torch.float32, torch.float32).prepare(volume, x_s)

    def grid_sampled() -> Tensor:
        moved = F.grid_sample(volume, flow, align_corners=False)
        return moved.transpose(1, 2).flatten(1, 2)

    return [
        _trick("source-constant work (squeezed volume, source Gaussians) computed once",
               lambda: (F.relu(dense.norm(dense.compress(volume))), gaussians(grid, x_s)), lambda: None, repeats),
        _trick(f"{config.num_keypoints + 1} moved volumes: matrix products instead of 5-D grid_sample",
               lambda: deformed_volumes(squeezed, motions).permute(0, 3, 4, 5, 1, 2),
               lambda: translated(squeezed, offsets), repeats),
        _trick("first hourglass convolution: norm folded, ReLU fused, channels last",
               lambda: F.relu(first.norm(first.conv(evidence))), lambda: first_conv(rows_evidence), repeats),
        _trick("last enlarging block on the small map", lambda: ups[-1](up_input), lambda: fast_up(up_input), repeats),
        _trick(f"{mask.kernel_size[0]}x{mask.kernel_size[0]}x{mask.kernel_size[0]} mask convolution"
               + " by Fourier transforms" * (mask.kernel_size[0] >= 5),
               lambda: mask(prediction), lambda: fast_mask(last), repeats),
        _trick("occlusion convolution as shifted sums",
               lambda: occlusion(prediction.flatten(1, 2)), lambda: sums(last), repeats),
        _trick("warping the volume: weighted rows instead of 5-D grid_sample", grid_sampled,
            lambda: sampled(source, flow).unflatten(1, (D, -1)).flatten(1, 2), repeats),
    ]  # fmt: skip


def _generator_tricks(model: LivePortrait, scene: Scene, repeats: int) -> list[Trick]:
    generator = model.generator
    label = model.warping(scene.volume, kp_source=scene.x_s, kp_driving=scene.x_d).features
    spectral = [m for m in generator.modules() if isinstance(m, SpectralConv2d)]
    block = generator.up_1
    norms = [block.norm_0, block.norm_1, *([block.norm_s] if block.learned_shortcut else [])]
    styles = EnlargedStyles(norms, 4, torch.float32)
    side = 4 * label.shape[-1]
    rows_label = label.contiguous(memory_format=torch.channels_last)
    x = torch.rand(1, model.config.generator_width, *label.shape[2:])
    rows_x = x.contiguous(memory_format=torch.channels_last)
    middle = generator.get_submodule("G_middle_0")
    tricks = [
        _trick(f"spectral norms of {len(spectral)} convolutions folded",
               lambda: [m.weight() for m in spectral], lambda: None, repeats),
        _trick("hidden maps of the last block's SPADE norms on the small map",
               lambda: torch.cat([n.mlp_shared(F.interpolate(label, size=(side, side))) for n in norms], dim=1),
               lambda: torch.cat(styles(rows_label), dim=1), repeats),
        _trick("instance norm by matrix products", lambda: F.instance_norm(x), lambda: normalised(rows_x), repeats),
        _trick("one middle convolution: packed, channels last",
               _convolution(middle, x), _packed(middle, rows_x), repeats),
    ]  # fmt: skip
    if block.learned_shortcut:
        tricks.append(_shortcut_trick(block, repeats, side))
    return tricks


def _convolution(block: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    assert isinstance(block, SpadeBlock)
    return lambda: block.conv_0(x)


def _packed(block: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    assert isinstance(block, SpadeBlock)
    conv = ReadyConv(block.conv_0.weight(), block.conv_0.bias, dtype=torch.float32)
    return lambda: conv(x)


def _shortcut_trick(block: SpadeBlock, repeats: int, side: int) -> Trick:
    """The shortcut's offset: 3x3 to all channels and then 1x1 to few, or both as one 3x3 to few."""
    beta = block.norm_s.mlp_beta
    narrow = block.conv_s.weight()
    hidden = torch.rand(1, beta.in_channels, side, side).contiguous(memory_format=torch.channels_last)
    assert beta.bias is not None
    weight = torch.einsum("oc,cikl->oikl", narrow[:, :, 0, 0], beta.weight)
    joined = ReadyConv(weight, narrow[:, :, 0, 0] @ beta.bias, dtype=torch.float32)
    return _trick("shortcut's offset: two linear convolutions as one",
                  lambda: F.conv2d(beta(hidden), narrow), lambda: joined(hidden), repeats)  # fmt: skip
