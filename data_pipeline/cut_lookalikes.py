"""One shot -> the same with something in it that looks like a cut and is none: what a cut finder must bear."""

from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import UInt8

Frames = UInt8[np.ndarray, "T H W 3"]


def _moved(frames: Frames, boxes: np.ndarray) -> Frames:
    """Each frame's box (x, y, width as shares of the frame) at full size; the eye of a moving camera, with its blur."""
    height, width = frames.shape[1:3]
    shown = []
    for i, (frame, (x, y, share)) in enumerate(zip(frames, boxes, strict=True)):
        matrix = np.array([[1 / share, 0, -x * width / share], [0, 1 / share, -y * height / share]])
        view = cv2.warpAffine(frame, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
        speed = int(abs(x - boxes[max(0, i - 1)][0]) * width / share / 2)
        shown.append(cv2.blur(view, (speed, 1)) if speed > 1 else view)
    return np.stack(shown)


def _ramp(count: int, at: int, length: int) -> np.ndarray:
    return np.clip((np.arange(count) - at) / length, 0, 1)


def _pan(frames: Frames, rng: np.random.Generator) -> Frames:
    way = _ramp(len(frames), int(rng.integers(5, 15)), int(rng.integers(5, 16))) * 0.5
    return _moved(frames, np.stack([way, np.full(len(way), 0.2), np.full(len(way), 0.5)], axis=1))


def _zoom(frames: Frames, rng: np.random.Generator) -> Frames:
    share = 1 - 0.6 * _ramp(len(frames), int(rng.integers(5, 15)), int(rng.integers(6, 20)))
    return _moved(frames, np.stack([(1 - share) / 2, (1 - share) / 2, share], axis=1))


def _shake(frames: Frames, rng: np.random.Generator) -> Frames:
    away = rng.normal(0, rng.uniform(0.01, 0.035), (len(frames), 2)).clip(-0.1, 0.1) + 0.1
    return _moved(frames, np.concatenate([away, np.full((len(frames), 1), 0.8)], axis=1))


def _flash(frames: Frames, rng: np.random.Generator) -> Frames:
    out = frames.copy()
    for at in (12, 26):
        for i, share in enumerate(rng.uniform(0.5, 1, int(rng.integers(1, 4)))):
            out[at + i] = 255 * share + out[at + i] * (1 - share)
    return out


def _fade(frames: Frames, rng: np.random.Generator) -> Frames:
    length = int(rng.integers(6, 13))
    weight = 1 - _ramp(len(frames), 4, length) + _ramp(len(frames), 5 + length, length)
    return (frames * weight[:, None, None, None]).astype(np.uint8)


def _exposure(frames: Frames, rng: np.random.Generator) -> Frames:
    out, at = frames.copy(), int(rng.integers(12, 24))
    gain = rng.choice([0.55, 0.7, 1.4, 1.7]) * rng.uniform(0.93, 1.07, 3)
    out[at:] = np.clip(out[at:] * gain, 0, 255)
    return out


def _occlusion(frames: Frames, rng: np.random.Generator) -> Frames:
    """A blurred, textured thing as large as half the picture passes."""
    height, width = frames.shape[1:3]
    texture = cv2.resize(rng.integers(20, 235, (5, 5, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    out, across = frames.copy(), int(rng.integers(7, 20))
    for i in range(across):
        mask = np.zeros((height, width), np.float32)
        middle = (round(width * (-0.4 + 1.8 * i / across)), round(height * 0.6))
        cv2.ellipse(mask, middle, (round(width * 0.35), round(height * 0.55)), 0, 0, 360, 1.0, -1)
        mask = cv2.blur(mask, (9, 9))[..., None]
        out[10 + i] = out[10 + i] * (1 - mask) + texture * mask
    return out


def _frozen(frames: Frames, rng: np.random.Generator) -> Frames:
    """Pictures are held, as by a slow line, and every fifth is shown twice."""
    at, hold = 20, int(rng.integers(2, 5))
    order = np.arange(len(frames)) - np.arange(len(frames)) // 5
    order[at : at + hold] = order[at]
    return frames[order]


LOOK_ALIKES: dict[str, Callable[[Frames, np.random.Generator], Frames]] = {
    "fast pan": _pan, "zoom": _zoom, "shake": _shake, "flashes": _flash, "fade to black and back": _fade,
    "exposure jump": _exposure, "something passes": _occlusion, "held pictures": _frozen,
}  # fmt: skip
