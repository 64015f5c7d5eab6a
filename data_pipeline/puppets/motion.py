"""A seed -> motion codes over time: what a performer does, the same numbers for every species.

Column order is `MOTION_NAMES`. Angles are degrees with the signs of `x_c @ R`, R = (Rz Ry Rx)^T, x right, y down, z
inward: positive pitch lowers the nose, positive yaw moves it to the viewer's left, positive roll turns the head
clockwise on the screen. `right` and `left` are the performer's own. Shifts are in head units (half a head's height).
"""

import zlib
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64

MOTION_NAMES = (
    "pitch_deg", "yaw_deg", "roll_deg",
    "gaze_x", "gaze_y",  # -1..1, viewer's right and down positive
    "lid_right", "lid_left",  # 0 shut, 1 relaxed, 1.2 wide
    "jaw",  # 0 shut .. 1 wide open
    "mouth_right", "mouth_left",  # corner: -1 down .. 1 smile
    "pucker",  # 0..1
    "brow_right", "brow_left",  # -1 frown .. 1 raised
    "ear_right", "ear_left",  # -1 laid back .. 1 pricked
    "shoulder_x", "shoulder_y",
    "head_x", "head_y", "head_z",
)  # fmt: skip
COLUMN = {name: index for index, name in enumerate(MOTION_NAMES)}
LOWEST = np.array(
    [-32, -50, -32, -1, -1, 0, 0, 0, -1, -1, 0, -1, -1, -1, -1, -0.15, -0.08, -0.15, -0.12, -0.3], np.float32
)
HIGHEST = np.array(
    [32, 50, 32, 1, 1, 1.2, 1.2, 1, 1, 1, 1, 1, 1, 1, 1, 0.15, 0.08, 0.15, 0.12, 0.3], np.float32
)  # fmt: skip
NEUTRAL = np.zeros(len(MOTION_NAMES), np.float32)
NEUTRAL[[COLUMN["lid_right"], COLUMN["lid_left"]]] = 1.0
NEUTRAL.setflags(write=False)

Amplitude = Literal["calm", "normal", "extreme"]
_SCALE = {"calm": 0.55, "normal": 1.0, "extreme": 1.45}

EXERCISE_S = 0.24
"""From one pose of an exercise to the next."""

Curve = Float64[np.ndarray, " T"]


def generator(*parts: int | str) -> np.random.Generator:
    """A stream of its own for each (seed, purpose, ...): the same parts give the same numbers on every machine."""
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part & 0xFFFFFFFF for part in parts]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))


def _noise(rng: np.random.Generator, t: Curve, low_hz: float, high_hz: float, num: int = 5) -> Curve:
    """Band-limited noise of about unit size: a few sines with random frequencies and phases."""
    rates = rng.uniform(low_hz, high_hz, num)
    phases = rng.uniform(0, 2 * np.pi, num)
    weights = rng.uniform(0.5, 1.0, num)
    waves = weights[:, None] * np.sin(2 * np.pi * rates[:, None] * t + phases[:, None])
    return waves.sum(0) / np.sqrt((weights**2).sum() / 2) * 0.6


def _ease(t: Curve, start_s: float, rise_s: float) -> Curve:
    """0 before `start_s`, 1 after `start_s + rise_s`, with zero speed and acceleration at both ends."""
    s = np.clip((t - start_s) / rise_s, 0, 1)
    return s**3 * (10 - 15 * s + 6 * s * s)


def _event(t: Curve, start_s: float, rise_s: float, hold_s: float, fall_s: float) -> Curve:
    return _ease(t, start_s, rise_s) - _ease(t, start_s + rise_s + hold_s, fall_s)


def _starts(rng: np.random.Generator, end_s: float, first_s: float, mean_gap_s: float) -> list[float]:
    """Event times: the first soon after `first_s`, then gaps of 0.5 to 1.5 times the mean."""
    times, now = [], first_s * rng.uniform(0.6, 1.4)
    while now < end_s:
        times.append(float(now))
        now += mean_gap_s * rng.uniform(0.5, 1.5)
    return times


