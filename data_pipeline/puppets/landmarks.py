"""A posed head -> 70 named points, five points and openness ratios, the same for every species.

Order: the usual 68 (jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, mouth 48-67), the performer's right = the
viewer's left first, then the two iris centres (68 right, 69 left).
"""

import numpy as np
from jaxtyping import Bool, Float, Float32

from data_pipeline.puppets.anatomy import Skull
from data_pipeline.puppets.identity import Identity
from data_pipeline.puppets.parts import brow_line
from data_pipeline.puppets.raster import E_COS, E_GAZE, E_HALF, E_INNER, E_RADIUS, E_SIN, E_X, E_Y, lids, lips

NUM_LANDMARKS = 70
LANDMARK_NAMES = (
    *(f"jaw_{k}" for k in range(17)),
    *(f"brow_right_{k}" for k in range(5)),
    *(f"brow_left_{k}" for k in range(5)),
    *(f"nose_bridge_{k}" for k in range(4)),
    *(f"nose_base_{k}" for k in range(5)),
    "eye_right_outer", "eye_right_upper_outer", "eye_right_upper_inner", "eye_right_inner",
    "eye_right_lower_inner", "eye_right_lower_outer",
    "eye_left_inner", "eye_left_upper_inner", "eye_left_upper_outer", "eye_left_outer",
    "eye_left_lower_outer", "eye_left_lower_inner",
    *(f"lips_outer_{k}" for k in range(12)),
    *(f"lips_inner_{k}" for k in range(8)),
    "iris_right", "iris_left",
)  # fmt: skip
FLIPPED_LANDMARKS = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
     45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
     54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65, 69, 68]
)  # fmt: skip
"""Order of the landmarks after a horizontal flip."""

_EYE_U = np.array([-1.0, -0.42, 0.42, 1.0, 0.42, -0.42])
_EYE_ROW = np.array([0, -1, -1, 0, 1, 1])
_OUTER_T = np.array([-1.0, -0.62, -0.27, 0.0, 0.27, 0.62, 1.0, 0.62, 0.27, 0.0, -0.27, -0.62])
_INNER_T = np.array([-0.88, -0.4, 0.0, 0.4, 0.88, 0.4, 0.0, -0.4])
_EPSILON = 1e-6


def still_anchors(identity: Identity, skull: Skull) -> tuple[np.ndarray, Float[np.ndarray, "19 2"]]:
    """Neutral anchors of landmarks 0-35: vertex numbers of the jaw line (17), then x, y on the front (19 more)."""
    s = identity.shape
    angle = np.radians(np.linspace(-100, 100, 17))
    size = np.abs(skull.points).max(0)
    unit = skull.points / size
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    way = np.column_stack([np.sin(angle), np.cos(angle), np.full(17, -0.12)])
    jaw = (unit @ (way / np.linalg.norm(way, axis=1, keepdims=True)).T).argmax(0)
    if identity.species == "human":
        tip, base, wide = s["nose_len"], s["nose_len"] + 0.085, 0.12 * s["nose_wide"]
    else:
        tip, base, wide = s["nose_y"], s["nose_y"] + 0.45 * s["nose_size"], 0.55 * s["nose_size"]
    bridge = np.column_stack([np.zeros(4), np.linspace(s["eye_y"], tip, 4)])
    row = np.linspace(-1, 1, 5)
    under = np.column_stack([row * wide, base - 0.03 * np.abs(row)])
    brows = np.concatenate([brow_line(identity, -1, 5), brow_line(identity, 1, 5)[::-1]])
    return jaw, np.concatenate([brows, bridge, under])


