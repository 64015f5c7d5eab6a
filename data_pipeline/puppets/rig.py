"""Identity -> a puppet that can be posed: one mesh, its blend fields, and the tables for lids, lips and light."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from data_pipeline.puppets.anatomy import LID, Skull, build_skull, expression_fields
from data_pipeline.puppets.attire import add_beard, add_body, add_glasses, add_hair, add_neckwear
from data_pipeline.puppets.coat import coat_colour, linear
from data_pipeline.puppets.identity import Identity
from data_pipeline.puppets.landmarks import still_anchors
from data_pipeline.puppets.mesh import NUM_FIELDS, Assembly, fur, surface_normals
from data_pipeline.puppets.motion import COLUMN
from data_pipeline.puppets.parts import NUM_LEATHER, add_brows, add_ears, add_leather, add_mouth, add_whiskers
from data_pipeline.puppets.raster import (
    BODY,
    E_COS,
    E_CREASE,
    E_GAZE,
    E_HALF,
    E_INNER,
    E_INNER_RGB,
    E_IRIS,
    E_LASH,
    E_LINE_RGB,
    E_LOW,
    E_OPEN,
    E_OUTER_RGB,
    E_PUPIL_X,
    E_PUPIL_Y,
    E_RADIUS,
    E_SIN,
    E_UP,
    E_WHITE_RGB,
    E_X,
    E_Y,
    E_Z,
    EYE_COLUMNS,
    HEAD,
    LIGHT_COLUMNS,
    M_BOW,
    M_FRONT,
    M_HANGS,
    M_LINE,
    M_LINE_RGB,
    M_LIP_RGB,
    M_LOW,
    M_NOSTRIL,
    M_PHILTRUM,
    M_THICK_LOW,
    M_THICK_UP,
    M_UP,
    M_WAVE,
    M_XL,
    M_XR,
    M_Y,
    M_YL,
    M_YR,
    MOUTH_COLUMNS,
    PART,
    find_on_front,
)  # fmt: skip

FIELD_COLUMNS = np.array(
    [
        COLUMN[name]
        for name in ("jaw", "mouth_right", "mouth_left", "pucker", "brow_right", "brow_left", "ear_right", "ear_left")
    ]
)
_GAZE_DEG = (28.0, 20.0)
"""Eyeball turn at gaze 1, sideways and up-down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Puppet:
    """Arrays that never change for an identity; V vertices, N triangles, the head's grid first."""

    identity: Identity
    skull: Skull
    rest: Float32[np.ndarray, "V 3"]
    fields: Float32[np.ndarray, "8 V3"]
    follow: Float32[np.ndarray, " V"]
    cover: Float32[np.ndarray, " V"]
    colours: Float32[np.ndarray, "V 3"]
    host: np.ndarray
    triangles: Int32[np.ndarray, "N 3"]
    materials: UInt8[np.ndarray, " N"]
    num_surface: int
    """Triangles before the strands."""
    num_head: int
    """Triangles of the head's grid."""
    box_vertices: np.ndarray
    """Vertices whose projection spans the head box: head, ears, hair."""
    jaw_vertices: np.ndarray
    still_triangles: np.ndarray
    still_weights: np.ndarray
    eyes: Float32[np.ndarray, "2 E"]
    mouth: Float32[np.ndarray, " M"]
    light: Float32[np.ndarray, " G"]

    def mouth_table(self, motion: Float32[np.ndarray, " P"]) -> Float32[np.ndarray, " M"]:
        """Lip lines of a motion code."""
        s = self.identity.shape
        right, left = motion[COLUMN["mouth_right"]], motion[COLUMN["mouth_left"]]
        jaw, pucker = motion[COLUMN["jaw"]], motion[COLUMN["pucker"]]
        table = self.mouth.copy()
        half = s["mouth_half"] * (1 - 0.42 * pucker) * (1 - 0.06 * jaw)
        table[M_XR] = -half - 0.055 * right * (1 - 0.5 * pucker)
        table[M_XL] = half + 0.055 * left * (1 - 0.5 * pucker)
        drop = 0.03 * jaw
        # A resting mouth smiles a little: a straight line reads as grim.
        table[M_YR] = s["mouth_y"] - 0.022 - (0.105 if right > 0 else 0.10) * right + drop
        table[M_YL] = s["mouth_y"] - 0.022 - (0.105 if left > 0 else 0.10) * left + drop
        smile = 0.5 * (max(right, 0) + max(left, 0))
        table[M_UP] = 0.035 * jaw + 0.012 * smile * jaw
        table[M_LOW] = self.skull.gape * jaw + 0.008 * pucker
        table[M_THICK_UP] *= 1 + 0.55 * pucker - 0.15 * smile
        table[M_THICK_LOW] *= 1 + 0.55 * pucker - 0.1 * smile
        table[M_Y] += 0.012 * smile
        return table

    def eye_table(self, motion: Float32[np.ndarray, " P"]) -> Float32[np.ndarray, "2 E"]:
        """Lid openings and optical axes of a motion code; smiling raises the lower lids a little."""
        table = self.eyes.copy()
        yaw, pitch = (
            np.radians(motion[COLUMN["gaze_x"]] * _GAZE_DEG[0]),
            np.radians(motion[COLUMN["gaze_y"]] * _GAZE_DEG[1]),
        )
        for k, side in enumerate(("right", "left")):
            table[k, E_OPEN] = motion[COLUMN[f"lid_{side}"]]
            smile = max(float(motion[COLUMN[f"mouth_{side}"]]), 0.0)
            table[k, E_LOW] *= 1 - 0.28 * smile
            table[k, E_GAZE : E_GAZE + 3] = (
                np.sin(yaw) * np.cos(pitch), np.sin(pitch), -np.cos(yaw) * np.cos(pitch),
            )  # fmt: skip
        return table


