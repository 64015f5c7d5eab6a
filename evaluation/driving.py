"""Source motion + driving motion -> driving keypoints: LivePortrait's rules, as pure functions on tensors.

What is moved is the source's canonical keypoints; the driver gives rotation, expression, scale and shift. *Relative*
motion adds the driver's change since its reference frame to the source; *absolute* motion takes the driver's values.
The rules, index sets and their asymmetries are upstream's (KwaiVGI/LivePortrait), so that equal inputs give equal
frames; docs/evaluation.md tells them apart from ours.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from evaluation.smoothing import smoothed
from lp_models.geometry import Motion, hull_multiplier, posed_keypoints

Region = Literal["all", "exp", "pose", "lip", "eyes"]
Balance = Literal["expression-friendly", "pose-friendly"]
Rules = Literal["human", "animal", "animal-stitched"]

LIP_KEYPOINTS = (6, 12, 14, 17, 19, 20)
EYE_KEYPOINTS = (11, 13, 15, 16, 18)
WHOLE_KEYPOINTS = (1, 2, 6, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20)
"""Keypoints whose three coordinates count as expression; of some others single coordinates do."""
PARTIAL_KEYPOINTS = ((3, (1,)), (4, (1,)), (5, (2,)), (8, (2,)), (9, (1, 2)))


@dataclass(frozen=True, slots=True, kw_only=True)
class DrivingOptions:
    """How the driver's motion is taken over.

    Raises:
        ValueError: a name is not one of those listed, or the multiplier is not finite.
    """

    relative: bool = True
    """Add the driver's change since its reference frame; otherwise take its pose and expression as they are."""
    region: Region = "all"
    balance: Balance = "expression-friendly"
    """Relative motion of a photo: scale the motion to the source's head (expression-friendly) or not."""
    rules: Rules = "human"
    """human: this project's default and upstream's human pipeline; animal: upstream's animal pipeline;
    animal-stitched: ours for animals, see `_drive_animal_stitched`."""
    multiplier: float = 1.0
    """Factor on the whole motion, after stitching."""
    smoothing_variance: float = 3e-7
    """Observation variance of the Kalman smoother (source videos only); larger is smoother."""

    def __post_init__(self) -> None:
        for name, allowed in (("region", Region), ("balance", Balance), ("rules", Rules)):
            if getattr(self, name) not in get_args(allowed):
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is unknown; choose one of {', '.join(get_args(allowed))}"
                )
        if not 0 <= self.multiplier < 100:
            raise ValueError(f"multiplier={self.multiplier} is out of range; give a number from 0 to 100, usually 1")
        if not 0 < self.smoothing_variance < 1e6:
            raise ValueError(
                f"smoothing_variance={self.smoothing_variance} is out of range; give a small positive number"
            )

    @property
    def has_pose(self) -> bool:
        """Whether head rotation and shift are taken over."""
        return self.region in ("all", "pose")


class PosedMotion(NamedTuple):
    """Motion of T frames with the head pose as a matrix (for row vectors)."""

    rotation: Float[Tensor, "T 3 3"]
    delta: Float[Tensor, "T K 3"]
    scale: Float[Tensor, "T 1"]
    shift: Float[Tensor, "T 3"]

    def frames(self, start: int, stop: int) -> "PosedMotion":
        """The motion of frames [start, stop)."""
        return PosedMotion(*(value[start:stop] for value in self))


def posed_motion(motion: Motion) -> PosedMotion:
    """What M read -> the same with a rotation matrix."""
    return PosedMotion(motion.rotation(), motion.delta.float(), motion.scale.float(), motion.shift.float())


@cache
def neutral_expression() -> Float[Tensor, "1 21 3"]:
    """The expression of a calm face with closed lips, as LivePortrait's human weights express it.

    From which a single driving photo's expression is counted (`lip_array.pkl` of KwaiVGI/LivePortrait, MIT). Other
    weights give their keypoints other meanings and need another one.
    """
    text = (resources.files("evaluation") / "neutral_expression.json").read_text()
    return torch.tensor(json.loads(text)["delta"], dtype=torch.float64).float().reshape(1, 21, 3)


