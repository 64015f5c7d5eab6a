"""Motion of a portrait or a clip + slider settings -> the edited motion, and the keypoints for the generator.

LivePortrait's portrait editor as pure functions; the sliders are in `evaluation/sliders.py`.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from evaluation.driving import EYE_KEYPOINTS, PosedMotion, posed
from evaluation.retarget import Corrections, eyes_delta, lips_delta
from evaluation.sliders import NUM_KEYPOINTS, PortraitEdit, slider_change
from evaluation.smoothing import smoothed
from lp_models.geometry import rotation_matrix

LIP_SMOOTHING_VARIANCE = 3e-6
"""Upstream's observation variance for the lip change of a video."""


def edited_delta(delta: Float[Tensor, "T K 3"], edit: PortraitEdit) -> Float[Tensor, "T K 3"]:
    """Expressions of T frames -> the same with the edit's sliders added.

    Raises:
        ValueError: the model has not 21 keypoints.
    """
    _require_21(delta)
    for name, value in edit.slider_values().items():
        delta = delta + slider_change(name, value).to(delta)
    return delta


def turned(rotation: Float[Tensor, "T 3 3"], edit: PortraitEdit) -> Float[Tensor, "T 3 3"]:
    """Head poses -> the same with the edit's degrees added to pitch, yaw and roll.

    The matrices need not be taken apart for that: pitch acts first, so its change stands before R = (Rz Ry Rx)^T;
    roll acts last; yaw lies between and needs the roll, which R shows in its first row. Smoothed matrices, which are
    not quite rotations, stay what they are.
    """
    if not edit.has_rotation:
        return rotation
    angles = rotation.new_tensor([edit.pitch_deg, edit.yaw_deg, edit.roll_deg], dtype=torch.float32)
    zero = torch.zeros_like(angles[:1])
    pitch, yaw, roll = (
        rotation_matrix(*(angles[i : i + 1] if i == axis else zero for i in range(3))) for axis in range(3)
    )
    cosine, sine = torch.nn.functional.normalize(rotation[:, 0, :2].float(), dim=1).unbind(dim=1)
    none, one = torch.zeros_like(cosine), torch.ones_like(cosine)
    present_roll = torch.stack((cosine, sine, none, -sine, cosine, none, none, none, one), dim=1).unflatten(1, (3, 3))
    with torch.autocast(rotation.device.type, enabled=False):
        return pitch @ rotation.float() @ (present_roll.mT @ yaw @ present_roll) @ roll


def apply_edit(
    delta: Float[Tensor, "T K 3"],
    rotation: Float[Tensor, "T 3 3"],
    scale: Float[Tensor, "T 1"],
    shift: Float[Tensor, "T 3"],
    edit: PortraitEdit,
) -> PosedMotion:
    """Motion of T frames -> the same edit on each of them; `eyes_open` and `lips_open` are left to the networks.

    Args:
        delta: expressions.
        rotation: head poses, for row vectors; the edit's degrees are added (`turned`).
        scale: sizes, multiplied by `move_z`.
        shift: taken over as it is: the editor moves the head by keypoint 5.
        edit: the sliders.

    Raises:
        ValueError: the model has not 21 keypoints.
    """
    changed = edited_delta(delta, edit)
    return PosedMotion(turned(rotation, edit), changed, scale if edit.move_z == 1 else scale * edit.move_z, shift)


def ratio_change(
    corrections: Corrections,
    x_s: Float[Tensor, "T K 3"],
    edit: PortraitEdit,
    eye_ratios: Float[Tensor, "T 2"] | None,
    lip_ratio: Float[Tensor, "T 1"] | None,
) -> Float[Tensor, "T K 3"]:
    """Change of the keypoints that opens eyes and lips to the edit's ratios; zero where it asks for none.

    Args:
        corrections: retargeting networks.
        x_s: the source's keypoints, repeated for every frame.
        edit: of which `eyes_open` and `lips_open` are read.
        eye_ratios: how far the source's eyes are open, from `lp_models.geometry.eye_ratios`.
        lip_ratio: how far its lips are open.

    Raises:
        ValueError: a ratio is asked for and the source's own is not known.
    """
    change = torch.zeros_like(x_s)
    for name, present, retarget in (("eyes_open", eye_ratios, eyes_delta), ("lips_open", lip_ratio, lips_delta)):
        wanted = getattr(edit, name)
        if wanted is None:
            continue
        if present is None:
            raise ValueError(
                f"{name}={wanted} needs the source's own ratio; give its 203 landmarks or leave {name} out"
            )
        change = change + retarget(corrections, x_s, present, torch.full_like(present[:, :1], wanted))
    return change


