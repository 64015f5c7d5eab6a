"""An identity -> its head surface, where the features lie on it, and how expressions move it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from data_pipeline.puppets.identity import Identity
from data_pipeline.puppets.mesh import NUM_FIELDS, Points, Triangles, grid_triangles, smooth_step
from data_pipeline.puppets.raster import find_on_front

ROWS, COLUMNS = 92, 112
"""Size of the head's grid: at 256 px a cell of the face is about one pixel."""

LID = 1.07
"""Radius of the skin over an eye, eyeball radii. Eyeballs are painted on it between the lids."""

GAPE = {"human": 0.31, "cat": 0.30, "dog": 0.36, "panda": 0.32}
"""How far the lower lip's middle drops with the jaw wide open, head units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skull:
    """The neutral head surface and the anchors of its features, head-local."""

    points: Points
    triangles: Triangles
    eye: Float[np.ndarray, "2 3"]
    """Centres of the eyeballs, own right first."""
    eye_radius: float
    gape: float

    def lookup(self, xy: Float[np.ndarray, "Q 2"]) -> tuple[np.ndarray, np.ndarray]:
        """Frontmost triangle and barycentric weights at head-local x, y; -1 where the head has no surface."""
        owners = np.empty(len(xy), np.int64)
        weights = np.zeros((len(xy), 3), np.float32)
        find_on_front(
            self.points.astype(np.float32), self.triangles.astype(np.int32), 0, len(self.triangles),
            np.asarray(xy, np.float32), owners, weights,
        )  # fmt: skip
        return owners, weights

    def on_front(self, x: np.ndarray | float, y: np.ndarray | float, lift: float = 0.0) -> Points:
        """Surface points at x, y; `lift` brings them nearer to the viewer."""
        x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
        xy = np.stack([x.ravel(), y.ravel()], 1)
        owners, weights = self.lookup(xy)
        z = (self.points[self.triangles[owners]][:, :, 2] * weights).sum(1)
        return np.column_stack([xy, np.where(owners < 0, 0.0, z) - lift])


def _sphere() -> Points:
    """Unit directions of the head's grid, denser in front."""
    u = np.linspace(-1, 1, COLUMNS, endpoint=False)
    longitude = np.pi * (0.46 * u + 0.54 * u**3)
    v = np.linspace(-1, 1, ROWS)
    latitude = np.pi / 2 * (0.8 * v + 0.2 * v**3)
    latitude, longitude = np.meshgrid(latitude, longitude, indexing="ij")
    return np.stack(
        [np.sin(longitude) * np.cos(latitude), np.sin(latitude), -np.cos(longitude) * np.cos(latitude)], -1
    ).reshape(-1, 3)


class _Clay:
    """A surface being shaped: pushes are measured on the undisplaced front, so that their order does not matter."""

    def __init__(self, points: Points) -> None:
        self.rest = points
        self.front = smooth_step(0.15, -0.35, points[:, 2])
        self.points = points.copy()

    def push(
        self,
        at: tuple[float | int, float | int],
        size: tuple[float | int, float | int],
        by: tuple[float | int, float | int, float | int],
        power: float = 1.0,
    ) -> None:
        """Move the front around x, y by a vector; `power` above 1 makes the bump's top flat."""
        distance = ((self.rest[:, 0] - at[0]) / size[0]) ** 2 + ((self.rest[:, 1] - at[1]) / size[1]) ** 2
        self.points += (np.exp(-(distance**power)) * self.front)[:, None] * np.array(by)

    def push_pair(
        self,
        at: tuple[float | int, float | int],
        size: tuple[float | int, float | int],
        by: tuple[float | int, float | int, float | int],
        power: float = 1.0,
    ) -> None:
        """The same on both sides; `by[0]` points outwards."""
        self.push(at, size, by, power)
        self.push((-at[0], at[1]), size, (-by[0], by[1], by[2]), power)


