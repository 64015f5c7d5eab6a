"""(species, index, seed) -> an identity: proportions, colours, patterns, hair, clothes, background and light."""

import colorsys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from data_pipeline.puppets.motion import generator
from data_pipeline.records import SPECIES, Species

Colour = tuple[float, float, float]
"""sRGB, 0-1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who is portrayed. Two identities with the same (species, index, seed) are the same to the last bit."""

    species: Species
    index: int
    seed: int
    shape: Mapping[str, float]
    """Proportions and amounts, head units."""
    colour: Mapping[str, Colour]
    style: Mapping[str, str]
    """Named choices: coat pattern, ears, hair, beard, glasses, clothes, background."""

    @property
    def name(self) -> str:
        """Like cat-0007."""
        return f"{self.species}-{self.index:04d}"

    def stream(self, purpose: str) -> np.random.Generator:
        """Random numbers that belong to this identity and one purpose."""
        return generator(self.seed, self.species, self.index, purpose)


def _hex(code: str) -> Colour:
    return int(code[0:2], 16) / 255, int(code[2:4], 16) / 255, int(code[4:6], 16) / 255


def _near(rng: np.random.Generator, colour: Colour, size: float = 0.03) -> Colour:
    """The colour with its hue, saturation and value moved a little."""
    hue, saturation, value = colorsys.rgb_to_hsv(*colour)
    hue = (hue + rng.normal(0, size * 0.35)) % 1
    saturation = float(np.clip(saturation * (1 + rng.normal(0, size * 2.5)), 0, 1))
    value = float(np.clip(value * (1 + rng.normal(0, size * 2)), 0.02, 1))
    return colorsys.hsv_to_rgb(hue, saturation, value)


def _pick(rng: np.random.Generator, codes: str, size: float = 0.03) -> Colour:
    """One of the hex codes, varied."""
    options = codes.split()
    return _near(rng, _hex(options[rng.integers(len(options))]), size)


def _choice(rng: np.random.Generator, options: str) -> str:
    """A word of `options`; `word*3` counts three times."""
    words = [word.partition("*") for word in options.split()]
    weights = np.array([float(weight or 1) for _, _, weight in words])
    return str(rng.choice([word for word, _, _ in words], p=weights / weights.sum()))


def _vivid(rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    return colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))


Parts = tuple[dict[str, float], dict[str, Colour], dict[str, str]]