def edited_keypoints(
    canonical: Float[Tensor, "T K 3"],
    source: PosedMotion,
    edit: PortraitEdit,
    corrections: Corrections,
    eye_ratios: Float[Tensor, "T 2"] | None = None,
    lip_ratio: Float[Tensor, "T 1"] | None = None,
    *,
    keep_depth_shift: bool,
    stitching: bool = True,
) -> Float[Tensor, "T K 3"]:
    """A portrait (or T frames) and an edit -> the keypoints the generator receives.

    Args:
        canonical: the source's canonical keypoints.
        source: its motion.
        edit: the sliders.
        corrections: stitching and retargeting networks.
        eye_ratios: as in `ratio_change`; needed for `edit.eyes_open`.
        lip_ratio: as in `ratio_change`; needed for `edit.lips_open`.
        keep_depth_shift: True adds the motion's z shift, which upstream does in its editor only (so an edit of
            nothing is not quite the source); False drops it, as everywhere else.
        stitching: correct the keypoints so that the shoulders stay.

    Raises:
        ValueError: the model has not 21 keypoints, or as `ratio_change`.
    """
    edited = apply_edit(source.delta, source.rotation, source.scale, source.shift, edit)
    x_s, x_d = posed(canonical, source), _posed(canonical, edited, keep_depth_shift)
    x_d = x_d + ratio_change(corrections, x_s, edit, eye_ratios, lip_ratio)
    return corrections.stitch(x_s, x_d) if stitching else x_d


def retargeted_lips(
    corrections: Corrections,
    x_s: Float[Tensor, "T K 3"],
    lip_ratio: Float[Tensor, "T 1"],
    lips_open: float,
    smoothing_variance: float = LIP_SMOOTHING_VARIANCE,
) -> Float[Tensor, "T K 3"]:
    """A source video -> keypoints with the lips as far open as asked in every frame; smoothed and stitched.

    Args:
        corrections: stitching and retargeting networks.
        x_s: the video's own keypoints.
        lip_ratio: how far its lips are open.
        lips_open: lip-open ratio to reach.
        smoothing_variance: observation variance of the smoother; larger is smoother.

    Raises:
        ValueError: the ratio is out of range.
    """
    edit = PortraitEdit(lips_open=lips_open)
    change = ratio_change(corrections, x_s, edit, None, lip_ratio)
    return corrections.stitch(x_s, x_s + smoothed(change, smoothing_variance))


def silenced_lips(
    corrections: Corrections,
    canonical: Float[Tensor, "T K 3"],
    source: PosedMotion,
    neutral: Float[Tensor, "1 K 3"],
    *,
    keep_depth_shift: bool,
) -> Float[Tensor, "T K 3"]:
    """A source video -> keypoints with a calm face in every frame: only head and eyes go on moving; stitched.

    Args:
        corrections: stitching network.
        canonical: the video's canonical keypoints.
        source: its motion.
        neutral: the calm expression, for the official weights `driving.neutral_expression()`.
        keep_depth_shift: as in `edited_keypoints`.

    Raises:
        ValueError: the model has not 21 keypoints.
    """
    _require_21(source.delta)
    delta = neutral.to(source.delta).expand_as(source.delta).clone()
    delta[:, list(EYE_KEYPOINTS)] = source.delta[:, list(EYE_KEYPOINTS)]
    x_d = _posed(canonical, source._replace(delta=delta), keep_depth_shift)
    return corrections.stitch(posed(canonical, source), x_d)


def _posed(canonical: Tensor, motion: PosedMotion, keep_depth_shift: bool) -> Tensor:
    in_depth = motion.shift * motion.shift.new_tensor([0.0, 0.0, float(keep_depth_shift)])
    return posed(canonical, motion) + in_depth[:, None]


def _require_21(delta: Tensor) -> None:
    if delta.shape[1] != NUM_KEYPOINTS:
        raise ValueError(
            f"the editor knows the meaning of {NUM_KEYPOINTS} keypoints, but this model has {delta.shape[1]}; "
            "edit with a model of 21 keypoints"
        )