def _human(identity: Identity) -> Points:
    s = identity.shape
    p = _sphere() * np.array([s["wide"], 1.0, s["deep"]])
    low = smooth_step(0.05, 1.0, p[:, 1])
    p[:, 0] *= (1 - s["taper"] * low) * (1 + 0.06 * smooth_step(0.0, -0.7, p[:, 1]))
    p[:, 2] *= np.where(p[:, 2] > 0, 1 - 0.25 * low, 1.0)
    clay = _Clay(p)
    size, wide, tip = s["nose_size"], s["nose_wide"], s["nose_len"]
    clay.push((0, 0.55), (0.5, 0.45), (0, 0, 0.04))
    clay.push((0, 0.9), (0.26, 0.2), (0, 0.02, -0.10 - s["chin"]))
    clay.push((0, tip - 0.17), (0.085 * wide, 0.22), (0, 0, -0.11 * size))
    clay.push((0, tip), (0.105 * wide, 0.085), (0, 0, -0.17 * size))
    clay.push_pair((0.095 * wide, tip + 0.035), (0.06, 0.05), (0.01, 0, -0.075 * size))
    clay.push_pair((s["eye_x"], s["eye_y"] + 0.01), (0.2, 0.15), (0, 0, 0.075))
    clay.push_pair((s["eye_x"], s["brow_y"] + 0.05), (0.24, 0.09), (0, 0, -0.035))
    clay.push_pair((0.42, 0.32), (0.2, 0.2), (0.02, 0, -s["cheek"]))
    clay.push((0, s["mouth_y"]), (0.24, 0.14), (0, 0, -0.055))
    return clay.points


def _cat(identity: Identity) -> Points:
    s = identity.shape
    p = _sphere() * np.array([s["wide"], s["tall"], s["deep"]])
    p[:, 0] *= 1 + s["cheek"] * np.exp(-(((p[:, 1] - 0.3) / 0.3) ** 2))
    p[:, 0] *= 1 - 0.22 * smooth_step(0.35, 0.85, p[:, 1])
    clay = _Clay(p)
    y = s["mouth_y"]
    clay.push((0, y - 0.1), (0.32, 0.27), (0, 0, -s["muzzle"]))
    clay.push((0, s["nose_y"] - 0.18), (0.14, 0.3), (0, 0, -0.10))
    clay.push_pair((0.13, y - 0.08), (0.13, 0.11), (0.01, 0, -s["pads"]), 1.3)
    clay.push((0, y + 0.13), (0.14, 0.1), (0, 0.03, -0.12))
    clay.push_pair((s["eye_x"], s["eye_y"]), (0.26, 0.2), (0, 0, 0.05))
    return clay.points


def _dog(identity: Identity) -> Points:
    s = identity.shape
    p = _sphere() * np.array([s["wide"], s["tall"], s["deep"]])
    p[:, 0] *= 1 + s["cheek"] * np.exp(-(((p[:, 1] - 0.3) / 0.3) ** 2))
    p[:, 0] *= 1 - 0.25 * smooth_step(0.2, 0.9, p[:, 1])
    clay = _Clay(p)
    y, wide = s["mouth_y"], s["muzzle_wide"]
    clay.push((0, y - 0.12), (wide, 0.36), (0, 0.03, -s["muzzle"]), 1.7)
    clay.push((0, s["nose_y"] - 0.18), (wide * 0.6, 0.25), (0, 0, -0.12))
    clay.push_pair((0.16, y - 0.1), (0.16, 0.15), (0.02, 0, -0.07), 1.3)
    clay.push((0, y + 0.14), (0.17, 0.1), (0, 0.02, -0.06))
    clay.push_pair((s["eye_x"], s["eye_y"]), (0.2, 0.17), (0, 0, 0.05))
    clay.push((0, s["eye_y"] - 0.15), (0.1, 0.3), (0, 0, s["stop"] * 0.5))
    clay.push_pair((s["eye_x"] - 0.05, s["brow_y"] + 0.03), (0.2, 0.1), (0, 0, -0.06))
    return clay.points


def _panda(identity: Identity) -> Points:
    s = identity.shape
    p = _sphere() * np.array([s["wide"], s["tall"], s["deep"]])
    p[:, 0] *= 1 + s["cheek"] * np.exp(-(((p[:, 1] - 0.3) / 0.33) ** 2))
    clay = _Clay(p)
    y = s["mouth_y"]
    clay.push((0, y - 0.12), (s["muzzle_wide"], 0.31), (0, 0.02, -s["muzzle"]), 1.4)
    clay.push((0, s["nose_y"] - 0.15), (0.2, 0.25), (0, 0, -0.08))
    clay.push_pair((0.13, y - 0.08), (0.14, 0.13), (0.01, 0, -0.04), 1.3)
    clay.push((0, y + 0.14), (0.15, 0.1), (0, 0.02, -0.06))
    clay.push_pair((s["eye_x"], s["eye_y"]), (0.2, 0.2), (0, 0, 0.04))
    return clay.points


