"""An identity and head-local points -> fur or skin colour (linear RGB)."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from data_pipeline.puppets.identity import Colour, Identity
from data_pipeline.puppets.mesh import Points, smooth_step

Amount = Float[np.ndarray, " V"]


def linear(colour: Colour | np.ndarray) -> np.ndarray:
    """SRGB 0-1 -> linear light."""
    c = np.asarray(colour, float)
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def waves(rng: np.random.Generator, points: Points, scale: float, num: int = 10) -> Amount:
    """Smooth noise of about unit size whose features are `1 / scale` head units wide."""
    ways = rng.normal(0, scale, (num, 3))
    phases = rng.uniform(0, 2 * np.pi, num)
    return np.sin(points @ ways.T + phases).sum(1) / np.sqrt(num / 2)


def blend(base: np.ndarray, colour: np.ndarray, amount: Amount) -> np.ndarray:
    """Cover `base` with `colour` where amount is 1."""
    share = np.clip(amount, 0, 1)[:, None]
    return base * (1 - share) + colour * share


def _spot(
    points: Points, at: tuple[float | int, float | int], size: tuple[float | int, float | int], tilt: float = 0.0
) -> Amount:
    """1 inside an ellipse seen from the front, fading at its edge."""
    dx, dy = points[:, 0] - at[0], points[:, 1] - at[1]
    c, s = np.cos(tilt), np.sin(tilt)
    r = np.hypot((dx * c + dy * s) / size[0], (dy * c - dx * s) / size[1])
    return smooth_step(1.12, 0.88, r) * smooth_step(0.35, 0.1, points[:, 2])


def _human(identity: Identity, p: Points, rng: np.random.Generator) -> np.ndarray:
    s = identity.shape
    skin = linear(identity.colour["skin"])
    skin = 0.88 * skin + 0.12 * skin.mean()
    colour = np.tile(skin, (len(p), 1))
    x, y, z = p.T
    front = smooth_step(0.2, -0.3, z)
    flush = np.zeros(len(p))
    for side in (-1, 1):
        flush += 0.55 * np.exp(-(((x - side * 0.42) / 0.17) ** 2) - ((y - 0.28) / 0.13) ** 2) * front
    flush += 0.5 * np.exp(-((x / 0.12) ** 2) - ((y - s["nose_len"]) / 0.09) ** 2) * front
    colour = blend(colour, skin * [1.05, 0.62, 0.56], flush * 0.55)
    lids = sum(np.exp(-(((x - side * s["eye_x"]) / 0.2) ** 2) - ((y - s["eye_y"]) / 0.13) ** 2) for side in (-1, 1))
    colour = blend(colour, skin * [0.8, 0.62, 0.58], lids * front * 0.35)
    if s["freckles"]:
        spots = smooth_step(1.25, 1.8, waves(rng, p, 34.0)) * np.exp(-(((y - 0.2) / 0.2) ** 2)) * front
        colour = blend(colour, skin * [0.62, 0.42, 0.32], spots * 0.8)
    if identity.style["beard"] == "stubble":
        jaw = smooth_step(0.38, 0.62, y + 0.12 * np.abs(x)) * smooth_step(0.5, 0.2, z)
        colour = blend(colour, linear(identity.colour["hair"]) * 0.8 + skin * 0.25, jaw * 0.42)
    return colour


def _cat(identity: Identity, p: Points, rng: np.random.Generator) -> np.ndarray:
    s, c = identity.shape, {name: linear(value) for name, value in identity.colour.items()}
    x, y, z = p.T
    side = np.abs(x)
    colour = np.tile(c["ground"], (len(p), 1)) * (1 + 0.06 * waves(rng, p, 6.0))[:, None]
    muzzle = np.maximum(
        _spot(p, (-0.14, s["mouth_y"] - 0.05), (0.24, 0.2)), _spot(p, (0.14, s["mouth_y"] - 0.05), (0.24, 0.2))
    )
    chin = smooth_step(s["mouth_y"], s["mouth_y"] + 0.12, y) * smooth_step(0.5, 0.3, side)
    coat = identity.style["coat"]
    if coat == "tabby":
        crown = np.sin(side * s["stripes"] * 2.2 + 0.5 * waves(rng, p, 3.0)) * smooth_step(-0.28, -0.45, y)
        cheek = np.sin((y + 0.35 * side) * s["stripes"] * 2.0 + 0.4 * waves(rng, p, 3.0)) * smooth_step(
            0.5, 0.68, side + 0.5 * z.clip(0)
        )
        back = np.sin(y * s["stripes"] * 1.6) * smooth_step(0.0, 0.4, z)
        colour = blend(colour, c["dark"], smooth_step(0.1, 0.75, np.maximum(np.maximum(crown, cheek), back)) * 0.85)
        colour = blend(colour, c["white"] * 0.85 + c["ground"] * 0.15, np.maximum(muzzle, chin) * 0.85)
        for k in (-1, 1):
            ring = _spot(p, (k * s["eye_x"], s["eye_y"]), (s["eye_half"] * 1.45, s["eye_half"] * 1.15))
            colour = blend(colour, c["white"] * 0.6 + c["ground"] * 0.4, ring * 0.6)
    elif coat in ("tuxedo", "bicolour"):
        blaze = smooth_step(0.05, -0.02, side - 0.04 - 0.35 * np.clip(y - s["nose_y"] + 0.5, 0, 2) ** 1.5)
        white = np.maximum(np.maximum(muzzle, chin), blaze * smooth_step(0.2, -0.1, z))
        colour = blend(colour, c["white"], white)
    elif coat == "calico":
        patches = waves(rng, p, 2.6)
        colour = blend(colour, c["second"], smooth_step(0.15, 0.4, patches) * smooth_step(0.3, 0.1, y))
        colour = blend(colour, c["third"], smooth_step(0.2, 0.45, -patches) * smooth_step(0.3, 0.1, y))
    elif coat == "siamese":
        mask = np.exp(-((x / 0.5) ** 2) - ((y - 0.2) / 0.48) ** 2) * smooth_step(0.2, -0.2, z)
        colour = blend(colour, c["point"], smooth_step(0.25, 0.8, mask) * 0.95)
    elif coat == "solid":
        colour = blend(colour, np.minimum(c["ground"] * 1.35 + 0.02, 1), muzzle * 0.5)
    return colour


def _dog(identity: Identity, p: Points, rng: np.random.Generator) -> np.ndarray:
    s, c = identity.shape, {name: linear(value) for name, value in identity.colour.items()}
    x, y, z = p.T
    side = np.abs(x)
    colour = np.tile(c["ground"], (len(p), 1)) * (1 + 0.07 * waves(rng, p, 5.0))[:, None]
    muzzle = smooth_step(0.0, 0.14, y - s["nose_y"] + 0.20 - 0.4 * side) * smooth_step(
        s["muzzle_wide"] * 1.25, s["muzzle_wide"], side
    )
    muzzle = muzzle * smooth_step(0.1, -0.2, z)
    coat = identity.style["coat"]
    if coat == "bicolour":
        blaze = smooth_step(0.03, -0.03, side - s["blaze"] * (0.5 + 0.8 * np.clip(y + 0.6, 0, 1))) * smooth_step(
            0.0, -0.25, z
        )
        colour = blend(colour, c["white"], np.maximum(muzzle, blaze))
    elif coat == "mask":
        colour = blend(colour, c["dark"], muzzle * 0.95)
        for k in (-1, 1):
            colour = blend(colour, c["dark"], _spot(p, (k * s["eye_x"], s["eye_y"]), (0.24, 0.2)) * 0.55)
    elif coat == "spots":
        colour = blend(colour, c["second"], smooth_step(0.7, 0.95, waves(rng, p, s["spots"])))
        eye = s["eye_x"] * (1 if s["patch_seed"] > 50 else -1)
        colour = blend(colour, c["second"], _spot(p, (eye, s["eye_y"] - 0.02), (0.3, 0.33)))
    elif coat == "tan":
        colour = blend(colour, c["tan"], muzzle)
        cheek = smooth_step(0.1, 0.3, y) * smooth_step(0.3, 0.45, side)
        colour = blend(colour, c["tan"], cheek * 0.8)
        for k in (-1, 1):
            colour = blend(colour, c["tan"], _spot(p, (k * (s["eye_x"] - 0.04), s["brow_y"]), (0.1, 0.075)))
    elif coat == "saddle":
        colour = blend(colour, c["dark"], smooth_step(-0.25, -0.5, y + 0.35 * side - 0.4 * z.clip(0)) * 0.9)
        colour = blend(colour, c["dark"], muzzle * smooth_step(s["mouth_y"], s["nose_y"], y) * 0.6)
    if coat in ("solid",):
        colour = blend(colour, np.minimum(c["ground"] * 1.3 + 0.015, 1), muzzle * 0.55)
    return colour


def _panda(identity: Identity, p: Points, rng: np.random.Generator) -> np.ndarray:
    s, c = identity.shape, {name: linear(value) for name, value in identity.colour.items()}
    colour = np.tile(c["ground"], (len(p), 1)) * (1 - 0.05 * np.abs(waves(rng, p, 5.0)))[:, None]
    q = p + 0.02 * np.column_stack([waves(rng, p, 9.0), waves(rng, p, 9.0), np.zeros(len(p))])
    for k in (-1, 1):
        at = (k * (s["eye_x"] + 0.03), s["eye_y"] + s["patch_drop"])
        patch = _spot(q, at, (s["patch_wide"], s["patch_tall"]), k * s["patch_tilt"])
        colour = blend(colour, c["dark"], patch)
    muzzle = _spot(p, (0, s["mouth_y"] - 0.1), (0.36, 0.3))
    return blend(colour, c["ground"] * [0.86, 0.82, 0.76], muzzle * 0.4)


_COATS: dict[str, Callable[[Identity, Points, np.random.Generator], np.ndarray]] = {
    "human": _human,
    "cat": _cat,
    "dog": _dog,
    "panda": _panda,
}


def coat_colour(identity: Identity, points: Points) -> Float[np.ndarray, "V 3"]:
    """Colour of the head at neutral head-local points."""
    return np.clip(_COATS[identity.species](identity, points, identity.stream("coat")), 0, 1)


def ear_colours(identity: Identity) -> tuple[np.ndarray, np.ndarray]:
    """Outside and inside of an animal's ears."""
    c = {name: linear(value) for name, value in identity.colour.items()}
    coat, rng = identity.style["coat"], identity.stream("ears")
    outside = {
        "siamese": c.get("point"), "panda": c.get("dark"), "spots": c.get("second"), "saddle": c.get("dark"),
        "mask": c["ground"] * 0.55, "calico": c.get("third") if rng.random() < 0.5 else c.get("second"),
    }.get(coat)  # fmt: skip
    outside = c["ground"] if outside is None else outside
    return outside, c["inner"]