def _human(rng: np.random.Generator) -> Parts:
    skin = _pick(rng, "f6d3bd f0c3a4 e8b48e d99f78 c98a60 a96e48 8a5536 6b3f28 573322", 0.012)
    fair = "3f2a1c 5b3a22 7a4e2b a36f3c cfa15c e3c27e 8c3a1e" if sum(skin) > 1.75 else "3a261a"
    hair = _pick(rng, f"1d1512 2c1d16 26211f 9a9a9c {fair}")
    look = _choice(rng, "woman man")
    styles = "bob*3 long*4 bun*1 ponytail curly afro" if look == "woman" else "short*4 side*3 buzz curly bald afro"
    shape = {
        "wide": rng.normal(0.80, 0.035), "deep": rng.normal(0.86, 0.03), "taper": rng.uniform(0.18, 0.36),
        "eye_x": rng.normal(0.315, 0.015), "eye_y": rng.normal(-0.03, 0.02), "eye_half": rng.normal(0.178, 0.012),
        "eye_up": rng.uniform(0.62, 0.82), "eye_low": rng.uniform(0.38, 0.5), "eye_tilt": rng.normal(0.05, 0.06),
        "nose_len": rng.normal(0.27, 0.025), "nose_size": rng.uniform(0.8, 1.35), "nose_wide": rng.uniform(0.85, 1.3),
        "mouth_y": rng.normal(0.585, 0.02), "mouth_half": rng.normal(0.25, 0.022),
        "lip": rng.uniform(0.05, 0.085) if look == "woman" else rng.uniform(0.03, 0.055),
        "chin": rng.uniform(0.0, 0.14), "cheek": rng.uniform(0.02, 0.09),
        "brow": rng.uniform(0.022, 0.036) * (1.25 if look == "man" else 0.85),
        "brow_y": rng.normal(-0.31, 0.02), "ear": rng.uniform(0.16, 0.24), "iris": rng.uniform(0.52, 0.6),
        "lash": 0.2 if look == "woman" else 0.11, "shoulder": rng.normal(1.42 if look == "man" else 1.24, 0.07),
        "neck": rng.normal(0.40 if look == "man" else 0.33, 0.025), "hairline": rng.uniform(-0.62, -0.5),
        "freckles": float(rng.random() < 0.2),
    }  # fmt: skip
    colour = {
        "skin": skin, "hair": hair, "brow": tuple(c * 0.75 for c in hair),
        "lip": _near(rng, tuple(np.clip(np.array(skin) * [0.86, 0.52, 0.52], 0, 1).tolist()), 0.04),
        "iris": _pick(rng, "4a2c17 6b4423 7d5a30 5d7a3a 3f7a5c 3a6ea5 5b8fc7 7a8a96 2f1d12"),
        "cloth": _vivid(rng, (0.25, 0.75), (0.25, 0.9)), "cloth2": _vivid(rng, (0.1, 0.7), (0.4, 0.95)),
        "frame": _pick(rng, "1b1b1e 5a2d18 7c1f2b 24406b b8963f"),
    }  # fmt: skip
    style = {
        "look": look, "hair": _choice(rng, styles), "fringe": _choice(rng, "none*2 full swept"),
        "beard": _choice(rng, "none*4 stubble*2 full*2 goatee moustache") if look == "man" else "none",
        "glasses": _choice(rng, "none*7 round square"), "cloth": _choice(rng, "tee*3 stripes hoodie shirt"),
    }  # fmt: skip
    return shape, colour, style


def _cat(rng: np.random.Generator) -> Parts:
    coat = _choice(rng, "tabby*4 solid*3 tuxedo*2 calico*2 siamese*2 bicolour*2")
    grounds = {
        "tabby": "9a7f63 c98a4a d9964f 8b8680 a9a49b 6f5a45", "solid": "2a2726 7d828a e9e4da c7925a 4a3a30",
        "tuxedo": "1f1d1e 3a3a40", "calico": "f0ebe2", "siamese": "e6d6bd efe3d0",
        "bicolour": "8d8a88 cf8f4e 2a2828 a5876a",
    }  # fmt: skip
    shape = {
        "wide": rng.normal(0.98, 0.04), "tall": rng.normal(0.83, 0.03), "deep": rng.normal(0.8, 0.03),
        "cheek": rng.uniform(0.04, 0.16), "muzzle": rng.uniform(0.16, 0.28), "pads": rng.uniform(0.06, 0.1),
        "eye_x": rng.normal(0.40, 0.02), "eye_y": rng.normal(-0.10, 0.02), "eye_half": rng.normal(0.235, 0.016),
        "eye_up": rng.uniform(0.62, 0.8), "eye_low": rng.uniform(0.5, 0.65), "eye_tilt": rng.uniform(0.08, 0.3),
        "mouth_y": rng.normal(0.47, 0.015), "mouth_half": rng.normal(0.21, 0.015), "lip": 0.02,
        "nose_y": rng.normal(0.25, 0.015), "nose_size": rng.uniform(0.085, 0.115), "brow_y": -0.42,
        "ear_tall": rng.uniform(0.62, 0.85), "ear_wide": rng.uniform(0.33, 0.43), "ear_tilt": rng.uniform(0.22, 0.5),
        "iris": rng.uniform(0.72, 0.82), "pupil": rng.choice([0.16, 0.3, 0.5, 0.75]), "fur": rng.uniform(0.07, 0.13),
        "whisker": rng.uniform(0.75, 1.05), "stripes": rng.uniform(8, 13), "patch_seed": rng.uniform(0, 100),
    }  # fmt: skip
    ground = _pick(rng, grounds[coat])
    nose = _pick(rng, "d98a8a b8686a e0a0a0 6a4440") if coat not in ("siamese",) else _pick(rng, "4a3330")
    colour = {
        "ground": ground, "dark": tuple(c * 0.32 for c in ground), "white": _pick(rng, "f6f2ea fbf8f3"),
        "second": _pick(rng, "c9782f d58a3f"), "third": _pick(rng, "24201f 37302c"),
        "point": _pick(rng, "3d2b24 54473f 6b4a35"),
        "iris": _pick(rng, "3f86c9 57a0dd") if coat == "siamese"
        else _pick(rng, "8fae3a c9b23a d99a2b 5f9e4a 79b86a e0b83f b9762a"),
        "nose": nose, "inner": _pick(rng, "e3a9a0 d99a94"), "collar": _vivid(rng, (0.6, 0.9), (0.5, 0.9)),
    }  # fmt: skip
    return shape, colour, {"coat": coat, "ears": "cat", "collar": _choice(rng, "none*2 band bell")}