def _pose(rng: np.random.Generator, t: Curve, end_s: float, out: dict[str, Curve]) -> None:
    out["pitch_deg"] = 3.5 * _noise(rng, t, 0.12, 0.7)
    out["yaw_deg"] = 5.0 * _noise(rng, t, 0.1, 0.5)
    out["roll_deg"] = 3.0 * _noise(rng, t, 0.1, 0.5)
    for start in _starts(rng, end_s, 0.7, 1.7):
        swing = _event(t, start, rng.uniform(0.45, 0.85), rng.uniform(0.2, 1.1), rng.uniform(0.4, 0.9))
        out["yaw_deg"] = out["yaw_deg"] + swing * rng.uniform(12, 32) * rng.choice([-1, 1])
        out["pitch_deg"] = out["pitch_deg"] + swing * rng.normal(0, 6)
        out["roll_deg"] = out["roll_deg"] + swing * rng.normal(0, 6)
    for start in _starts(rng, end_s, 1.4, 3.0):
        rate = rng.uniform(1.2, 2.2)
        nod = _event(t, start, 0.25, rng.uniform(0.3, 0.8), 0.35) * np.sin(2 * np.pi * rate * (t - start))
        axis = "pitch_deg" if rng.random() < 0.65 else "yaw_deg"
        out[axis] = out[axis] + nod * rng.uniform(4, 9)
    for start in _starts(rng, end_s, 1.8, 3.2):
        out["roll_deg"] = out["roll_deg"] + _event(t, start, 0.5, 0.6, 0.6) * rng.uniform(6, 15) * rng.choice([-1, 1])
    for name, size in (("head_x", 0.035), ("head_y", 0.025), ("head_z", 0.06)):
        out[name] = size * _noise(rng, t, 0.1, 0.5)
    out["head_x"] = out["head_x"] - out["yaw_deg"] * 0.0015
    out["shoulder_x"] = 0.03 * _noise(rng, t, 0.08, 0.35) + 0.3 * out["head_x"]
    out["shoulder_y"] = 0.012 * np.sin(2 * np.pi * rng.uniform(0.22, 0.33) * t) + 0.008 * _noise(rng, t, 0.2, 0.6)


def _eyes(rng: np.random.Generator, t: Curve, end_s: float, out: dict[str, Curve]) -> None:
    gaze = {"gaze_x": np.zeros_like(t), "gaze_y": np.zeros_like(t)}
    at = {"gaze_x": 0.0, "gaze_y": 0.0}
    for start in _starts(rng, end_s, 0.5, 0.85):
        for name, wide in (("gaze_x", 0.55), ("gaze_y", 0.35)):
            target = 0.0 if rng.random() < 0.3 else float(np.clip(rng.normal(0, wide), -0.95, 0.95))
            gaze[name] = gaze[name] + (target - at[name]) * _ease(t, start, 0.08)
            at[name] = target
    out["gaze_x"] = gaze["gaze_x"] + 0.02 * _noise(rng, t, 0.5, 2.0)
    out["gaze_y"] = gaze["gaze_y"] + 0.02 * _noise(rng, t, 0.5, 2.0)
    openness = 1.0 + 0.05 * _noise(rng, t, 0.1, 0.5) - 0.14 * np.clip(out["gaze_y"], 0, 1)
    shut = {side: np.zeros_like(t) for side in ("right", "left")}
    for start in _starts(rng, end_s, 1.0, 2.2):
        sides = ("right", "left") if rng.random() < 0.88 else ((str(rng.choice(["right", "left"]))),)
        slow = 1.0 if len(sides) == 2 else 2.4
        blink = _event(t, start, 0.09 * slow, 0.05 * slow, 0.18 * slow)
        for side in sides:
            shut[side] = np.maximum(shut[side], blink)
    for start in _starts(rng, end_s, 2.6, 4.5):
        squint = rng.uniform(-0.2, 0.45) * _event(t, start, 0.3, rng.uniform(0.3, 0.9), 0.4)
        openness = openness - squint
    for side in ("right", "left"):
        out[f"lid_{side}"] = openness * (1 - shut[side])


