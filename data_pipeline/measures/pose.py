"""Five points -> how far a head is turned away, tilted, and how frontal it looks for its species."""

from statistics import median
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from data_pipeline.records import Species

FRONTAL_EYE_RATIO: dict[Species, float] = {"human": 0.90, "cat": 1.12, "dog": 0.92, "panda": 0.98}
"""Distance of the eyes / distance from the eyes' middle to the mouth's middle on frontal heads: medians
of the media set's 121 crops with a yaw_frac below 0.15."""


class Pose(NamedTuple):
    """Medians over the frames."""

    yaw_frac: float
    """0 (frontal) upwards, about 0.5 at three quarters and above 1 in profile: the nose's distance from the
    middle line, in half distances of the eyes."""
    roll_deg: float
    """-180 to 180, in the source frame: 0 is upright, positive leans clockwise on the screen."""
    eye_ratio: float
    """0 upwards: distance of the eyes / distance from the eyes to the mouth."""
    frontalness: float
    """0 (profile) to 1 (frontal): eye_ratio compared with frontal heads of the species, lowered by yaw_frac."""


def pose(points: Float32[np.ndarray, "T 5 2"], species: Species) -> Pose:
    """Yaw-like asymmetry, roll and frontalness.

    Source: plain geometry of a head turned about the vertical: the eyes' distance shrinks with the cosine, the nose,
    which stands out, moves with the sine.

    Args:
        points: right eye, left eye, nose, mouth right, mouth left in source pixels.
        species: dogs' muzzles are long, so each species has its own frontal ratio.
    """
    p = points.astype(np.float64)
    eyes, mouth = p[:, :2].mean(axis=1), p[:, 3:].mean(axis=1)
    down = mouth - eyes
    length = np.maximum(np.linalg.norm(down, axis=1), 1e-6)
    down /= length[:, None]
    right = np.stack([down[:, 1], -down[:, 0]], axis=1)
    spread = np.abs(((p[:, 1] - p[:, 0]) * right).sum(axis=1))
    nose = np.abs(((p[:, 2] - eyes) * right).sum(axis=1))
    yaw = np.minimum(nose / np.maximum(spread / 2, 1e-6), 10.0)
    ratio = np.minimum(spread / length, 10.0)
    frontal = np.minimum(ratio / FRONTAL_EYE_RATIO[species], 1.0) * np.maximum(1 - yaw / 2, 0.0)
    lean = np.degrees(np.arctan2(-down[:, 0].mean(), down[:, 1].mean()))
    return Pose(median(yaw.tolist()), float(lean), median(ratio.tolist()), median(frontal.tolist()))
