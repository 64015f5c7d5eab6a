"""The motion of one head over time, as numbers that a person, a cat and a puppet share."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Float32


class Signals(NamedTuple):
    """Motion of one head over T frames; NaN where it is unknown. Conventions: docs/puppets.md."""

    pitch_deg: Float32[np.ndarray, " T"]
    yaw_deg: Float32[np.ndarray, " T"]
    roll_deg: Float32[np.ndarray, " T"]
    right_eye: Float32[np.ndarray, " T"]
    """Opening ratio of the head's own right eye."""
    left_eye: Float32[np.ndarray, " T"]
    lips: Float32[np.ndarray, " T"]


def signals_of(truth: Mapping[str, np.ndarray], square: Float[np.ndarray, "2 3"] | None = None) -> Signals | None:
    """Arrays of a truth file or of a shard's sample -> signals; None when they hold no motion at all.

    Args:
        truth: `pose_deg` [T,3], `eye_open` [T,2], `lip_open` [T] or [T,1]; what is missing is NaN in the answer.
        square: the crop's `source_from_crop`, when the arrays are those of the whole picture: roll is then counted
            from the crop's upright. A shard's arrays are already relative to its crop.
    """
    known = {
        name: np.asarray(truth[name], np.float32) for name in ("pose_deg", "eye_open", "lip_open") if name in truth
    }
    if not known:
        return None
    num_frames = len(next(iter(known.values())))
    pose = known.get("pose_deg", np.full((num_frames, 3), np.nan, np.float32)).copy()
    if square is not None:
        pose[:, 2] -= roll_of_square_deg(square)
    eyes = known.get("eye_open", np.full((num_frames, 2), np.nan, np.float32))
    lips = known.get("lip_open", np.full(num_frames, np.nan, np.float32)).reshape(num_frames)
    return Signals(pose[:, 0], pose[:, 1], pose[:, 2], eyes[:, 0], eyes[:, 1], lips)


def roll_of_square_deg(square: Float[np.ndarray, "2 3"]) -> np.float32:
    """By how much a crop's `source_from_crop` is turned: what is taken off the roll of the whole picture."""
    return np.float32(np.degrees(np.arctan2(square[1, 0], square[0, 0])))


def opening_of(signals: Signals, sweep: Literal["eyes", "lips"] | None) -> Float32[np.ndarray, " T"]:
    """The opening that a sweep is about."""
    return signals.lips if sweep == "lips" else both_eyes(signals)


def both_eyes(signals: Signals) -> Float32[np.ndarray, " T"]:
    """Mean opening of the two eyes."""
    return (signals.right_eye + signals.left_eye) / np.float32(2)
