"""An identity -> what is behind it: a gradient, blurred lights, a room or a garden (linear RGB)."""

import numpy as np
from jaxtyping import Float32

from data_pipeline.puppets.coat import linear
from data_pipeline.puppets.identity import Identity


def _blur(picture: np.ndarray, sigma: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(picture, (sigma, sigma, 0), mode="nearest")


def _disc(x: np.ndarray, y: np.ndarray, at: tuple[float | int, float | int], radius: float) -> np.ndarray:
    return np.clip((radius - np.hypot(x - at[0], y - at[1])) / 0.01 + 0.5, 0, 1)[..., None]


def _room(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, wall: np.ndarray, other: np.ndarray) -> np.ndarray:
    floor = rng.uniform(0.66, 0.85)
    picture = np.where((y > floor)[..., None], other * 0.5, wall * (1.05 - 0.35 * y)[..., None])
    left = rng.choice([rng.uniform(-0.05, 0.12), rng.uniform(0.62, 0.8)])
    wide, top, tall = rng.uniform(0.2, 0.34), rng.uniform(0.03, 0.15), rng.uniform(0.3, 0.5)
    inside = (x > left) & (x < left + wide) & (y > top) & (y < top + tall)
    bars = (np.abs(x - left - wide / 2) < 0.008) | (np.abs(y - top - tall / 2) < 0.008)
    edge = (x > left - 0.02) & (x < left + wide + 0.02) & (y > top - 0.02) & (y < top + tall + 0.02)
    picture = np.where((edge & ~inside)[..., None] | (inside & bars)[..., None], np.array([0.75, 0.72, 0.68]), picture)
    sky = np.array([0.62, 0.78, 0.95]) * (1.1 - 0.5 * (y - top) / tall)[..., None]
    picture = np.where((inside & ~bars)[..., None], sky, picture)
    side = 0.8 if left < 0.4 else 0.12
    for k in range(4):
        width = rng.uniform(0.03, 0.06)
        at = side + k * 0.055
        book = (np.abs(x - at) < width / 2) & (y > 0.36 - rng.uniform(0.06, 0.14)) & (y < 0.36)
        picture = np.where(book[..., None], rng.uniform(0.05, 0.6, 3), picture)
    shelf = (np.abs(x - side - 0.08) < 0.18) & (np.abs(y - 0.37) < 0.012)
    return _blur(np.where(shelf[..., None], other * 0.35, picture), picture.shape[0] * 0.012)


def _garden(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    sky = np.array([0.55, 0.74, 0.95]) * (1.05 - 0.35 * y)[..., None]
    horizon = rng.uniform(0.35, 0.6)
    grass = np.array([0.16, 0.32, 0.08]) * rng.uniform(0.7, 1.3)
    picture = np.where((y > horizon)[..., None], grass * (0.7 + 0.6 * y)[..., None], sky)
    for _ in range(14):
        at = (rng.uniform(0, 1), horizon + rng.uniform(-0.16, 0.06))
        green = np.array([rng.uniform(0.05, 0.2), rng.uniform(0.18, 0.4), rng.uniform(0.03, 0.1)])
        hit = _disc(x, y, at, rng.uniform(0.06, 0.16))
        picture = picture * (1 - hit) + green * hit
    return _blur(picture, picture.shape[0] * 0.022)


def paint_backdrop(identity: Identity, size_px: int) -> Float32[np.ndarray, "S S 3"]:
    """The background at the final resolution; the same scene at every size."""
    rng = identity.stream("backdrop")
    x, y = np.meshgrid((np.arange(size_px) + 0.5) / size_px, (np.arange(size_px) + 0.5) / size_px)
    wall, other = linear(identity.colour["wall"]) * 0.75, linear(identity.colour["wall2"]) * 0.75
    kind = identity.style["backdrop"]
    if kind == "room":
        picture = _room(rng, x, y, wall, other)
    elif kind == "garden":
        picture = _garden(rng, x, y)
    else:
        angle = rng.uniform(0, 2 * np.pi)
        t = np.clip(0.5 + 0.7 * ((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle)), 0, 1)[..., None]
        picture = wall * (1 - t) + other * t
        glow = np.exp(-(((x - 0.5) / 0.4) ** 2) - ((y - 0.4) / 0.45) ** 2)[..., None]
        picture = picture * (0.7 + 0.5 * glow)
        if kind == "bokeh":
            for _ in range(rng.integers(8, 18)):
                hit = _disc(x, y, (rng.uniform(0, 1), rng.uniform(0, 0.8)), rng.uniform(0.02, 0.085))
                tint = linear(identity.colour["light"]) * rng.uniform(0.4, 1.0) * (0.5 + 0.5 * rng.random(3))
                picture = picture + hit * tint * rng.uniform(0.10, 0.4)
            picture = _blur(picture, size_px * 0.007)
    return np.clip(picture, 0, 1).astype(np.float32)