def body_colour(identity: Identity, points: Points) -> Float[np.ndarray, "V 3"]:
    """Colour of an animal's neck and shoulders."""
    c = {name: linear(value) for name, value in identity.colour.items()}
    x, y, z = points.T
    rng = identity.stream("body")
    coat = identity.style["coat"]
    base = np.tile(c["ground"], (len(points), 1)) * (1 + 0.06 * waves(rng, points, 4.0))[:, None]
    bib = smooth_step(0.62, 0.38, np.abs(x)) * smooth_step(0.0, -0.3, z)
    if coat == "panda":
        return blend(base, c["dark"], smooth_step(1.0, 1.15, y + 0.25 * np.abs(x) + 0.04 * waves(rng, points, 8.0)))
    if coat in ("tuxedo", "bicolour"):
        return blend(base, c["white"], bib)
    if coat == "tabby":
        stripes = smooth_step(0.1, 0.7, np.sin(y * 11 + 0.8 * waves(rng, points, 2.0)))
        return blend(blend(base, c["dark"], stripes * 0.7), c["white"], bib * smooth_step(1.5, 1.0, y) * 0.5)
    if coat == "calico":
        return blend(base, c["second"], smooth_step(0.3, 0.6, waves(rng, points, 1.6)))
    if coat == "spots":
        return blend(base, c["second"], smooth_step(0.6, 0.9, waves(rng, points, 3.0)))
    if coat == "tan":
        return blend(base, c["tan"], bib * smooth_step(1.1, 1.4, y) * 0.9)
    if coat == "saddle":
        return blend(base, c["dark"], (1 - bib) * 0.8)
    if coat == "siamese":
        return blend(base, c["point"], smooth_step(1.8, 2.6, y) * 0.6)
    return base
