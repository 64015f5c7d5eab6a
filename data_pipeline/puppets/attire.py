"""Identity and skull -> body, clothes, collar, hair, beard and glasses, added to an assembly."""

import numpy as np

from data_pipeline.puppets.anatomy import Skull, expression_fields
from data_pipeline.puppets.coat import blend, body_colour, linear, waves
from data_pipeline.puppets.identity import Identity
from data_pipeline.puppets.mesh import Assembly, Points, ball, grid_triangles, smooth_step, surface_normals, tube
from data_pipeline.puppets.raster import BODY, HAIR, PART

_SIDES = 72


_ROWS = 110


def _profile(identity: Identity, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Half width and depth ratio of neck and shoulders at heights y."""
    s = identity.shape
    if identity.species == "human":
        neck, broad = s["neck"], s["shoulder"]
        rows = [
            (0.45, neck, 0.9), (0.8, neck, 0.9), (1.02, neck * 1.03, 0.9), (1.14, neck * 1.25, 0.85),
            (1.24, neck * 1.9, 0.62), (1.34, broad * 0.82, 0.5), (1.5, broad * 0.99, 0.46),
            (1.8, broad * 1.06, 0.46), (2.4, broad * 1.04, 0.5), (3.4, broad * 1.0, 0.5),
        ]  # fmt: skip
    else:
        wide, grow = s["wide"], 1.25 if identity.species == "panda" else 1.0
        rows = [
            (0.3, wide * 0.58, 0.8), (0.7, wide * 0.66, 0.8), (1.0, wide * 0.74 * grow, 0.8),
            (1.3, wide * 0.96 * grow, 0.75), (1.6, wide * 1.12 * grow, 0.7), (2.0, wide * 1.2 * grow, 0.7),
            (2.6, wide * 1.25 * grow, 0.7), (3.4, wide * 1.25 * grow, 0.7),
        ]  # fmt: skip
    table = np.array(rows)
    fine = np.linspace(0.3, 3.4, 311)
    smooth = [
        np.convolve(np.pad(np.interp(fine, table[:, 0], table[:, k]), 9, mode="edge"), np.ones(19) / 19, "valid")
        for k in (1, 2)
    ]
    return np.interp(y, fine, smooth[0]), np.interp(y, fine, smooth[1])


def _around(identity: Identity, y: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Points on neck and shoulders at heights y and angles (0 in front)."""
    size, deep = _profile(identity, y)
    c, q = np.cos(turn), np.sin(turn)
    x = size * np.sign(q) * np.abs(q) ** 0.85
    z = 0.28 - size * deep * np.sign(c) * np.abs(c) ** 0.85
    return np.stack([x, y + 0 * x, z], -1)


def _neckline(turn: np.ndarray) -> np.ndarray:
    """Height of a shirt's rim: lower in front."""
    return 1.155 + 0.075 * np.cos(turn)


def _bust(identity: Identity) -> tuple[Points, np.ndarray]:
    """Neck and shoulders; returns points and their angles."""
    first = 0.45 if identity.species == "human" else 0.3
    y = first + (3.4 - first) * np.linspace(0, 1, _ROWS) ** 1.5
    turn, y = np.meshgrid(np.linspace(-np.pi, np.pi, _SIDES, endpoint=False), y)
    return _around(identity, y, turn).reshape(-1, 3), turn.ravel()


def add_body(assembly: Assembly, identity: Identity) -> slice:
    """Neck, shoulders and what they wear; the neck's top follows the head."""
    points, turn = _bust(identity)
    y = points[:, 1]
    follow = smooth_step(1.15, 0.5, y) * 0.8
    is_human = identity.species == "human"
    shadow = smooth_step(0.7, 1.55, y) if is_human else smooth_step(0.6, 1.6, y)
    cover = 0.30 + 0.70 * shadow
    if not is_human:
        points = points + 0.02 * waves(identity.stream("bust"), points, 4.0)[:, None] * np.array([1, 0, 1])
        return assembly.add(
            points, grid_triangles(_ROWS, _SIDES, is_closed=True), BODY, np.clip(body_colour(identity, points), 0, 1),
            cover=cover, follow=follow,
        )  # fmt: skip
    return assembly.add(
        points,
        grid_triangles(_ROWS, _SIDES, is_closed=True),
        BODY,
        _cloth(identity, points, turn),
        cover=cover,
        follow=follow,
    )


def _cloth(identity: Identity, p: Points, turn: np.ndarray) -> np.ndarray:
    cloth, second = linear(identity.colour["cloth"]), linear(identity.colour["cloth2"])
    skin = linear(identity.colour["skin"])
    x, y, z = p.T
    style = identity.style["cloth"]
    colour = np.tile(cloth, (len(p), 1))
    if style == "stripes":
        colour = blend(colour, second, smooth_step(-0.2, 0.2, np.sin(y * 22)))
    if style == "hoodie":
        colour = blend(colour, cloth * 0.7, smooth_step(1.45, 1.3, y))
    if style == "shirt":
        colour = blend(colour, second, np.exp(-((x / 0.16) ** 2)) * smooth_step(0.0, -0.1, z))
    return blend(colour, skin * 0.96, smooth_step(0.015, -0.015, y - _neckline(turn)))


def add_neckwear(assembly: Assembly, identity: Identity) -> None:
    """A shirt's rim for people; a collar with bell or tag for pets that wear one."""
    turn = np.linspace(-np.pi, np.pi, 49)
    kind = identity.style.get("collar", "none")
    if identity.species == "human":
        path = _around(identity, _neckline(turn), turn)
        rim = 0.075 if identity.style["cloth"] == "hoodie" else 0.03
        points, triangles = tube(path, rim, 8)
        assembly.add(points, triangles, BODY, linear(identity.colour["cloth"]) * 0.8, cover=0.75, follow=0.12)
        return
    if kind == "none":
        return
    path = _around(identity, 1.10 + 0.12 * np.cos(turn), turn)
    points, triangles = tube(path, 0.07, 8)
    colour = linear(identity.colour["collar"])
    assembly.add(points, triangles, BODY, colour, cover=0.8, follow=0.2)
    if kind in ("bell", "tag"):
        flat = 1.0 if kind == "bell" else 0.35
        charm, faces = ball((0, 1.36, float(path[:, 2].min()) - 0.07), (0.1, 0.1, 0.1 * flat), rows=10)
        gold = linear((0.93, 0.75, 0.28)) if kind == "bell" else linear((0.75, 0.77, 0.8))
        assembly.add(charm, faces, BODY, gold, follow=0.2)


def _streaks(identity: Identity, points: Points, name: str, depth: float = 0.35) -> np.ndarray:
    """Hair colour with fine streaks that run from the crown downwards."""
    rng = identity.stream(name)
    angle = np.arctan2(points[:, 0], -points[:, 2])
    rates = rng.integers(20, 70, 6)
    shifts = rng.uniform(0, 6.28, 6)
    bend = 2 * np.sin(points[:, 1] * 3)
    tone = np.sin(np.outer(angle, rates) + shifts + bend[:, None]).sum(1) / np.sqrt(3)
    hair = linear(identity.colour["hair"])
    return np.clip(hair * (1 + depth * tone)[:, None] + 0.012 * np.clip(tone, 0, 2)[:, None], 0.003, 1)


def _scalp_keep(identity: Identity, skull: Skull) -> np.ndarray:
    """How far inside the hairline each head vertex is (>= 0 carries hair)."""
    s = identity.shape
    x, y, z = skull.points.T
    wide = np.abs(x) / s["wide"]
    line = s["hairline"] + 0.05 * np.cos(x * 5) + 1.05 * smooth_step(0.72, 0.99, wide) * smooth_step(-0.55, -0.05, z)
    if identity.style["fringe"] == "full" and identity.style["hair"] in ("bob", "long", "ponytail"):
        line = np.maximum(line, s["brow_y"] - 0.06 + 0.02 * np.sin(x * 20))
    if identity.style["fringe"] == "swept":
        line = line + 0.14 * smooth_step(-0.5, 0.5, x)
    back = smooth_step(-0.1, 0.35, z)
    line = line * (1 - back) + 0.55 * back
    return line - y + 0.012 * waves(identity.stream("hairline"), skull.points, 26.0)


_THICK = {"buzz": 0.03, "short": 0.11, "side": 0.13, "curly": 0.20, "afro": 0.36, "bob": 0.13, "long": 0.12,
          "bun": 0.07, "ponytail": 0.08}  # fmt: skip


def add_hair(assembly: Assembly, identity: Identity, skull: Skull) -> slice:
    """A person's hair: a shell over the scalp (its vertex range is returned), then a curtain, a bun or a tail."""
    style = identity.style["hair"]
    if style == "bald":
        return slice(0, 0)
    s = identity.shape
    keep = _scalp_keep(identity, skull)
    normals = -surface_normals(skull.points, skull.triangles)
    if (normals * skull.points).sum() < 0:
        normals = -normals
    thick = _THICK[style] * (0.35 + 0.65 * smooth_step(0.0, 0.25, keep))
    rng = identity.stream("hair")
    lumps = waves(rng, skull.points, 11.0 if style in ("curly", "afro") else 4.0)
    thick = thick * (1 + (0.28 if style in ("curly", "afro") else 0.10) * lumps)
    if style == "side":
        thick = thick + 0.10 * smooth_step(-0.4, 0.5, skull.points[:, 0]) * smooth_step(-0.5, -0.9, skull.points[:, 1])
    points = skull.points + normals * thick[:, None]
    shell = assembly.add(points, skull.triangles, HAIR, _streaks(identity, points, "streaks"), cover=keep)
    if style in ("bob", "long"):
        _add_curtain(assembly, identity, 0.62 if style == "bob" else 1.55)
    if style == "bun":
        knot, faces = ball((0, -1.12, 0.25), (0.32, 0.28, 0.32), rows=14)
        knot = knot * (1 + 0.03 * waves(rng, knot, 9.0))[:, None]
        assembly.add(knot, faces, PART, _streaks(identity, knot, "bun"))
    if style == "ponytail":
        t = np.linspace(0, 1, 16)
        side = 1 if s["center_x"] > 0 else -1
        path = np.column_stack([side * (0.25 + 0.75 * np.sin(t * 2.0)), -0.75 + 1.9 * t**1.3, 0.85 - 0.25 * t])
        tail, faces = tube(path, 0.22 * np.sin(np.pi * np.clip(0.12 + 0.86 * t, 0, 1)) + 0.01, 12)
        assembly.add(tail, faces, PART, _streaks(identity, tail, "tail"))
    return shell


def _add_curtain(assembly: Assembly, identity: Identity, length: float) -> None:
    s = identity.shape
    turn = np.linspace(0.30 * np.pi, 1.70 * np.pi, 60)
    t = np.linspace(0, 1, 24)
    rng = identity.stream("curtain")
    wave = np.sin(np.outer(turn, rng.integers(8, 24, 4)) + rng.uniform(0, 6.28, 4)).sum(1) / 2
    y = -0.45 + (length + 0.45) * t
    size = s["wide"] * (1.06 + 0.10 * np.sin(np.pi * t * 0.8)) + 0.05
    curl = 0.02 * wave[None] + (-0.10 if length < 1 else 0.06) * (t**4)[:, None]
    radius = size[:, None] + curl
    x = np.sin(turn)[None] * radius
    z = -np.cos(turn)[None] * radius * 0.98 + 0.06
    fall = np.broadcast_to((y + 0.0)[:, None], x.shape) + 0.03 * wave[None] * t[:, None]
    points = np.stack([x, fall, z], -1).reshape(-1, 3)
    shade = np.repeat(0.55 + 0.45 * smooth_step(1.0, 0.55, t), 60)
    front = np.tile(smooth_step(0.0, 0.25, np.minimum(turn - turn[0], turn[-1] - turn)), 24)
    assembly.add(
        points, grid_triangles(24, 60), PART, _streaks(identity, points, "curtain-streaks"),
        cover=shade * (0.6 + 0.4 * front), follow=np.repeat(1 - 0.45 * smooth_step(0.55, 1.0, t) * (length > 1), 60),
    )  # fmt: skip


def add_beard(assembly: Assembly, identity: Identity, skull: Skull) -> None:
    """A shell on the jaw, kept where the beard grows; it moves with the jaw."""
    kind = identity.style["beard"]
    if kind in ("none", "stubble"):
        return
    s = identity.shape
    x, y, z = skull.points.T
    side = np.abs(x)
    cheek = s["mouth_y"] - 0.02 - 0.55 * smooth_step(0.3, 0.75, side)
    full = np.minimum(y - cheek, 0.28 - z * 0.8)
    spread = side / (s["mouth_half"] * 1.12)
    middle = s["mouth_y"] - 0.075 + 0.09 * spread**2
    lip = np.minimum(0.052 * (1.15 - spread**2) - np.abs(y - middle), 1.0 - spread)
    chin = 0.16 * (1 - np.hypot(side / 0.17, (y - s["mouth_y"] - 0.27) / 0.15))
    mouth = np.hypot(side / (s["mouth_half"] * 1.08), (y - s["mouth_y"] - 0.01) / 0.115) - 1
    keep = {
        "full": np.maximum(np.minimum(full, mouth * 0.2), lip),
        "goatee": np.maximum(chin, lip),
        "moustache": lip,
    }[kind]
    front = smooth_step(0.45, 0.2, z)
    keep = np.where(front > 0, keep, -1) + 0.008 * waves(identity.stream("beard"), skull.points, 30.0)
    normals = surface_normals(skull.points, skull.triangles)
    if (normals * skull.points).sum() < 0:
        normals = -normals
    thick = (0.07 if kind == "full" else 0.05) * (0.3 + 0.7 * smooth_step(0.0, 0.08, keep))
    points = skull.points + normals * thick[:, None]
    assembly.add(
        points, skull.triangles, HAIR, _streaks(identity, points, "beard-streaks", 0.14), cover=keep,
        fields=expression_fields(identity, skull, skull.points),
    )  # fmt: skip


def add_glasses(assembly: Assembly, identity: Identity, skull: Skull) -> None:
    """Two rims, a bridge and temples."""
    kind = identity.style.get("glasses", "none")
    if kind == "none":
        return
    s = identity.shape
    colour = linear(identity.colour["frame"])
    turn = np.linspace(0, 2 * np.pi, 41)
    power = 1.0 if kind == "round" else 0.55
    radius = s["eye_half"] * 1.42
    depth = float(skull.eye[0, 2] - skull.eye_radius - 0.09)
    for k, side in enumerate((-1, 1)):
        c, q = np.cos(turn), np.sin(turn)
        x = skull.eye[k, 0] + radius * np.sign(c) * np.abs(c) ** power
        y = skull.eye[k, 1] + 0.02 + radius * 0.9 * np.sign(q) * np.abs(q) ** power
        z = depth + 0.16 * np.clip(side * (x - skull.eye[k, 0]), -0.1, 1)
        points, triangles = tube(np.column_stack([x, y, z]), 0.021, 6)
        assembly.add(points, triangles, PART, colour)
        outer = skull.eye[k] + np.array([side * radius, 0, 0])
        arm = np.array([[outer[0], outer[1] - 0.02, depth + 0.05], [side * (s["wide"] + 0.05), outer[1] - 0.02, 0.1]])
        points, triangles = tube(arm, 0.02, 6)
        assembly.add(points, triangles, PART, colour)
    t = np.linspace(-1, 1, 7)
    gap = skull.eye[1, 0] - radius
    path = np.column_stack([t * max(gap, 0.03), skull.eye[0, 1] - 0.02 - 0.03 * (1 - t**2), np.full(7, depth - 0.01)])
    points, triangles = tube(path, 0.02, 6)
    assembly.add(points, triangles, PART, colour)
