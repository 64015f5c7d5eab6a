"""Identity and skull -> mouth inside, ears, nose leather, whiskers and brows, added to an assembly."""

from collections.abc import Callable

import numpy as np

from data_pipeline.puppets.anatomy import Skull, expression_fields
from data_pipeline.puppets.coat import ear_colours, linear
from data_pipeline.puppets.identity import Identity
from data_pipeline.puppets.mesh import NUM_FIELDS, Assembly, Points, ball, grid_triangles, smooth_step, tube
from data_pipeline.puppets.raster import LEATHER, PART, TEETH, TONGUE

NUM_LEATHER = 2 * 15 * 32
"""Triangles of an animal's nose."""
Fields = Callable[[Points], np.ndarray]


def _with_face(identity: Identity, skull: Skull) -> Fields:
    return lambda points: expression_fields(identity, skull, points)


def _with_jaw(skull: Skull, share: float = 1.0) -> Fields:
    """Parts fixed to the lower jaw."""

    def move(points: Points) -> np.ndarray:
        fields = np.zeros((NUM_FIELDS, len(points), 3))
        fields[0, :, 1] = share * skull.gape
        fields[0, :, 2] = 0.2 * share * skull.gape
        return fields

    return move


def add_mouth(assembly: Assembly, identity: Identity, skull: Skull) -> None:
    """Teeth on both jaws (canines for animals) and a tongue on the lower one, seen only between the lips."""
    s = identity.shape
    y, half = s["mouth_y"], s["mouth_half"]
    depth = float(skull.on_front(0.0, y)[0, 2])
    t = np.linspace(-1, 1, 15)
    white = linear((0.97, 0.95, 0.90))
    is_human = identity.species == "human"
    for is_upper in (True, False):
        reach = (0.80 if is_upper else 0.66) * half
        tall = (0.075 if is_upper else 0.05) if is_human else 0.035
        arc = skull.on_front(t * reach, y, -0.08)
        arc[:, 2] += 0.05 * t**2
        edge = 0.006 * np.abs(np.sin(t * 14)) + 0.02 * t**2
        gum, tip = arc.copy(), arc.copy()
        gum[:, 1] += -0.05 if is_upper else 0.06
        tip[:, 1] += (tall - edge - 0.02) if is_upper else (-tall + edge + 0.05)
        strip = np.concatenate([gum, tip])
        assembly.add(
            strip,
            grid_triangles(2, len(t)),
            TEETH,
            white,
            cover=0.85,
            fields=None if is_upper else _with_jaw(skull, 0.95),
        )
        if not is_human:
            for side in (-1, 1):
                root = arc[len(t) // 2 + side * 5]
                way = 1 if is_upper else -1
                path = root + np.linspace(0, 1, 4)[:, None] * np.array([0, way * 0.10, 0.0]) - [0, 0.02 * way, 0.01]
                fang, faces = tube(path, np.array([0.022, 0.02, 0.013, 0.002]), 6)
                assembly.add(fang, faces, TEETH, white, fields=None if is_upper else _with_jaw(skull, 0.95))
    _add_tongue(assembly, identity, skull, depth)


def _add_tongue(assembly: Assembly, identity: Identity, skull: Skull, depth: float) -> None:
    s = identity.shape
    y, half = s["mouth_y"], s["mouth_half"]
    hang = 0.22 if s.get("tongue") else 0.0
    along = np.linspace(0, 1, 12)
    across = np.linspace(-1, 1, 9)
    out = np.array([0.0, y + 0.075, depth + 0.34]) + along[:, None] * np.array(
        [0, -0.015, -0.30 if not hang else -0.36]
    )
    if hang:
        bend = smooth_step(0.62, 1.0, along)
        out[:, 1] += bend * 0.03
    wide = half * 0.6 * np.sqrt(np.clip(1 - ((along - 0.45) / 0.56) ** 2, 0.02, 1))
    points = out[:, None] + np.stack(
        [
            wide[:, None] * across,
            0.035 * across**2 + 0.02 * (1 - np.abs(across) * 2).clip(0) + 0 * wide[:, None],
            0 * wide[:, None] * across,
        ],
        -1,
    )
    points = points.reshape(-1, 3)
    fields = _with_jaw(skull, 0.86)(points)
    if hang:
        # A panting dog's tongue slides over the lower lip as the jaw drops.
        bend = np.repeat(smooth_step(0.5, 1.0, along), len(across))
        fields[0, :, 1] += hang * bend
        fields[0, :, 2] -= 0.26 * bend
    colour = linear((0.86, 0.42, 0.44)) * (0.55 + 0.45 * np.repeat(along, len(across)))[:, None]
    colour = colour * np.tile(1 - 0.25 * np.exp(-((across / 0.12) ** 2)), len(along))[:, None]
    assembly.add(points, grid_triangles(len(along), len(across)), TONGUE, colour, cover=0.9, fields=fields)


def _ear_sheets(path: Points, width: np.ndarray, out: np.ndarray, cup: float) -> tuple[np.ndarray, np.ndarray]:
    """Front and back of an ear along a path; `out` is the sideways direction; returns points and rows x columns."""
    across = np.linspace(-1, 1, 11)
    sheet = path[:, None] + (width[:, None] * across)[..., None] * out
    hollow = cup * width[:, None] * (1 - across**2)
    front, back = sheet.copy(), sheet.copy()
    front[..., 2] += 0.75 * hollow
    back[..., 2] += 1.15 * hollow + 0.03
    return np.stack([front, back]), across


def add_ears(assembly: Assembly, identity: Identity, skull: Skull) -> list[slice]:
    """Both ears; they swing about their roots with the ear codes. Returns the vertex ranges (front sheets)."""
    ranges = []
    for side, column in ((-1, 6), (1, 7)):
        if identity.species == "human":
            points, rows, colour, cover = _human_ear(identity, side)
        else:
            points, rows, colour, cover = _animal_ear(identity, skull, side)
        root = points[:11].mean(0)
        fields = np.zeros((NUM_FIELDS, len(points), 3))
        arm = points - root
        if identity.species != "human":
            # Small-angle turn about the view axis (spread) and about x (lay back), in radians per unit of code.
            spread, back = 0.26 * side, 0.42
            fields[column, :, 0] = -spread * -arm[:, 1] * 1.0
            fields[column, :, 1] = -spread * arm[:, 0] - back * arm[:, 2] * 0.5
            fields[column, :, 2] = back * arm[:, 1]
            if identity.style["ears"] == "floppy":
                fields[column, :, 1] -= 0.16 * np.clip(arm[:, 1], 0, None)
                fields[column, :, 0] += side * 0.28 * np.clip(arm[:, 1], 0, None)
        else:
            fields[column, :, 1] = -0.02
        sheets = grid_triangles(rows, 11)
        both = np.concatenate([sheets, sheets + rows * 11])
        ranges.append(assembly.add(points, both, PART, colour, cover=cover, fields=fields))
    return ranges


def _human_ear(identity: Identity, side: int) -> tuple[Points, int, np.ndarray, np.ndarray]:
    s = identity.shape
    along = np.linspace(0, 1, 12)
    size = s["ear"]
    path = np.column_stack([
        np.full(12, side * (s["wide"] * 0.99 + 0.03)), s["eye_y"] + 0.34 - along * 2.2 * size, 0.10 + 0.05 * along,
    ])  # fmt: skip
    width = size * 0.62 * np.sqrt(np.clip(1 - ((along - 0.56) / 0.58) ** 2, 0.03, 1))
    sheets, across = _ear_sheets(path, width, np.array([side * 0.75, 0, 0.66]), 0.35)
    skin = linear(identity.colour["skin"])
    rim = np.tile(smooth_step(0.9, 0.45, np.abs(across)), 12) * np.repeat(smooth_step(0.98, 0.8, along), 11)
    front = skin * (1 - 0.45 * rim[:, None] * np.array([0.5, 1, 1]))
    colour = np.concatenate([front, np.tile(skin * 0.9, (len(front), 1))])
    return sheets.reshape(-1, 3), 12, colour, np.full(len(colour), 0.9)


def _ear_path(identity: Identity, side: int) -> tuple[Points, np.ndarray, np.ndarray, float]:
    """Centre line, half widths, sideways direction and cup depth of an animal's ear."""
    s = identity.shape
    along = np.linspace(0, 1, 16)
    kind = identity.style["ears"]
    wide, tall, tall_head = s["ear_wide"], s["ear_tall"], s["tall"]
    if kind == "floppy":
        angle = np.pi * (0.30 + 0.62 * smooth_step(0, 0.55, along))
        step = np.column_stack([side * np.sin(angle) * 0.55, -np.cos(angle), np.full(16, -0.10)])
        path = np.cumsum(step, 0) * tall / 16 + np.array([side * s["wide"] * 0.62, -0.72 * tall_head, 0.02])
        width = wide * 0.9 * (0.55 + 0.65 * np.sin(np.pi * np.clip(along, 0, 1) ** 0.8)) * np.sqrt(1 - along**4 * 0.97)
        return path, width, np.array([-side * -0.85, 0.25, 0.35]), 0.12
    tilt = s["ear_tilt"] * side
    way = np.array([np.sin(tilt), -np.cos(tilt), 0.06])
    if kind == "round":
        root = np.array([side * s["wide"] * 0.66, -0.66 * tall_head, 0.12])
        path = root + along[:, None] * way * tall
        width = wide * np.sqrt(np.clip(1 - ((along - 0.45) / 0.56) ** 2, 0.01, 1))
        return path, width, np.array([np.cos(tilt), np.sin(tilt), 0.0]), 0.42
    root = np.array([side * s["wide"] * (0.56 if kind == "cat" else 0.52), -0.60 * tall_head, 0.05])
    path = root + along[:, None] * way * (tall + 0.12)
    if kind == "half":
        fold = smooth_step(0.55, 1.0, along)
        path[:, 1] += fold * tall * 0.42
        path[:, 2] -= fold * 0.22
    width = wide * (1 - along) ** 0.72 * (1 + 0.25 * np.sin(np.pi * along)) + 0.012
    return path, width, np.array([np.cos(tilt), np.sin(tilt), 0.12 * side]), 0.5


def _animal_ear(identity: Identity, skull: Skull, side: int) -> tuple[Points, int, np.ndarray, np.ndarray]:
    del skull
    path, width, out, cup = _ear_path(identity, side)
    sheets, across = _ear_sheets(path, width, out, cup)
    outside, inside = ear_colours(identity)
    along = np.linspace(0, 1, len(path))
    hollow = np.tile(smooth_step(0.85, 0.45, np.abs(across)), len(path))
    hollow = hollow * np.repeat(smooth_step(0.93, 0.72, along) * smooth_step(0.0, 0.2, along), 11)
    if identity.style["ears"] == "floppy":
        hollow = hollow * 0
    front = outside * (1 - hollow[:, None]) + inside * hollow[:, None]
    noise = identity.stream(f"ear{side}").uniform(0.86, 1.1, (len(front), 1))
    root_shade = np.repeat(0.6 + 0.4 * smooth_step(0.0, 0.3, along), 11)
    cover = np.concatenate([root_shade * (1 - 0.3 * hollow), root_shade])
    return (
        sheets.reshape(-1, 3),
        len(path),
        np.concatenate([front * noise, np.broadcast_to(outside * 0.9, front.shape)]),
        cover,
    )


def add_leather(assembly: Assembly, identity: Identity, skull: Skull) -> slice:
    """An animal's bare nose: a rounded triangle with nostrils, glossy."""
    s = identity.shape
    size, y = s["nose_size"], s["nose_y"]
    tip = skull.on_front(0.0, y)[0]
    points, triangles = ball((0, 0, 0), (1, 1, 1), rows=16)
    x, v = points[:, 0], points[:, 1]
    taper = 1 - 0.48 * smooth_step(-0.3, 1.0, v) if identity.species != "panda" else 1 - 0.3 * smooth_step(-0.3, 1.0, v)
    shaped = np.column_stack([x * taper * size * 1.18, v * size * 0.82, points[:, 2] * size * 0.62])
    shaped += tip + np.array([0, 0.0, 0.02])
    local_x, local_y = np.abs(x * taper), v
    hole = np.exp(-(((local_x - 0.42) / 0.2) ** 2) - ((local_y - 0.22) / 0.24) ** 2) * (points[:, 2] < 0)
    slit = np.exp(-((x / 0.07) ** 2)) * smooth_step(0.0, 0.4, v)
    colour = linear(identity.colour["nose"]) * (1 - 0.85 * np.maximum(hole, 0.6 * slit))[:, None]
    return assembly.add(shaped, triangles, LEATHER, colour, fields=_with_face(identity, skull))


def add_whiskers(assembly: Assembly, identity: Identity, skull: Skull) -> None:
    """A cat's whiskers: thin curved tubes from the pads."""
    s, rng = identity.shape, identity.stream("whiskers")
    white = linear((0.93, 0.92, 0.88))
    t = np.linspace(0, 1, 7)
    for side in (-1, 1):
        for row in range(3):
            for _ in range(2):
                x = side * rng.uniform(0.16, 0.24)
                root = skull.on_front(x, s["mouth_y"] - 0.15 + 0.055 * row + rng.uniform(-0.01, 0.01))[0]
                reach = s["whisker"] * rng.uniform(0.75, 1.05)
                lean = -0.20 + 0.20 * row + rng.uniform(-0.05, 0.05)
                path = root + np.column_stack(
                    [side * reach * t, reach * (lean * t + 0.22 * t**2), -0.12 * t + 0.35 * t**2]
                )
                points, triangles = tube(path, 0.0085 * (1 - 0.75 * t), 3)
                move = _with_face(identity, skull)(np.repeat(path[:1], len(points), 0))
                assembly.add(points, triangles, PART, white, fields=move)


def brow_line(identity: Identity, side: int, num: int) -> np.ndarray:
    """x, y of a brow from its outer to its inner end, `side` -1 for the own right."""
    s = identity.shape
    t = np.linspace(0, 1, num)
    span = 1.25 if identity.species == "human" else 0.8
    x = s["eye_x"] + span * s["eye_half"] * (1.0 - 2.0 * t) * 0.95
    y = s["brow_y"] - 0.055 * np.sin(np.pi * np.clip(t * 0.85 + 0.05, 0, 1)) + 0.035 * (1 - t)
    return np.column_stack([side * np.maximum(x, 0.06), y])


def add_brows(assembly: Assembly, identity: Identity, skull: Skull) -> None:
    """Tufts above the eyes: hair for people, a ridge in a shade of the coat for animals."""
    from data_pipeline.puppets.coat import coat_colour

    s = identity.shape
    t = np.linspace(0, 1, 14)
    for side in (-1, 1):
        xy = brow_line(identity, side, 14)
        is_human = identity.species == "human"
        path = skull.on_front(xy[:, 0], xy[:, 1], 0.012 if is_human else 0.0)
        thick = (s["brow"] if is_human else 0.035) * (0.35 + 0.65 * smooth_step(0, 0.6, t)) * np.sqrt(1 - 0.75 * t**8)
        points, triangles = tube(path, thick, 8, flat=0.55)
        if is_human:
            colour = linear(identity.colour["brow"]) * identity.stream(f"brow{side}").uniform(
                0.8, 1.2, (len(points), 1)
            )
        else:
            coat = coat_colour(identity, points)
            dark = coat.mean(1, keepdims=True) < 0.05
            colour = np.where(dark, coat * 1.8 + 0.02, coat * 0.62)
        assembly.add(points, triangles, PART, np.clip(colour, 0, 1), fields=_with_face(identity, skull))
