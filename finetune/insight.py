"""A module and a batch -> what the averaged networks see in it: frames, keypoints, the flow and the occlusion."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from finetune.forward import forward_pass
from finetune.micro_batches import Record, rows
from finetune.optimiser import Stage
from finetune.pairs import Batch
from finetune.recipe import Recipe
from lp_models import LivePortrait, source_keypoints
from lp_models.warping import Warp

CHUNK_ROWS = 8
"""Rows that go through the networks together: pictures to look at should need no more memory than a step."""


READ_ONLY = Stage(until=1, train=("motion",))
"""Keypoints are wanted; painting is done here, where the flow is at hand."""


class Insight(NamedTuple):
    """Keypoints in -1 to 1. The flow says where each voxel of the output looks in the source's volume, x y z."""

    image: Float[Tensor, "B 3 S_out S_out"]
    kp_source: Float[Tensor, "B K 3"]
    kp_driving_own: Float[Tensor, "B K 3"]
    """Of the driving picture, with its own canonical points."""
    kp_output: Float[Tensor, "B K 3"]
    """The source's, driven."""
    flow: Float[Tensor, "B D H W 3"]
    occlusion: Float[Tensor, "B 1 H W"]


@torch.no_grad()
def look(module: Recipe, batch: Batch) -> Insight:
    """Read and drive each row by the base networks, in eval mode; nothing is changed. The result lies on the CPU."""
    model = module.averaged().eval()
    found = []
    for first in range(0, len(batch.source), CHUNK_ROWS):
        part = on(rows(batch, first, first + CHUNK_ROWS), module.device)
        with module.autocast():
            found.append(_look(model, part))
    return Insight(*(torch.cat(values).float().cpu() for values in zip(*found, strict=True)))


def _look(model: LivePortrait, batch: Batch) -> Insight:
    read = forward_pass(model, batch, stage=READ_ONLY)
    warp: Warp = model.warping(model.appearance(batch.source), kp_source=read.kp_source, kp_driving=read.kp_driving)
    own = source_keypoints(read.driving)
    image = model.paint(warp, batch.source)
    return Insight(image, read.kp_source, own, read.kp_driving, warp.flow, warp.occlusion)


def on(batch: Record, device: torch.device) -> Record:
    """The same rows on a device."""
    moved = (value.to(device) if isinstance(value, Tensor) else on(value, device) for value in batch)
    return type(batch)(*moved)  # pyright: ignore[reportCallIssue]
