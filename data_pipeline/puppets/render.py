"""Identity + motion code -> a frame and its exact truth."""

import functools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from data_pipeline.puppets.backdrop import paint_backdrop
from data_pipeline.puppets.identity import Identity
from data_pipeline.puppets.landmarks import eye_open, five_points, hidden_behind, iris_xy, lip_open, moving_xy
from data_pipeline.puppets.motion import COLUMN, HIGHEST, LOWEST, MOTION_NAMES
from data_pipeline.puppets.raster import (
    GLOSS,
    LABELS,
    develop,
    find_on_front,
    pose_vertices,
    rasterise,
    shade,
    vertex_normals,
)  # fmt: skip
from data_pipeline.puppets.rig import FIELD_COLUMNS, Puppet, build_puppet

SAMPLES = 2
"""Samples per pixel and axis: 2 x 2 antialiasing."""
_DISTANCE = 7.5
"""Camera to head, head units: a phone at arm's length sees about this perspective."""
_PIVOT = np.array([0.0, 0.35, 0.30], np.float32)
"""The head turns about the top of the neck."""
_FRAME_UNITS = {"human": 3.95, "cat": 3.95, "dog": 3.85, "panda": 4.0}
"""Height of the frame at the head's distance."""
_CENTER = {"human": 0.45, "cat": 0.49, "dog": 0.45, "panda": 0.48}
"""Where the head's centre sits, as a share of the frame's height."""
_CURVE_STEPS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class PuppetFrame:
    """One picture and everything that is known about it; pixels of this picture."""

    image: UInt8[np.ndarray, "S S 3"]
    labels: UInt8[np.ndarray, "S S"]
    """0 background, 1 body, 2 head, 3 visible eyeball, 4 lips and mouth."""
    points: Float32[np.ndarray, "5 2"]
    landmarks: Float32[np.ndarray, "70 2"]
    landmark_visible: Bool[np.ndarray, "70"]
    eye_open: Float32[np.ndarray, "2"]
    lip_open: np.float32
    pose_deg: Float32[np.ndarray, "3"]
    """Pitch, yaw, roll; x_c @ R with R = (Rz Ry Rx)^T."""
    motion: Float32[np.ndarray, " P"]
    head_box: Float32[np.ndarray, "4"]


@functools.cache
def _curve() -> UInt8[np.ndarray, " C"]:
    """Linear light -> sRGB byte; a soft shoulder keeps bright fur from burning out."""
    x = np.linspace(0, 1, _CURVE_STEPS)
    x = np.where(x < 0.6, x, 0.6 + 0.4 * np.tanh((x - 0.6) / 0.4) / np.tanh(1.0))
    srgb = np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
    return np.clip(np.rint(srgb * 255), 0, 255).astype(np.uint8)


@functools.lru_cache(maxsize=8)
def _built(species: str, index: int, seed: int) -> Puppet:
    from data_pipeline.puppets.identity import sample_identity

    return build_puppet(sample_identity(species, index, seed))  # pyright: ignore[reportArgumentType]


@functools.lru_cache(maxsize=8)
def _scene(species: str, index: int, seed: int, size_px: int) -> Float32[np.ndarray, "S S 3"]:
    return paint_backdrop(_built(species, index, seed).identity, size_px)


def head_rotation(pitch_deg: float | int, yaw_deg: float | int, roll_deg: float | int) -> Float[np.ndarray, "3 3"]:
    """Rz Ry Rx: the matrix that turns column vectors; LivePortrait's R is its transpose (inference.md 5)."""
    x, y, z = np.radians([pitch_deg, yaw_deg, roll_deg])
    rx = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    ry = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    rz = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return rz @ ry @ rx


@dataclass(frozen=True, slots=True, kw_only=True)
class _Camera:
    """Perspective projection to sample coordinates (sample centres are integers)."""

    scale: float
    center_x: float
    center_y: float

    def project(self, points: Float32[np.ndarray, "V 3"]) -> Float32[np.ndarray, "V 3"]:
        inverse = 1.0 / (points[:, 2] + np.float32(_DISTANCE))
        out = np.empty_like(points)
        out[:, 0] = points[:, 0] * inverse * self.scale + self.center_x
        out[:, 1] = points[:, 1] * inverse * self.scale + self.center_y
        out[:, 2] = inverse
        return out


def _camera(identity: Identity, side: int) -> _Camera:
    s = identity.shape
    return _Camera(
        scale=side * _DISTANCE / (_FRAME_UNITS[identity.species] * s["frame"]),
        center_x=side * (0.5 + s["center_x"] * 0.5) - 0.5,
        center_y=side * (_CENTER[identity.species] + s["center_y"] * 0.5) - 0.5,
    )


