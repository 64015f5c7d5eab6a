"""Grids, balls, tubes and strands -> one indexed triangle mesh with per-vertex attributes.

Head-local space: x right, y down, z inward (the face looks along -z); the unit is half a human head's height.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

Points = Float[np.ndarray, "V 3"]
Triangles = Int[np.ndarray, "N 3"]
NUM_FIELDS = 8
"""Blend fields: jaw, mouth_right, mouth_left, pucker, brow_right, brow_left, ear_right, ear_left."""


def smooth_step(low: float | int, high: float | int, value: np.ndarray) -> np.ndarray:
    """0 at `low`, 1 at `high` (either order), with flat ends."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def grid_triangles(rows: int, columns: int, *, is_closed: bool = False) -> Triangles:
    """Two triangles per cell of a row-major grid; `is_closed` joins the last column to the first."""
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns if is_closed else columns - 1), indexing="ij")
    a = row * columns + column
    b = row * columns + (column + 1) % columns
    c, d = a + columns, b + columns
    return np.stack([np.stack([a, b, c], -1), np.stack([b, d, c], -1)], -2).reshape(-1, 3).astype(np.int64)


def surface_normals(points: Points, triangles: Triangles) -> Points:
    """Unit normals, area weighted."""
    a, b, c = (points[triangles[:, k]] for k in range(3))
    face = np.cross(b - a, c - a)
    normals = np.zeros_like(points)
    for k in range(3):
        np.add.at(normals, triangles[:, k], face)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def ball(
    center: tuple[float | int, float | int, float | int],
    radii: tuple[float | int, float | int, float | int],
    rows: int = 12,
) -> tuple[Points, Triangles]:
    """An ellipsoid."""
    columns = rows * 2
    latitude, longitude = np.meshgrid(
        np.linspace(-np.pi / 2, np.pi / 2, rows), np.linspace(-np.pi, np.pi, columns, endpoint=False), indexing="ij"
    )
    unit = np.stack(
        [np.sin(longitude) * np.cos(latitude), np.sin(latitude), -np.cos(longitude) * np.cos(latitude)], -1
    ).reshape(-1, 3)
    return unit * np.array(radii) + np.array(center), grid_triangles(rows, columns, is_closed=True)


def tube(
    path: Float[np.ndarray, "R 3"], radius: np.ndarray | float, sides: int = 6, flat: float | int = 1.0
) -> tuple[Points, Triangles]:
    """A tube along a path; `flat` scales its thickness along z."""
    along = np.gradient(path, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    across = np.cross(along, np.array([0.0, 0.0, 1.0]))
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    inward = np.cross(along, across)
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    size = np.broadcast_to(np.asarray(radius, float), (len(path),))[:, None, None]
    ring = across[:, None] * np.cos(turn)[None, :, None] + flat * inward[:, None] * np.sin(turn)[None, :, None]
    return (path[:, None] + size * ring).reshape(-1, 3), grid_triangles(len(path), sides, is_closed=True)


@dataclass(slots=True)
class Assembly:
    """Collects parts; `add` order fixes the vertex numbers. Strands come last: they borrow their host's normal."""

    points: list[Points] = field(default_factory=list)
    triangles: list[Triangles] = field(default_factory=list)
    materials: list[np.ndarray] = field(default_factory=list)
    colours: list[Points] = field(default_factory=list)
    cover: list[np.ndarray] = field(default_factory=list)
    follow: list[np.ndarray] = field(default_factory=list)
    fields: list[np.ndarray] = field(default_factory=list)
    host: list[np.ndarray] = field(default_factory=list)
    num_vertices: int = 0

    def add(
        self,
        points: Points,
        triangles: Triangles,
        material: int,
        colour: np.ndarray,
        *,
        cover: np.ndarray | float = 1.0,
        follow: np.ndarray | float = 1.0,
        fields: Callable[[Points], np.ndarray] | np.ndarray | None = None,
    ) -> slice:
        """Append a part and return its vertex range.

        `colour` is linear RGB for all or each vertex; `cover` is ambient light 0-1, for hair the keep value (kept
        where >= 0); `follow` is the share of the head's motion; `fields` is [8, V, 3] or a function that gives it.
        """
        num = len(points)
        first = self.num_vertices
        values = fields(points) if callable(fields) else fields
        self.points.append(points)
        self.triangles.append(triangles + first)
        self.materials.append(np.full(len(triangles), material, np.uint8))
        self.colours.append(np.broadcast_to(colour, (num, 3)))
        self.cover.append(np.broadcast_to(cover, (num,)))
        self.follow.append(np.broadcast_to(follow, (num,)))
        self.fields.append(np.zeros((NUM_FIELDS, num, 3)) if values is None else values)
        self.host.append(np.arange(first, first + num))
        self.num_vertices += num
        return slice(first, first + num)

    def add_strands(
        self, hosts: np.ndarray, offsets: np.ndarray, colours: np.ndarray, materials: np.ndarray | int
    ) -> None:
        """Append thin triangles: offsets [N, 3 corners, 3] from host vertices [N], colours [N, 3 corners, 3]."""
        at, shade, follow = (np.concatenate(part) for part in (self.points, self.cover, self.follow))
        moves = np.concatenate(self.fields, 1)[:, hosts].repeat(3, 1)
        first = self.num_vertices
        num = len(hosts)
        self.points.append((at[hosts][:, None] + offsets).reshape(-1, 3))
        self.triangles.append(first + np.arange(3 * num).reshape(-1, 3))
        self.materials.append(np.broadcast_to(materials, (num,)).astype(np.uint8))
        self.colours.append(colours.reshape(-1, 3))
        self.cover.append(np.clip(shade[hosts].repeat(3), 0, 1))
        self.follow.append(follow[hosts].repeat(3))
        self.fields.append(moves)
        self.host.append(hosts.repeat(3))
        self.num_vertices += 3 * num


def fur(
    rng: np.random.Generator,
    hosts: np.ndarray,
    normals: Points,
    comb: Points,
    colours: Points,
    length: np.ndarray | float,
    width: float,
    lift: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Strand offsets and colours for host vertices, combed along `comb` and lifted off the skin by `lift`."""
    num = len(hosts)
    normal = normals[hosts]
    flow = comb[hosts] + rng.normal(0, 0.35, (num, 3))
    flow -= normal * (flow * normal).sum(1, keepdims=True)
    flow /= np.maximum(np.linalg.norm(flow, axis=1, keepdims=True), 1e-6)
    way = flow + normal * (lift * rng.uniform(0.4, 1.6, (num, 1)))
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    side = np.cross(way, normal)
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-6)
    size = np.broadcast_to(length, (num,))[:, None] * rng.uniform(0.6, 1.35, (num, 1))
    root = rng.normal(0, 0.012, (num, 3))
    half = width * rng.uniform(0.6, 1.3, (num, 1))
    offsets = np.stack([root - side * half, root + side * half, root + way * size], 1)
    tone = rng.uniform(0.84, 1.12, (num, 1))
    base = colours[hosts]
    strands = np.stack([base * tone, base * tone, np.minimum(base * tone * 1.12 + 0.01, 1)], 1)
    return offsets, strands