def _mouth(rng: np.random.Generator, t: Curve, end_s: float, out: dict[str, Curve]) -> None:
    jaw = np.zeros_like(t)
    for start in _starts(rng, end_s, 0.6, 1.9):
        length = rng.uniform(0.6, 1.6)
        envelope = _event(t, start, 0.18, length, 0.25)
        syllables = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(3.0, 4.6) * t + rng.uniform(0, 6.28))
        jaw = jaw + envelope * syllables * (0.35 + 0.2 * _noise(rng, t, 0.6, 1.6)).clip(0.08, 0.6)
    for start in _starts(rng, end_s, 2.2, 4.0):
        jaw = np.maximum(jaw, _event(t, start, 0.35, rng.uniform(0.2, 0.6), 0.4) * rng.uniform(0.55, 1.0))
    out["jaw"] = jaw
    smile, skew = 0.12 * _noise(rng, t, 0.1, 0.5), 0.08 * _noise(rng, t, 0.1, 0.5)
    pucker = 0.05 * (1 + _noise(rng, t, 0.4, 2.0)) * np.clip(jaw * 3, 0, 1)
    brow, brow_skew = 0.1 * _noise(rng, t, 0.15, 0.7), 0.05 * _noise(rng, t, 0.15, 0.7)
    lids = np.zeros_like(t)
    for start in _starts(rng, end_s, 0.9, 1.9):
        shape = _event(t, start, rng.uniform(0.25, 0.5), rng.uniform(0.4, 1.2), rng.uniform(0.35, 0.7))
        kind = rng.choice(
            ["smile", "frown", "surprise", "pucker", "smirk", "doubt"], p=[0.34, 0.14, 0.16, 0.14, 0.12, 0.1]
        )
        size = rng.uniform(0.6, 1.0)
        smile = smile + shape * size * {"smile": 1.0, "frown": -0.9, "smirk": 0.45}.get(str(kind), 0.0)
        skew = skew + shape * size * (0.55 * rng.choice([-1, 1]) if kind == "smirk" else 0.0)
        pucker = pucker + shape * size * (1.0 if kind == "pucker" else 0.0)
        brow = brow + shape * size * {"smile": 0.25, "frown": -0.95, "surprise": 1.0}.get(str(kind), 0.0)
        brow_skew = brow_skew + shape * size * (0.8 * rng.choice([-1, 1]) if kind == "doubt" else 0.0)
        lids = lids + shape * size * {"surprise": 0.2, "smile": -0.12, "frown": -0.15}.get(str(kind), 0.0)
    out["mouth_right"], out["mouth_left"] = smile + skew, smile - skew
    out["pucker"] = pucker
    out["brow_right"], out["brow_left"] = brow + brow_skew, brow - brow_skew
    for side in ("right", "left"):
        # A lid that is shut stays shut: expressions act on the open share only.
        out[f"lid_{side}"] = out[f"lid_{side}"] * (1 + lids)


def _ears(rng: np.random.Generator, t: Curve, end_s: float, out: dict[str, Curve]) -> None:
    for side in ("right", "left"):
        ear = 0.15 * _noise(rng, t, 0.1, 0.6) + 0.35 * out[f"brow_{side}"]
        for start in _starts(rng, end_s, 1.2, 2.2):
            ear = ear + _event(t, start, 0.15, rng.uniform(0.1, 0.8), 0.25) * rng.uniform(-0.9, 0.7)
        out[f"ear_{side}"] = ear


def _bounded(code: Float64[np.ndarray, "T P"]) -> Float32[np.ndarray, "T P"]:
    """Keep every column in its range; angles bend softly so that no turn stops with a jerk."""
    code = code.copy()
    angles, limits = slice(0, 3), HIGHEST[:3].astype(np.float64)
    code[:, angles] = limits * np.tanh(code[:, angles] / limits)
    return np.clip(code, LOWEST, HIGHEST).astype(np.float32)


def _check(num_frames: int, fps: float, amplitude: str) -> None:
    if num_frames < 1 or fps <= 0:
        raise ValueError(f"a performance needs num_frames >= 1 and fps > 0, not {num_frames} and {fps}")
    if amplitude not in _SCALE:
        raise ValueError(f"amplitude must be one of {', '.join(_SCALE)}, not {amplitude!r}")