def moving_xy(eyes: Float32[np.ndarray, "2 E"], mouth: Float32[np.ndarray, " M"]) -> Float[np.ndarray, "32 2"]:
    """Head-local x, y of landmarks 36-67, which slide over the skin with lids and lips."""
    rows = []
    for k, eye in enumerate(eyes):
        chart = []
        for u, row in zip(_EYE_U, _EYE_ROW, strict=True):
            upper, lower = lids(eye, np.float32(u))
            chart.append((u, upper if row < 0 else lower if row > 0 else 0.0))
        u, v = np.array(chart).T * eye[E_HALF]
        dx, dy = u * eye[E_COS] - v * eye[E_SIN], u * eye[E_SIN] + v * eye[E_COS]
        xy = np.column_stack([eye[E_X] + dx * eye[E_INNER], eye[E_Y] + dy])
        rows.append(xy if k == 0 else xy[[3, 2, 1, 0, 5, 4]])
    left, right = mouth[0], mouth[2]
    for values, is_outer in ((_OUTER_T, True), (_INNER_T, False)):
        for n, t in enumerate(values):
            x = (left + right + t * (right - left)) / 2
            _, upper, lower, thick_up, thick_low = lips(mouth, np.float32(x))
            is_upper = n <= (6 if is_outer else 4)
            edge = upper - thick_up * is_outer if is_upper else lower + thick_low * is_outer
            rows.append(np.array([[x, edge]]))
    return np.concatenate(rows)


def iris_xy(eyes: Float32[np.ndarray, "2 E"]) -> Float[np.ndarray, "2 2"]:
    """Head-local x, y of the iris centres (68, 69)."""
    return eyes[:, [E_X, E_Y]] + eyes[:, E_GAZE : E_GAZE + 2] * eyes[:, [E_RADIUS]]


def five_points(landmarks: Float[np.ndarray, "*T 70 2"]) -> Float[np.ndarray, "*T 5 2"]:
    """Eye centres (mean of the corners), nose tip, mouth corners: viewer's left eye first (inference.md 10.1)."""
    eye = [landmarks[..., a, :] * 0.5 + landmarks[..., b, :] * 0.5 for a, b in ((36, 39), (42, 45))]
    return np.stack([*eye, landmarks[..., 30, :], landmarks[..., 48, :], landmarks[..., 54, :]], -2)


def _distance(landmarks: np.ndarray, a: tuple[int, ...], b: tuple[int, ...]) -> np.ndarray:
    return np.asarray(np.linalg.norm(landmarks[..., a, :].mean(-2) - landmarks[..., b, :].mean(-2), axis=-1))


def eye_open(landmarks: Float[np.ndarray, "*T 70 2"]) -> Float[np.ndarray, "*T 2"]:
    """Own right and left eye: distance of the lids' middles over the distance of the corners (inference.md 6.2)."""
    right = _distance(landmarks, (37, 38), (40, 41)) / (_distance(landmarks, (36,), (39,)) + _EPSILON)
    left = _distance(landmarks, (43, 44), (46, 47)) / (_distance(landmarks, (42,), (45,)) + _EPSILON)
    return np.stack([right, left], -1)


def lip_open(landmarks: Float[np.ndarray, "*T 70 2"]) -> Float[np.ndarray, "*T"]:
    """Distance of the inner lips' middles over the distance of the mouth corners (inference.md 6.2)."""
    return np.asarray(_distance(landmarks, (62,), (66,)) / (_distance(landmarks, (48,), (54,)) + _EPSILON))


def hidden_behind(
    depth: Float32[np.ndarray, "H W"], screen: Float32[np.ndarray, "L 3"], tolerance: float
) -> Bool[np.ndarray, " L"]:
    """Which projected points lie outside the frame or behind something nearer; `screen` holds x, y, 1 / distance."""
    height, width = depth.shape
    column, row = np.rint(screen[:, 0]).astype(int), np.rint(screen[:, 1]).astype(int)
    outside = (column < 0) | (row < 0) | (column >= width) | (row >= height)
    near = depth[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
    covered = (near > 0) & (1 / np.maximum(near, 1e-9) < 1 / screen[:, 2] - tolerance)
    return outside | covered