def _eye_rest(identity: Identity, skull: Skull) -> np.ndarray:
    s = identity.shape
    table = np.zeros((2, EYE_COLUMNS))
    iris = linear(identity.colour["iris"])
    radius = skull.eye_radius * LID
    species = identity.species
    # On a black coat the lid line is lighter than the fur, or a shut eye would vanish.
    around = coat_colour(identity, skull.points)[skull.triangles[skull.lookup(skull.eye[:, :2])[0]]].mean()
    line = linear((0.10, 0.07, 0.06) if around > 0.035 else (0.34, 0.29, 0.26))
    for k, inner in enumerate((1.0, -1.0)):
        table[k, [E_X, E_Y, E_Z]] = skull.eye[k]
        table[k, [E_HALF, E_INNER, E_UP, E_LOW, E_RADIUS]] = (
            s["eye_half"],
            inner,
            s["eye_up"],
            s["eye_low"],
            skull.eye_radius,
        )
        table[k, [E_COS, E_SIN]] = np.cos(s["eye_tilt"]), np.sin(s["eye_tilt"])
        table[k, E_IRIS] = s["iris"] * s["eye_half"] / radius
        pupil = 0.40 if species == "human" else s["pupil"]
        table[k, E_PUPIL_X] = table[k, E_IRIS] * pupil
        table[k, E_PUPIL_Y] = table[k, E_IRIS] * (0.80 if species == "cat" else pupil)
        table[k, E_INNER_RGB : E_INNER_RGB + 3] = np.minimum(iris * 1.7 + 0.02, 1)
        table[k, E_OUTER_RGB : E_OUTER_RGB + 3] = iris * 0.75
        white = {"human": (0.95, 0.94, 0.93), "cat": (0.80, 0.80, 0.68), "dog": (0.86, 0.83, 0.79)}.get(
            species, (0.80, 0.77, 0.74)
        )
        table[k, E_WHITE_RGB : E_WHITE_RGB + 3] = linear(white)
        table[k, E_LINE_RGB : E_LINE_RGB + 3] = line
        table[k, E_LASH] = s.get("lash", 0.17)
        table[k, E_CREASE] = 1.0 if species == "human" else 0.35
    return table.astype(np.float32)


def _mouth_rest(identity: Identity, skull: Skull) -> np.ndarray:
    s = identity.shape
    table = np.zeros(MOUTH_COLUMNS)
    half, y = s["mouth_half"], s["mouth_y"]
    table[[M_XR, M_YR, M_XL, M_YL, M_Y, M_UP]] = -half, y, half, y, y, 0.0
    is_human = identity.species == "human"
    table[[M_THICK_UP, M_THICK_LOW]] = (s["lip"] * 0.85, s["lip"] * 1.1) if is_human else (s["lip"], s["lip"])
    table[M_WAVE] = {"human": -0.004, "cat": 0.05, "dog": 0.03, "panda": 0.035}[identity.species]
    table[M_BOW] = 0.35 if is_human else 0.0
    dark = np.array([0.012, 0.008, 0.008])
    if is_human:
        table[M_LIP_RGB : M_LIP_RGB + 3] = linear(identity.colour["lip"])
        table[M_LINE_RGB : M_LINE_RGB + 3] = linear(identity.colour["lip"]) * 0.28
        table[M_LINE] = 0.012
        nose = s["nose_len"]
        table[M_NOSTRIL : M_NOSTRIL + 4] = 0.055 * s["nose_wide"], nose + 0.068, 0.032, 0.02
    else:
        table[M_LIP_RGB : M_LIP_RGB + 3] = table[M_LINE_RGB : M_LINE_RGB + 3] = dark
        table[M_LINE] = 0.013
        table[M_PHILTRUM : M_PHILTRUM + 3] = s["nose_y"], y - 0.01, 0.013
    table[M_HANGS] = s.get("tongue", 0.0)
    table[M_FRONT] = float(skull.eye[0, 2]) + 0.3
    return table.astype(np.float32)