def sample_performance(
    seed: int, num_frames: int, fps: float = 25.0, amplitude: Amplitude = "normal", *, name: str = "performance"
) -> Float32[np.ndarray, "T P"]:
    """One performance: head turns, blinks, saccades, speech and expressions over `num_frames / fps` seconds.

    It starts near neutral, as a driving video should. `name` separates performances that share a seed. Up to a
    minute, a shorter performance is the beginning of a longer one, and another `fps` samples the same movement.

    Raises:
        ValueError: a count or a rate is not positive, or the amplitude is unknown.
    """
    _check(num_frames, fps, amplitude)
    rng = generator(seed, name)
    t = np.arange(num_frames) / fps
    # Events are drawn for whole minutes, so that a shorter performance is the beginning of a longer one.
    end_s = 60.0 * np.ceil(num_frames / fps / 60.0)
    out: dict[str, Curve] = {}
    for part in (_pose, _eyes, _mouth, _ears):
        part(rng, t, end_s, out)
    code = np.stack([out[name] for name in MOTION_NAMES], 1)
    ramp = 0.25 + 0.75 * _ease(t, 0.0, 0.7)[:, None]
    return _bounded(NEUTRAL + (code - NEUTRAL) * ramp * _SCALE[amplitude])


def sample_stills(
    seed: int, num: int, amplitude: Amplitude = "normal", *, name: str = "stills"
) -> Float32[np.ndarray, "N P"]:
    """Independent codes with wide coverage: each a pose and an expression that a photo might catch."""
    rng = generator(seed, name)
    code = np.tile(NEUTRAL.astype(np.float64), (num, 1))
    spread = {"pitch_deg": 9, "yaw_deg": 17, "roll_deg": 8, "gaze_x": 0.4, "gaze_y": 0.3, "ear_right": 0.35}
    spread |= {"ear_left": 0.35, "shoulder_x": 0.05, "shoulder_y": 0.02, "head_x": 0.05, "head_y": 0.04, "head_z": 0.1}
    for column, size in spread.items():
        code[:, COLUMN[column]] += rng.normal(0, size, num)
    smile, brow = rng.normal(0.15, 0.45, num), rng.normal(0.05, 0.4, num)
    for side in ("right", "left"):
        code[:, COLUMN[f"mouth_{side}"]] = smile + rng.normal(0, 0.12, num)
        code[:, COLUMN[f"brow_{side}"]] = brow + rng.normal(0, 0.15, num)
    shared, single = rng.uniform(0.75, 1.15, num), rng.random(num)
    shared = np.where(single < 0.1, rng.uniform(0, 0.5, num), shared)
    for side, low in (("right", 0.1), ("left", 0.15)):
        wink = (single >= low) & (single < low + 0.05)
        code[:, COLUMN[f"lid_{side}"]] = np.where(wink, rng.uniform(0, 0.3, num), shared)
    code[:, COLUMN["jaw"]] = np.where(rng.random(num) < 0.5, 0.0, rng.uniform(0, 1, num) ** 1.5)
    code[:, COLUMN["pucker"]] = np.where(rng.random(num) < 0.8, 0.0, rng.uniform(0.3, 1, num))
    return _bounded(NEUTRAL + (code - NEUTRAL) * _SCALE[amplitude])


def sample_exercises(
    seed: int, num_frames: int, fps: float = 25.0, amplitude: Amplitude = "normal", *, name: str = "exercises"
) -> Float32[np.ndarray, "T P"]:
    """One wide pose and expression after another, `EXERCISE_S` apart: what a network learns to read faces from.

    A performance is mostly a shut mouth and open eyes; here half of the eyes are partly shut and most mouths open.

    Raises:
        ValueError: a count or a rate is not positive, or the amplitude is unknown.
    """
    _check(num_frames, fps, amplitude)
    at = np.arange(num_frames) / fps / EXERCISE_S
    num = int(at[-1]) + 2
    poses = sample_stills(seed, num, amplitude, name=f"{name}-poses")
    rng = generator(seed, f"{name}-faces")
    shut = rng.uniform(0, 1, num) * np.where(rng.random(num) < 0.5, 1.0, 0.0)
    for side in ("right", "left"):
        one_eyed = np.where(rng.random(num) < 0.15, rng.uniform(0, 1, num), 1.0)
        poses[:, COLUMN[f"lid_{side}"]] *= (1 - shut) * one_eyed
    poses[:, COLUMN["jaw"]] = np.where(rng.random(num) < 0.3, 0.0, rng.uniform(0, 1, num))
    whole = at.astype(int)
    part = _ease(at - whole, 0.0, 1.0)[:, None]
    return _bounded(poses[whole] * (1 - part) + poses[whole + 1] * part)