def _dog(rng: np.random.Generator) -> Parts:
    coat = _choice(rng, "solid*3 bicolour*3 mask*2 spots*2 tan*2 saddle")
    grounds = {
        "solid": "c99a5c 8a5a32 5a3a22 2a2523 e8dcc6 d6b27a a9734a", "bicolour": "8a5430 2b2726 b5793f 6a4a34",
        "mask": "c79a62 b8864f d6b58a", "spots": "f1ece4", "tan": "262222 4a2f20", "saddle": "b9854c c4965f",
    }  # fmt: skip
    ears = _choice(rng, "floppy*6 pricked*3 half*1")
    shape = {
        "wide": rng.normal(0.80, 0.035), "tall": rng.normal(0.86, 0.03), "deep": rng.normal(0.84, 0.03),
        "cheek": rng.uniform(0.0, 0.08), "muzzle": rng.uniform(0.55, 0.85), "muzzle_wide": rng.uniform(0.34, 0.43),
        "eye_x": rng.normal(0.325, 0.018), "eye_y": rng.normal(-0.17, 0.02), "eye_half": rng.normal(0.168, 0.012),
        "eye_up": rng.uniform(0.72, 0.88), "eye_low": rng.uniform(0.5, 0.62), "eye_tilt": rng.normal(-0.02, 0.08),
        "mouth_y": rng.normal(0.535, 0.015), "mouth_half": rng.normal(0.265, 0.02), "lip": 0.028,
        "nose_y": rng.normal(0.20, 0.015), "nose_size": rng.uniform(0.15, 0.2), "brow_y": -0.42,
        "ear_tall": rng.uniform(0.85, 1.2) if ears == "floppy" else rng.uniform(0.62, 0.85),
        "ear_wide": rng.uniform(0.27, 0.36), "ear_tilt": rng.uniform(0.25, 0.5),
        "iris": rng.uniform(0.74, 0.86), "pupil": 0.42, "fur": rng.choice([0.04, 0.07, 0.12], p=[0.4, 0.35, 0.25]),
        "tongue": float(rng.random() < 0.55), "spots": rng.uniform(5.0, 8.0), "patch_seed": rng.uniform(0, 100),
        "blaze": rng.uniform(0.07, 0.16), "stop": rng.uniform(0.04, 0.12),
    }  # fmt: skip
    ground = _pick(rng, grounds[coat])
    colour = {
        "ground": ground, "dark": _pick(rng, "1f1a18 2b211c"), "white": _pick(rng, "f4efe6 faf6ef"),
        "second": _pick(rng, "7a4c2c 8f5a30 5f3d24 3a2c26"), "tan": _pick(rng, "b97a3e c98a4a a8672f"),
        "iris": _pick(rng, "5a3218 6f4420 7d5226 3a2213") if rng.random() < 0.88 else _pick(rng, "6fa8d6"),
        "nose": _pick(rng, "1c1918 2a2422 4a2f26"), "inner": _pick(rng, "c99a8c b98a7c"),
        "collar": _vivid(rng, (0.6, 0.95), (0.45, 0.9)),
    }  # fmt: skip
    return shape, colour, {"coat": coat, "ears": ears, "collar": _choice(rng, "none band*2 tag*2")}