def _light(identity: Identity) -> np.ndarray:
    s = identity.shape
    table = np.zeros(LIGHT_COLUMNS)
    key = np.array([s["light_x"], s["light_y"], -0.95])
    rim = np.array([-np.sign(s["light_x"]) * 0.9, -0.35, 0.35])
    tint = linear(identity.colour["light"])
    wall = linear(identity.colour["wall"])
    table[0:3] = key / np.linalg.norm(key)
    table[3:6] = tint * 0.86 * s["light"]
    table[6:9] = (0.30 + 0.16 * wall) * s["ambient"] * np.array([0.95, 1.0, 1.08])
    table[9:12] = (0.15 + 0.10 * wall) * s["ambient"] * np.array([1.1, 1.0, 0.9])
    table[12:15] = rim / np.linalg.norm(rim)
    table[15:18] = tint * s["rim"]
    table[18] = float(identity.species == "human")
    return table.astype(np.float32)


def _head_cover(identity: Identity, skull: Skull) -> np.ndarray:
    """Ambient light that reaches the head's skin: less in sockets, under the nose, below the chin."""
    s = identity.shape
    x, y, z = skull.points.T
    cover = np.ones(len(x))
    for k in range(2):
        across = ((x - skull.eye[k, 0]) / (s["eye_half"] * 1.25)) ** 2 + (
            (y - skull.eye[k, 1]) / (s["eye_half"] * 1.0)
        ) ** 2
        cover -= 0.20 * np.exp(-across) * (z < 0)
    nose = s.get("nose_y", s.get("nose_len", 0.2)) + 0.13
    cover -= 0.22 * np.exp(-((x / 0.15) ** 2) - ((y - nose) / 0.06) ** 2) * (z < 0)
    cover -= 0.16 * np.exp(-((x / 0.2) ** 2) - ((y - s["mouth_y"] - 0.14) / 0.06) ** 2) * (z < 0)
    under = np.clip((y - 0.55 * np.abs(skull.points[:, 1]).max()) / 0.4, 0, 1)
    normals = surface_normals(skull.points, skull.triangles)
    down = np.clip(np.abs(normals[:, 1]), 0, 1) * under
    return np.clip(cover - 0.45 * down, 0.2, 1)


def _add_fur(assembly: Assembly, identity: Identity, skull: Skull, head: slice, ears: list[slice], body: slice) -> None:
    rng = identity.stream("fur")
    s = identity.shape
    surface = np.concatenate(assembly.points)
    faces = np.concatenate(assembly.triangles)
    normals = surface_normals(surface, faces)
    for part in (head, *ears, body):
        middle = surface[part].mean(0) + (np.array([0, 0, 0.25]) if part is not head else 0)
        if (normals[part] * (surface[part] - middle)).sum() < 0:
            normals[part] *= -1
    colours = np.concatenate(assembly.colours)
    x, y, z = surface.T
    center = np.array([0, s["nose_y"], -0.9])
    comb = surface - center
    comb[:, 1] += 0.25
    comb[body, :] = [0, 1, -0.1]
    for n, ear in enumerate(ears):
        comb[ear] = [(-1, 1)[n] * 0.5, -1.0 if identity.style["ears"] != "floppy" else 1.0, 0]
    free = np.zeros(len(surface), bool)
    free[head] = True
    for eye in skull.eye:
        free &= np.hypot((x - eye[0]) / 1.0, (y - eye[1]) / 0.85) > s["eye_half"] * 1.28
    free &= np.hypot(x / (s["nose_size"] * 1.7), (y - s["nose_y"]) / (s["nose_size"] * 1.45)) > 1
    free &= ~((np.abs(x) < s["mouth_half"] * 1.35) & (np.abs(y - s["mouth_y"]) < 0.13) & (z < 0))
    length = s["fur"] * (0.45 + 0.75 * np.clip((np.abs(x) + np.clip(y, 0, 1)) * 0.8, 0, 1))
    for hosts, part, reach, material in (
        (rng.choice(np.flatnonzero(free), 3800), head, 1.0, PART),
        (rng.choice(np.arange(ears[0].start, ears[1].stop), 500), None, 0.8, PART),
        (rng.choice(np.arange(body.start, body.stop), 1600), body, 1.7, BODY),
    ):
        del part
        offsets, strands = fur(rng, hosts, normals, comb, colours, length[hosts] * reach, 0.011, 0.42)
        assembly.add_strands(hosts, offsets, strands, material)