def expression_mask(region: Region, num_keypoints: int) -> Bool[Tensor, "K 3"]:
    """Which numbers of the expression a region takes from the driver."""
    mask = torch.zeros(num_keypoints, 3, dtype=torch.bool)
    if region == "lip":
        mask[list(LIP_KEYPOINTS)] = True
    elif region == "eyes":
        mask[list(EYE_KEYPOINTS)] = True
    elif region in ("all", "exp"):
        mask[list(WHOLE_KEYPOINTS)] = True
        for keypoint, axes in PARTIAL_KEYPOINTS:
            mask[keypoint, list(axes)] = True
    return mask


def drive_image(
    canonical: Float[Tensor, "1 K 3"],
    source: PosedMotion,
    driving: PosedMotion,
    reference: PosedMotion,
    options: DrivingOptions,
    neutral: Float[Tensor, "1 K 3"] | None = None,
) -> Float[Tensor, "T K 3"]:
    """Keypoints of one source photo for T driving frames, before stitching and the multiplier.

    Args:
        canonical: the source's canonical keypoints.
        source: the source's motion, one frame.
        driving: any run of driving frames; runs can be given one after the other.
        reference: the driving frame (one) from which relative motion is counted; upstream uses the first.
        options: what is taken over.
        neutral: given when the driver is a single photo: the expression from which its own is counted. A photo has no
            frame to start from, so relative motion leaves the source's pose as it is.
    """
    if options.rules == "animal":
        return _drive_animal(canonical, source, driving, reference)
    if options.rules == "animal-stitched":
        return _drive_animal_stitched(canonical, source, driving, reference, neutral)
    if not options.relative:
        return _drive_absolutely(canonical, source, driving, options)
    x_d = _drive_relatively(canonical, source, driving, reference, options, neutral)
    if options.balance == "pose-friendly" or neutral is not None:
        return x_d
    x_first = _drive_relatively(canonical, source, reference, reference, options, None)
    return _fit_to_source(posed(canonical, source), x_d, x_first)


def drive_video(
    canonical: Float[Tensor, "T K 3"],
    source: PosedMotion,
    driving: PosedMotion,
    options: DrivingOptions,
    neutral: Float[Tensor, "1 K 3"] | None = None,
    reference: PosedMotion | None = None,
) -> Float[Tensor, "T K 3"]:
    """Keypoints of T source frames, each with its own driving frame; the sequence is smoothed as a whole.

    Args:
        canonical: canonical keypoints of the source frames.
        source: motion of the source frames.
        driving: motion of the driving frames, T or, for a photo, 1.
        options: what is taken over; `balance` has no effect on source videos.
        neutral: given when the driver is a single photo, as in `drive_image`.
        reference: the driving frame from which relative motion is counted; None for the first, as upstream.
    """
    if options.rules != "human":
        raise ValueError(f"rules={options.rules} moves photos only; use rules=human for a source video")
    first, r = reference or driving.frames(0, 1), options.smoothing_variance
    if options.relative:
        candidate = source.delta + (driving.delta - (first.delta if neutral is None else neutral))
        rotation = source.rotation if neutral is not None else driving.rotation @ first.rotation.mT @ source.rotation
        shift = source.shift  # a video moves by itself; upstream adds no driving shift here
    else:
        candidate = driving.delta.expand_as(source.delta)
        rotation = driving.rotation.expand_as(source.rotation)
        shift = driving.shift.expand_as(source.shift)
    if neutral is None:
        candidate, rotation = smoothed(candidate, r), smoothed(rotation, r)
    delta = _masked(source.delta, candidate, options.region)
    if not options.has_pose:
        rotation, shift = source.rotation, source.shift
    return posed_keypoints(canonical, rotation, delta, source.scale, shift)


