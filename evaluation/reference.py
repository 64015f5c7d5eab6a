"""A driver's motion -> the frame from which relative motion is counted.

Relative motion adds to the source what changed since that frame, so in it the driver should look as the source does:
mostly calm, frontal, lips closed, eyes open. LivePortrait takes the first frame; a clip that starts in a blink or a
smile then moves every frame wrongly.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from evaluation.driving import PosedMotion
from evaluation.retarget import CLOSED_LIP_RATIO
from evaluation.smoothing import nearest_rotation

CHOICES = ("first", "neutral", "closest")
TURN_DEG = 10.0
"""A turn away from the usual pose that costs as much as one spread of expression."""
FRONTAL_DEG = 20.0
"""The same for a turn away from the camera, which may not stand straight before the driver."""
OPEN_LIPS = 0.05
"""The same for lips open by this ratio more than closed ones."""
CLOSED_EYES = 0.15
"""The same for eyes closed by this part of their usual opening."""
OPEN_QUANTILE = 0.75
"""Which of their openings is the usual one: many clips look down half of the time."""
TURN_DEG_PER_FRAME = 0.5
"""The same for the head's speed."""
FLOOR = 0.1
"""Numbers that hardly change are not judged more finely than this part of the most changing one."""
MAX_SPREADS = 10.0


def choose_reference(
    motion: PosedMotion,
    how: str | int = "first",
    source: PosedMotion | None = None,
    lip_ratios: Float[Tensor, "T 1"] | None = None,
    eye_ratios: Float[Tensor, "T 2"] | None = None,
) -> int:
    """The number of the reference frame, from 0; of equally good frames the earliest.

    Args:
        motion: all of the driver's frames that may be chosen.
        how: first | neutral (calm and frontal) | closest (most like the source) | a frame's number.
        source: one frame, the source's motion; needed for closest.
        lip_ratios: how open the driver's lips are, where known; neutral prefers closed ones. NaN where no face was
            found.
        eye_ratios: how open the driver's eyes are, where known; neutral prefers open ones. Without them a clip of many
            grimaces can be misjudged.

    Raises:
        ValueError: no frames, an unknown choice, a number that no frame has, or closest without a fitting source.
    """
    T = len(motion.delta)
    if not T:
        raise ValueError("the driver has no frames; a reference frame cannot be chosen")
    if isinstance(how, int) and not isinstance(how, bool):
        if not 0 <= how < T:
            raise ValueError(f"reference={how} is not a frame: the driver has {T}; give a number from 0 to {T - 1}")
        return how
    if how not in CHOICES:
        raise ValueError(f"reference={how!r} is unknown; choose {', '.join(CHOICES)} or a frame's number")
    if how == "first" or T == 1:
        return 0
    if how == "closest":
        return _earliest_least(_distance_to(motion, source))
    return _earliest_least(_unrest(motion, lip_ratios, eye_ratios))


def angle_deg(a: Float[Tensor, "#T 3 3"], b: Float[Tensor, "#T 3 3"]) -> Float64[Tensor, " T"]:
    """The angle of the rotation that leads from a to b."""
    # From the chord, not the trace: arccos loses all digits at small angles.
    chord = (a.double() - b.double()).flatten(1).norm(dim=1)
    return torch.rad2deg(2 * torch.asin((chord / 8**0.5).clamp(max=1)))


def _unrest(motion: PosedMotion, lips: Tensor | None, eyes: Tensor | None) -> Float64[Tensor, " T"]:
    """How far each frame is from a calm, frontal face; about 1 for each sign of unrest."""
    delta, rotation = motion.delta.double().cpu().flatten(1), motion.rotation.double().cpu()
    usual = delta.median(dim=0).values
    spread = 1.4826 * (delta - usual).abs().median(dim=0).values
    spread = spread + FLOOR * spread.max() + 1e-6
    usual_pose = nearest_rotation(rotation.median(dim=0, keepdim=True).values)
    cost = ((delta - usual) / spread).clamp(-MAX_SPREADS, MAX_SPREADS).square().mean(dim=1).sqrt()
    cost = cost + angle_deg(rotation, usual_pose) / TURN_DEG
    cost = cost + angle_deg(rotation, torch.eye(3)[None]) / FRONTAL_DEG
    change = ((delta[1:] - delta[:-1]) / spread).clamp(-MAX_SPREADS, MAX_SPREADS).square().mean(dim=1).sqrt()
    turn = angle_deg(rotation[1:], rotation[:-1]) / TURN_DEG_PER_FRAME
    cost = cost + _at_frames(change) + _at_frames(turn)
    if lips is not None:
        cost = cost + _known((lips[:, 0].double().cpu() - CLOSED_LIP_RATIO).clamp(min=0) / OPEN_LIPS)
    if eyes is not None:
        opening = eyes.double().cpu().amin(dim=1)  # in a wink one eye is open
        usual_opening = opening.nanquantile(OPEN_QUANTILE) + 1e-6
        cost = cost + _known((1 - opening / usual_opening).clamp(min=0) / CLOSED_EYES)
    return cost


def _known(cost: Float64[Tensor, " T"]) -> Float64[Tensor, " T"]:
    """A frame in which no face was found is a poor reference."""
    return cost.nan_to_num(nan=MAX_SPREADS)


def _at_frames(between: Float64[Tensor, " S"]) -> Float64[Tensor, " S+1"]:
    """Changes between neighbours -> at each frame the larger of the changes before and after it."""
    return torch.maximum(torch.cat((between[:1], between)), torch.cat((between, between[-1:])))


def _distance_to(motion: PosedMotion, source: PosedMotion | None) -> Float64[Tensor, " T"]:
    """How differently each frame is posed and expressed from the source."""
    if source is None:
        raise ValueError("reference=closest needs the source's motion; choose neutral, first or a frame's number")
    if source.delta.shape != (1, *motion.delta.shape[1:]):
        raise ValueError(
            f"reference=closest: the source's expression is {list(source.delta.shape)} and the driver's "
            f"{list(motion.delta.shape)}; give one source frame read by the same weights"
        )
    delta = motion.delta.double().cpu().flatten(1)
    spread = delta.std(dim=0).square().mean().sqrt() + 1e-6
    expression = (delta - source.delta.double().cpu().flatten(1)).square().mean(dim=1).sqrt() / spread
    return expression + angle_deg(motion.rotation.cpu(), source.rotation.cpu()) / TURN_DEG


def _earliest_least(cost: Float64[Tensor, " T"]) -> int:
    return int((cost <= cost.min() + 1e-9).nonzero()[0])