def _pixels(screen: Float32[np.ndarray, "V 3"]) -> Float32[np.ndarray, "V 2"]:
    """Sample coordinates -> pixel coordinates of the final picture (pixel centres are integers)."""
    return ((screen[:, :2] + 0.5) / SAMPLES - 0.5).astype(np.float32)


def render(identity: Identity, motion: Float[np.ndarray, " P"], size_px: int = 256) -> PuppetFrame:
    """Draw an identity performing one motion code (`MOTION_NAMES`).

    Raises:
        ValueError: the code has the wrong length or is not finite, or the size is odd or below 32.
    """
    motion = np.asarray(motion, np.float32)
    if motion.shape != (len(MOTION_NAMES),) or not np.isfinite(motion).all():
        raise ValueError(f"a motion code has {len(MOTION_NAMES)} finite numbers ({', '.join(MOTION_NAMES)})")
    if size_px < 32 or size_px % 2:
        raise ValueError(f"size_px must be even and at least 32, not {size_px}")
    motion = np.clip(motion, LOWEST, HIGHEST)
    key = (identity.species, identity.index, identity.seed)
    puppet = _built(*key)
    if puppet.identity != identity:
        puppet = build_puppet(identity)
    return _draw(puppet, motion, size_px, _scene(*key, size_px))


def _draw(puppet: Puppet, motion: Float32[np.ndarray, " P"], size_px: int, backdrop: np.ndarray) -> PuppetFrame:
    side = size_px * SAMPLES
    eyes, mouth = puppet.eye_table(motion), puppet.mouth_table(motion)
    local = puppet.rest + (motion[FIELD_COLUMNS] @ puppet.fields).reshape(-1, 3)
    pose = motion[:3].copy()
    turn = head_rotation(*pose.tolist()).astype(np.float32)
    body_shift = np.array([motion[COLUMN["shoulder_x"]], motion[COLUMN["shoulder_y"]], 0], np.float32)
    head_shift = motion[[COLUMN["head_x"], COLUMN["head_y"], COLUMN["head_z"]]] + body_shift * 0.5
    posed = np.empty_like(local)
    pose_vertices(local, puppet.follow, turn, _PIVOT, head_shift, body_shift, posed)
    normals = np.empty_like(local)
    vertex_normals(posed, puppet.triangles, puppet.num_surface, puppet.host, normals)
    np.negative(normals, out=normals)  # the head's grid winds inwards
    camera = _camera(puppet.identity, side)
    screen = camera.project(posed)
    depth = np.zeros((side, side), np.float32)
    winner = np.full((side, side), -1, np.int32)
    inner = np.full((side, side), -1, np.float32)
    rasterise(screen, puppet.triangles, puppet.materials, local, puppet.cover, mouth, depth, winner, inner)
    samples = np.empty((side, side, 3), np.float32)
    fine = np.empty((side, side), np.uint8)
    shade(
        screen, puppet.triangles, puppet.materials, local, puppet.cover, normals, puppet.colours, eyes, mouth,
        puppet.light, turn, winner, backdrop, LABELS, GLOSS, samples, fine,
    )  # fmt: skip
    image, labels = np.empty((size_px, size_px, 3), np.uint8), np.empty((size_px, size_px), np.uint8)
    develop(samples, fine, _curve(), image, labels)
    marks = camera.project((_marks(puppet, local, eyes, mouth) - _PIVOT) @ turn.T + _PIVOT + head_shift)
    landmarks = _pixels(marks)
    box = _pixels(screen[puppet.box_vertices])
    low, high = np.clip(box.min(0) + 0.5, 0, size_px), np.clip(box.max(0) + 0.5, 0, size_px)
    return PuppetFrame(
        image=image, labels=labels, points=five_points(landmarks), landmarks=landmarks,
        landmark_visible=~hidden_behind(depth, marks, 0.07), eye_open=eye_open(landmarks),
        lip_open=np.float32(lip_open(landmarks)), pose_deg=pose, motion=motion,
        head_box=np.concatenate([low, high]).astype(np.float32),
    )  # fmt: skip


def _marks(puppet: Puppet, local: np.ndarray, eyes: np.ndarray, mouth: np.ndarray) -> Float32[np.ndarray, "70 3"]:
    """Head-local landmarks on the deformed surface."""
    jaw = local[puppet.jaw_vertices]
    still = (local[puppet.still_triangles] * puppet.still_weights[:, :, None]).sum(1)
    xy = np.concatenate([moving_xy(eyes, mouth), iris_xy(eyes)]).astype(np.float32)
    owners = np.empty(len(xy), np.int64)
    weights = np.zeros((len(xy), 3), np.float32)
    find_on_front(local, puppet.triangles, 0, puppet.num_head, xy, owners, weights)
    z = (local[puppet.triangles[owners]][:, :, 2] * weights).sum(1)
    moving = np.column_stack([xy, z])
    return np.concatenate([jaw, still, moving]).astype(np.float32)