def _panda(rng: np.random.Generator) -> Parts:
    is_brown = rng.random() < 0.08
    shape = {
        "wide": rng.normal(1.06, 0.045), "tall": rng.normal(0.92, 0.035), "deep": rng.normal(0.86, 0.03),
        "cheek": rng.uniform(0.04, 0.14), "muzzle": rng.uniform(0.22, 0.38), "muzzle_wide": rng.uniform(0.33, 0.42),
        "eye_x": rng.normal(0.36, 0.02), "eye_y": rng.normal(-0.06, 0.02), "eye_half": rng.normal(0.138, 0.01),
        "eye_up": rng.uniform(0.7, 0.9), "eye_low": rng.uniform(0.55, 0.7), "eye_tilt": rng.normal(0.0, 0.06),
        "mouth_y": rng.normal(0.545, 0.015), "mouth_half": rng.normal(0.215, 0.018), "lip": 0.022,
        "nose_y": rng.normal(0.27, 0.015), "nose_size": rng.uniform(0.125, 0.165), "brow_y": -0.40,
        "ear_tall": rng.uniform(0.44, 0.6), "ear_wide": rng.uniform(0.28, 0.37), "ear_tilt": rng.uniform(0.55, 0.8),
        "iris": rng.uniform(0.66, 0.78), "pupil": 0.45, "fur": rng.uniform(0.06, 0.11),
        "patch_wide": rng.uniform(0.19, 0.26), "patch_tall": rng.uniform(0.27, 0.37),
        "patch_tilt": rng.uniform(0.3, 0.85),
        "patch_drop": rng.uniform(0.02, 0.1), "patch_seed": rng.uniform(0, 100),
    }  # fmt: skip
    colour = {
        "ground": _pick(rng, "f4f1ea f8f6f0 efeae0", 0.01),
        "dark": _pick(rng, "6a4a36" if is_brown else "1c1b1e 26221f 201d1c"),
        "iris": _pick(rng, "6b4220 7d5530 55321a"), "nose": _pick(rng, "1a1819 241f1e"), "inner": _pick(rng, "2c2826"),
        "collar": _vivid(rng, (0.6, 0.9), (0.5, 0.9)),
    }  # fmt: skip
    return shape, colour, {"coat": "panda", "ears": "round", "collar": _choice(rng, "none*4 band")}


_SAMPLERS: dict[str, Callable[[np.random.Generator], Parts]] = {
    "human": _human,
    "cat": _cat,
    "dog": _dog,
    "panda": _panda,
}


def sample_identity(species: Species, index: int, seed: int = 0) -> Identity:
    """The identity number `index` of a species in the world `seed`.

    Raises:
        ValueError: the species is not one of `records.SPECIES`, or the index is negative.
    """
    if species not in SPECIES:
        raise ValueError(f"species must be one of {', '.join(SPECIES)}, not {species!r}")
    if index < 0:
        raise ValueError(f"an identity's index must be >= 0, not {index}")
    rng = generator(seed, species, index, "identity")
    shape, colour, style = _SAMPLERS[species](rng)
    backdrop = _choice(rng, "gradient*2 bokeh*3 room*3 garden*2")
    colour |= {
        "wall": _vivid(rng, (0.08, 0.45), (0.35, 0.92)), "wall2": _vivid(rng, (0.08, 0.5), (0.3, 0.85)),
        "light": _near(rng, _hex(str(rng.choice(["ffffff", "fff1dc", "ffe3c2", "e4eeff"]))), 0.02),
    }  # fmt: skip
    shape |= {
        "light_x": rng.uniform(-0.75, 0.75), "light_y": rng.uniform(-0.8, -0.25), "light": rng.uniform(0.85, 1.15),
        "ambient": rng.uniform(0.8, 1.15), "rim": rng.uniform(0.25, 0.8), "frame": rng.uniform(0.93, 1.06),
        "center_x": rng.normal(0, 0.05), "center_y": rng.normal(0, 0.03),
    }  # fmt: skip
    return Identity(
        species=species, index=index, seed=seed,
        shape={key: float(value) for key, value in shape.items()}, colour=colour, style=style | {"backdrop": backdrop},
    )  # fmt: skip
