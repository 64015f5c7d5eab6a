"""A batch -> one pass of the base model: driven frames, keypoints and motions of every picture that was read."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from finetune.losses import SpatialTransform
from finetune.optimiser import EVERYTHING, Stage
from finetune.pairs import Batch
from lp_models import LivePortrait, posed_keypoints, source_keypoints
from lp_models.geometry import Motion, rotation_matrix


class Forward(NamedTuple):
    """What one pass gives; motions of source, driving and target (that of driving where they are one frame)."""

    image: Float[Tensor, "B 3 S S"] | None
    """None when only the motion network was asked."""
    kp_source: Float[Tensor, "B K 3"]
    kp_driving: Float[Tensor, "B K 3"]
    source: Motion
    driving: Motion
    target: Motion
    own: Float[Tensor, "N K 3"]
    """Keypoints of every picture read, each with its own canonical points: sources, drivings, cross targets."""
    warped: Float[Tensor, "E K 3"]
    """Keypoints of the first E drivings after a random warp."""
    transform: SpatialTransform | None
    moved: Float[Tensor, "B 3 S S"] | None = None
    """The source as the flow moves it, before anything is painted; None where nothing is copied."""
    mirrored: Motion | None = None
    """Of the mirrored sources of the rows that were asked for, in their order."""


def rows_of(motion: Motion, rows: Tensor | slice) -> Motion:
    """Some rows of a motion."""
    return Motion(*(value[rows] for value in motion))


def forward_pass(
    model: LivePortrait,
    batch: Batch,
    transform: SpatialTransform | None = None,
    stage: Stage = EVERYTHING,
    mirror_rows: Bool[Tensor, " B"] | None = None,
) -> Forward:
    """Drive each source by its driving frame: x_d = s (x_c,source R_d + delta_d) + t.

    Scale and shift come from the target, which is the driving frame itself unless another identity drives: framing
    belongs to the picture that is wanted, pose and expression to the one that drives.

    Args:
        model: any size.
        batch: pictures at the side that the motion network reads.
        transform: the random warp of the equivariance rows.
        stage: says at which sides networks work, and whether a frame is painted at all.
        mirror_rows: rows whose mirrored source is read too.
    """
    num, cross = len(batch.source), batch.is_cross
    num_warped = 0 if transform is None else len(transform.theta)
    num_mirrored = 0 if mirror_rows is None else int(mirror_rows.sum())
    full = batch.source.shape[-1]
    images = [batch.source, batch.driving, fit(batch.target[cross], full)]
    if transform is not None:
        images.append(batch.driving[:num_warped])
    if num_mirrored:
        images.append(batch.source[mirror_rows].flip(-1))
    seen = fit(torch.cat(images), stage.motion_px or full)
    num_read = 2 * num + int(cross.sum())
    end = num_read + num_warped
    if transform is not None:
        seen = torch.cat([seen[:num_read], transform.warp(seen[num_read:end]), seen[end:]])
    # One call for all: the motion network has no batch statistics, so rows do not see each other.
    motion: Motion = model.motion(seen)
    source, driving = rows_of(motion, slice(0, num)), rows_of(motion, slice(num, 2 * num))
    index = torch.arange(num, 2 * num, device=cross.device)
    index[cross] = torch.arange(2 * num, num_read, device=cross.device)
    target = rows_of(motion, index)
    rotation = rotation_matrix(driving.pitch_deg, driving.yaw_deg, driving.roll_deg + batch.roll_offset_deg)
    kp_source = source_keypoints(source)
    kp_driving = posed_keypoints(source.canonical, rotation, driving.delta, target.scale, target.shift)
    image = moved = None
    if stage.paints:
        pictures = fit(batch.source, stage.side_px or full)
        warp = model.warping(model.appearance(pictures), kp_source=kp_source, kp_driving=kp_driving)
        moved = model.moved(warp, pictures)
        image = model.generator(warp.features, moved).float()
    everyone = source_keypoints(motion)
    return Forward(
        image=image, moved=moved, kp_source=kp_source, kp_driving=kp_driving,
        source=source, driving=driving, target=target, own=everyone[:num_read], warped=everyone[num_read:end],
        transform=transform, mirrored=rows_of(motion, slice(end, None)) if num_mirrored else None,
    )  # fmt: skip


def fit(image: Float[Tensor, "B 3 H W"], side_px: int) -> Float[Tensor, "B 3 S S"]:
    """A picture at another side; as it is where it fits."""
    if image.shape[-1] == side_px:
        return image
    return F.interpolate(image, size=(side_px, side_px), mode="bilinear", align_corners=False, antialias=True)
