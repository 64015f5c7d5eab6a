"""Level of difficulty -> how a puppet performs, and what happens to the driver's pictures."""

from typing import Literal, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from data_pipeline.puppets.motion import COLUMN, HIGHEST, LOWEST, NEUTRAL, generator, sample_performance

Level = Literal["plain", "large_pose", "asymmetric", "occlusion", "other_light"]
Factor = Literal["all", "pose", "eyes", "mouth"]


class Kind(NamedTuple):
    """What makes pairs comparable."""

    level: Level
    factor: Factor
    """What moves; the rest of the face stays neutral."""


KINDS = (
    Kind("plain", "all"), Kind("plain", "pose"), Kind("plain", "eyes"), Kind("plain", "mouth"),
    Kind("large_pose", "all"), Kind("asymmetric", "all"), Kind("occlusion", "all"), Kind("other_light", "all"),
)  # fmt: skip
FACTOR_COLUMNS: dict[Factor, tuple[str, ...]] = {
    "pose": ("pitch_deg", "yaw_deg", "roll_deg", "head_x", "head_y", "head_z", "shoulder_x", "shoulder_y"),
    "eyes": ("gaze_x", "gaze_y", "lid_right", "lid_left", "brow_right", "brow_left"),
    "mouth": ("jaw", "mouth_right", "mouth_left", "pucker"),
}
PEAK_DEG = {"pitch_deg": 24.0, "yaw_deg": 45.0, "roll_deg": 24.0}
"""Largest angles of `large_pose`; beyond them the puppets' far eye is coarse."""
SKIN = np.array([196, 146, 118], np.float32)
"""Colour of what hides the driver: a hand is as skin-coloured as the face, and no colour gives it away."""
LIGHT = np.array([1.35, 1.0, 0.62], np.float32)
"""Gain of red, green and blue at the end of `other_light`: a lamp of warm light instead of daylight."""
FALL_OFF = 0.45
"""How much darker the side away from that lamp is."""


def level_motion(kind: Kind, seed: int, count: int, fps: float, name: str) -> Float32[np.ndarray, "T P"]:
    """The motion codes of one performance; it starts near neutral."""
    motion = sample_performance(seed, count, fps, "normal", name=name)
    if kind.factor != "all":
        kept = [COLUMN[column] for column in FACTOR_COLUMNS[kind.factor]]
        alone = np.tile(NEUTRAL, (count, 1))
        alone[:, kept] = motion[:, kept]
        return alone
    if kind.level == "large_pose":
        for column, peak_deg in PEAK_DEG.items():
            motion[:, COLUMN[column]] *= peak_deg / max(1e-3, float(np.abs(motion[:, COLUMN[column]]).max()))
    elif kind.level == "asymmetric":
        motion = _one_sided(motion, generator(seed, name, "side"), fps)
    return np.clip(motion, LOWEST, HIGHEST)


def level_pictures(
    kind: Kind,
    frames: UInt8[np.ndarray, "T S S 3"],
    points: Float[np.ndarray, "T 5 2"],
    seed: int,
    name: str,
) -> UInt8[np.ndarray, "T S S 3"]:
    """The driver's frames as the method sees them; the first one is untouched, and so is the truth."""
    if kind.level == "occlusion":
        return _hidden(frames, points, generator(seed, name, "hand"))
    if kind.level == "other_light":
        return _relit(frames)
    return frames


def _one_sided(motion: np.ndarray, rng: np.random.Generator, fps: float) -> np.ndarray:
    """Winks, smirks, one raised brow, one laid ear: the sides take turns, about one a second."""
    turn = np.sin(2 * np.pi * rng.uniform(0.8, 1.1) * np.arange(len(motion)) / fps) * rng.choice([-1, 1])
    right, left = np.clip(turn, 0, 1)[:, None], np.clip(-turn, 0, 1)[:, None]
    motion = motion.copy()
    motion[:, :3] *= 0.5  # the head is calm, so that the face counts
    for side, strength in (("right", right[:, 0]), ("left", left[:, 0])):
        other = "left" if side == "right" else "right"
        motion[:, COLUMN[f"lid_{side}"]] *= 1 - strength
        motion[:, COLUMN[f"mouth_{side}"]] += 0.9 * strength
        motion[:, COLUMN[f"mouth_{other}"]] -= 0.3 * strength
        motion[:, COLUMN[f"brow_{other}"]] += 0.9 * strength
        motion[:, COLUMN[f"ear_{side}"]] -= 0.8 * strength
    return motion


def _hidden(frames: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A finger-like bar comes from one side, hides the mouth or an eye, and leaves; most frames have it."""
    side = frames.shape[1]
    size = float(np.linalg.norm(points[0, :2].mean(axis=0) - points[0, 3:].mean(axis=0)))
    target = int(rng.integers(0, 3))  # an eye, the other eye, or the mouth
    aims = [points[:, 0], points[:, 1], points[:, 3:].mean(axis=1)][target]
    from_left = bool(rng.integers(0, 2))
    away = np.array([-1.3 * side if from_left else 1.3 * side, 0.35 * side])
    phase = np.linspace(0, 1, len(frames))
    # Out of the picture, in, stays, out.
    inside = np.clip(np.minimum((phase - 0.2) / 0.15, (0.85 - phase) / 0.15), 0, 1)
    made = []
    for frame, aim, share in zip(frames, aims, inside, strict=True):
        if share <= 0:
            made.append(frame)
            continue
        tip = aim + away * (1 - share) * 0.5
        root = tip + away
        mask = np.zeros((side, side), np.float32)
        start, end = np.rint(tip).astype(int).tolist(), np.rint(root).astype(int).tolist()
        cv2.line(mask, start, end, 1.0, max(3, round(0.55 * size)), cv2.LINE_AA)
        mask = cv2.GaussianBlur(mask, (0, 0), 1.0)[..., None]
        shade = SKIN * (0.75 + 0.25 * np.linspace(1, 0, side, dtype=np.float32)[:, None, None])
        made.append(np.rint(frame * (1 - mask) + shade * mask).clip(0, 255).astype(np.uint8))
    return np.stack(made)


def _relit(frames: np.ndarray) -> np.ndarray:
    """The light changes over the first half of the clip: another colour, from one side."""
    side = frames.shape[1]
    across = 1 - FALL_OFF * np.linspace(0, 1, side, dtype=np.float32)[None, :, None]
    final = LIGHT * across * 1.2
    shares = np.clip(np.linspace(0, 2, len(frames)), 0, 1)
    lit = [np.rint(frame * (1 + share * (final - 1))).clip(0, 255) for frame, share in zip(frames, shares, strict=True)]
    return np.stack(lit).astype(np.uint8)