_SHAPES = {"human": _human, "cat": _cat, "dog": _dog, "panda": _panda}


def build_skull(identity: Identity) -> Skull:
    """The head's surface, with lids of skin drawn over the eyeballs."""
    s = identity.shape
    points = _SHAPES[identity.species](identity)
    triangles = grid_triangles(ROWS, COLUMNS, is_closed=True)
    radius = s["eye_half"] * (1.1 if identity.species == "human" else 1.16)
    bare = Skull(
        points=points, triangles=triangles, eye=np.zeros((2, 3)), eye_radius=radius, gape=GAPE[identity.species]
    )
    x = np.array([-s["eye_x"], s["eye_x"]])
    y = np.full(2, s["eye_y"])
    surface = bare.on_front(x, y)
    # The surface falls away sideways: the ball sits so that its front clears the skin at the inner corner, too.
    center = np.column_stack([x, y, surface[:, 2] + radius * 0.86])
    lid = radius * LID
    for eye in center:
        across = np.hypot(points[:, 0] - eye[0], points[:, 1] - eye[1])
        ball = eye[2] - np.sqrt(np.maximum(lid**2 - across**2, 0))
        near = (across < lid) & (points[:, 2] < 0)
        points[near, 2] = np.minimum(points[near, 2], ball[near])
        ring = (across >= lid) & (across < lid * 1.3) & (points[:, 2] < 0)
        share = 1 - (across[ring] / lid - 1) / 0.3
        points[ring, 2] = np.minimum(points[ring, 2], points[ring, 2] * (1 - share) + eye[2] * share)
    return Skull(points=points, triangles=triangles, eye=center, eye_radius=radius, gape=GAPE[identity.species])


def expression_fields(identity: Identity, skull: Skull, points: Points) -> Float[np.ndarray, "8 V 3"]:
    """How far each unit of jaw, mouth corners, pucker and brows moves head-local points; ears stay zero here."""
    s = identity.shape
    x, y, z = points.T
    fields = np.zeros((NUM_FIELDS, len(points), 3))
    front = smooth_step(0.3, -0.2, z)
    mouth_y, half = s["mouth_y"], s["mouth_half"]
    below = smooth_step(mouth_y - 0.03, mouth_y + 0.05, y) * front * np.exp(-((x / (half * 2.3)) ** 2))
    fields[0, :, 1] = skull.gape * below
    fields[0, :, 2] = 0.3 * skull.gape * below
    fields[0, :, 0] = -0.08 * x * below
    for k, side in ((1, -1), (2, 1)):
        near = np.exp(-(((x - side * half) / 0.17) ** 2) - ((y - mouth_y) / 0.17) ** 2) * front
        cheek = np.exp(-(((x - side * (half + 0.12)) / 0.17) ** 2) - ((y - mouth_y + 0.24) / 0.15) ** 2) * front
        fields[k, :, 0] = side * 0.05 * near
        fields[k, :, 1] = -0.08 * near - 0.03 * cheek
        fields[k, :, 2] = 0.03 * near - 0.05 * cheek
    lips = np.exp(-((x / (half * 1.1)) ** 2) - ((y - mouth_y) / 0.15) ** 2) * front
    fields[3, :, 0] = -0.3 * x * lips
    fields[3, :, 2] = -0.10 * lips
    for k, side in ((5 - 1, -1), (5, 1)):
        inner = side * (s["eye_x"] * 0.45)
        outer = side * s["eye_x"]
        near = np.exp(-(((x - outer) / 0.26) ** 2) - ((y - s["brow_y"]) / 0.15) ** 2) * front
        mid = np.exp(-(((x - inner) / 0.12) ** 2) - ((y - s["brow_y"]) / 0.12) ** 2) * front
        fields[k, :, 1] = -0.095 * near - 0.045 * mid
        fields[k, :, 0] = side * 0.02 * mid
    return fields