def posed(canonical: Float[Tensor, "T K 3"], motion: PosedMotion) -> Float[Tensor, "T K 3"]:
    """Canonical keypoints in the pose and expression of a motion."""
    return posed_keypoints(canonical, motion.rotation, motion.delta, motion.scale, motion.shift)


def amplified(x_s: Float[Tensor, "#T K 3"], x_d: Float[Tensor, "T K 3"], multiplier: float) -> Float[Tensor, "T K 3"]:
    """The motion away from the source, times the multiplier."""
    return x_s + (x_d - x_s) * multiplier


def _drive_relatively(
    canonical: Tensor,
    source: PosedMotion,
    driving: PosedMotion,
    reference: PosedMotion,
    options: DrivingOptions,
    neutral: Tensor | None,
) -> Tensor:
    candidate = source.delta + (driving.delta - (reference.delta if neutral is None else neutral))
    if options.region in ("all", "exp"):
        delta = candidate
    elif options.region == "eyes" and neutral is not None:
        delta = _masked(
            source.delta, source.delta + driving.delta, "eyes"
        )  # without the neutral face: upstream's quirk
    else:
        delta = _masked(source.delta, candidate, options.region)
    rotation, shift, scale = source.rotation, source.shift, source.scale
    if options.has_pose:
        rotation = driving.rotation @ reference.rotation.mT @ source.rotation
        shift = source.shift + (driving.shift - reference.shift)
    if options.region == "all":
        scale = source.scale * (driving.scale / reference.scale)
    return _posed_each(canonical, rotation, delta, scale, shift)


def _drive_absolutely(canonical: Tensor, source: PosedMotion, driving: PosedMotion, options: DrivingOptions) -> Tensor:
    delta = _masked(source.delta, driving.delta, options.region)
    pose = driving if options.has_pose else source
    return _posed_each(canonical, pose.rotation, delta, source.scale, pose.shift)


def _drive_animal(canonical: Tensor, source: PosedMotion, driving: PosedMotion, reference: PosedMotion) -> Tensor:
    x_d = _posed_each(canonical, driving.rotation, driving.delta, source.scale, driving.shift)
    x_first = _posed_each(canonical, reference.rotation, reference.delta, source.scale, reference.shift)
    return _fit_to_source(posed(canonical, source), x_d, x_first)


def _drive_animal_stitched(
    canonical: Tensor, source: PosedMotion, driving: PosedMotion, reference: PosedMotion, neutral: Tensor | None
) -> Tensor:
    """The driver's turn since its reference is applied to the animal's own pose, its shift in units of the head's size.

    Upstream's animal rule subtracts keypoints of two absolute driving poses; where the animal looks elsewhere than the
    driver's first frame, a turn then shears the face instead of turning it. The driver's scale is not taken over, as
    there: a person who leans forward should not inflate a cat. Stitching follows the multiplier (`retarget.finished`).
    """
    rotation = driving.rotation @ reference.rotation.mT @ source.rotation
    delta = source.delta + (driving.delta - (reference.delta if neutral is None else neutral))
    shift = source.shift + (driving.shift - reference.shift) * (source.scale / reference.scale)
    return _posed_each(canonical, rotation, delta, source.scale, shift)


def _fit_to_source(x_s: Tensor, x_d: Tensor, x_first: Tensor) -> Tensor:
    """Motion since the reference, scaled from the driven head's size to the source's."""
    return (x_d - x_first) * hull_multiplier(x_s[0], x_first[0]) + x_s


def _masked(source: Tensor, candidate: Tensor, region: Region) -> Tensor:
    mask = expression_mask(region, source.shape[1]).to(source.device)
    return torch.where(mask, candidate, source)


def _posed_each(canonical: Tensor, rotation: Tensor, delta: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """posed_keypoints with parts of one or T frames."""
    parts = (canonical, rotation, delta, scale, shift)
    T = max(part.shape[0] for part in parts)
    return posed_keypoints(*(part.expand(T, *part.shape[1:]) for part in parts))