def build_puppet(identity: Identity) -> Puppet:
    """Assemble everything that belongs to an identity; takes a tenth of a second or two."""
    skull = build_skull(identity)
    assembly = Assembly()
    head = assembly.add(
        skull.points, skull.triangles, HEAD, coat_colour(identity, skull.points), cover=_head_cover(identity, skull),
        fields=lambda points: expression_fields(identity, skull, points),
    )  # fmt: skip
    add_mouth(assembly, identity, skull)
    ears = add_ears(assembly, identity, skull)
    add_brows(assembly, identity, skull)
    is_human = identity.species == "human"
    nose_first = -1
    box = [np.arange(head.start, head.stop), *(np.arange(e.start, e.stop) for e in ears)]
    if is_human:
        shell = add_hair(assembly, identity, skull)
        box.append(np.arange(shell.start, shell.stop))
        add_beard(assembly, identity, skull)
        add_glasses(assembly, identity, skull)
    else:
        nose_first = sum(len(part) for part in assembly.triangles)
        leather = add_leather(assembly, identity, skull)
        box.append(np.arange(leather.start, leather.stop))
    body = add_body(assembly, identity)
    add_neckwear(assembly, identity)
    if identity.species == "cat":
        add_whiskers(assembly, identity, skull)
    num_surface = sum(len(part) for part in assembly.triangles)
    if not is_human:
        _add_fur(assembly, identity, skull, head, ears, body)
    return _freeze(identity, skull, assembly, num_surface, np.concatenate(box), nose_first)


_NOSE = slice(13, 19)
"""Rows of the still anchors that are landmarks 30-35."""


def _find_on_leather(
    points: np.ndarray, triangles: np.ndarray, first: int, anchors: np.ndarray, still: np.ndarray, weights: np.ndarray
) -> None:
    owners = np.empty(6, np.int64)
    shares = np.zeros((6, 3), np.float32)
    stop = first + NUM_LEATHER
    at = anchors[_NOSE].astype(np.float32)
    find_on_front(points.astype(np.float32), triangles.astype(np.int32), first, stop, at, owners, shares)
    hit = owners >= 0
    still[_NOSE][hit] = triangles[owners[hit]]
    weights[_NOSE][hit] = shares[hit]


def _freeze(
    identity: Identity, skull: Skull, assembly: Assembly, num_surface: int, box: np.ndarray, nose_first: int
) -> Puppet:
    jaw, anchors = still_anchors(identity, skull)
    owners, weights = skull.lookup(anchors)
    still = skull.triangles[np.maximum(owners, 0)]
    cover = np.concatenate(assembly.cover)
    materials = np.concatenate(assembly.materials)
    triangles = np.concatenate(assembly.triangles)
    if nose_first >= 0:
        # The tip and the base of an animal's nose lie on its leather, where the leather covers them.
        _find_on_leather(np.concatenate(assembly.points), triangles, nose_first, anchors, still, weights)
    # Hair that is cut away does not widen the head box.
    box = box[cover[box] >= 0]
    return Puppet(
        identity=identity, skull=skull,
        rest=np.concatenate(assembly.points).astype(np.float32),
        fields=np.concatenate(assembly.fields, 1).reshape(NUM_FIELDS, -1).astype(np.float32),
        follow=np.concatenate(assembly.follow).astype(np.float32),
        cover=cover.astype(np.float32), colours=np.concatenate(assembly.colours).astype(np.float32),
        host=np.concatenate(assembly.host).astype(np.int64), triangles=triangles.astype(np.int32),
        materials=materials, num_surface=num_surface, num_head=len(skull.triangles), box_vertices=box,
        jaw_vertices=jaw, still_triangles=still, still_weights=weights,
        eyes=_eye_rest(identity, skull), mouth=_mouth_rest(identity, skull), light=_light(identity),
    )  # fmt: skip
