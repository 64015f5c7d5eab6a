"""Angles, scales, shifts -> posed keypoints, and the grids they act on.

Conventions of LivePortrait: coordinates in [-1, 1], x right, y down, z inward; points are row vectors, so a rotation
acts from the right; the expression delta is scaled but not rotated; the z shift is ignored. Everything here runs in
fp32 also under autocast: a bfloat16 keypoint is off by up to half a pixel.
"""

from itertools import combinations
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lp_models.config import NUM_BINS


class Motion(NamedTuple):
    """Everything M reads from one picture. Angles in degrees; the rest in normalised keypoint space."""

    pitch_deg: Float[Tensor, " B"]
    yaw_deg: Float[Tensor, " B"]
    roll_deg: Float[Tensor, " B"]
    shift: Float[Tensor, "B 3"]
    delta: Float[Tensor, "B K 3"]
    scale: Float[Tensor, "B 1"]
    canonical: Float[Tensor, "B K 3"]

    def rotation(self) -> Float[Tensor, "B 3 3"]:
        """The head pose as a matrix for row vectors."""
        return rotation_matrix(self.pitch_deg, self.yaw_deg, self.roll_deg)


def angle_from_bins(logits: Float[Tensor, "B 66"]) -> Float[Tensor, " B"]:
    """Expected angle in degrees of a 66-bin head: bins of 3 degrees, the first at -97.5; equal logits give 0."""
    index = torch.arange(NUM_BINS, device=logits.device, dtype=torch.float32)
    return (logits.float().softmax(dim=1) * index).sum(dim=1) * 3 - 97.5


def rotation_matrix(
    pitch_deg: Float[Tensor, " B"], yaw_deg: Float[Tensor, " B"], roll_deg: Float[Tensor, " B"]
) -> Float[Tensor, "B 3 3"]:
    """R = (Rz(roll) Ry(yaw) Rx(pitch))^T, to be used as `points @ R`."""
    x, y, z = (torch.deg2rad(angle.float()) for angle in (pitch_deg, yaw_deg, roll_deg))
    one, zero = torch.ones_like(x), torch.zeros_like(x)

    def matrix(*entries: Tensor) -> Tensor:
        return torch.stack(entries, dim=1).unflatten(1, (3, 3))

    about_x = matrix(one, zero, zero, zero, x.cos(), -x.sin(), zero, x.sin(), x.cos())
    about_y = matrix(y.cos(), zero, y.sin(), zero, one, zero, -y.sin(), zero, y.cos())
    about_z = matrix(z.cos(), -z.sin(), zero, z.sin(), z.cos(), zero, zero, zero, one)
    with torch.autocast(x.device.type, enabled=False):
        return (about_z @ about_y @ about_x).mT


def posed_keypoints(
    canonical: Float[Tensor, "B K 3"],
    rotation: Float[Tensor, "B 3 3"],
    delta: Float[Tensor, "B K 3"],
    scale: Float[Tensor, "B 1"],
    shift: Float[Tensor, "B 3"],
) -> Float[Tensor, "B K 3"]:
    """X = s (x_c R + delta) + t, with t_z dropped (LivePortrait, Eq. 2)."""
    with torch.autocast(canonical.device.type, enabled=False):
        posed = scale.float()[:, :, None] * (canonical.float() @ rotation.float() + delta.float())
    in_plane = shift.float() * shift.new_tensor([1.0, 1.0, 0.0], dtype=torch.float32)
    return posed + in_plane[:, None, :]


def source_keypoints(motion: Motion) -> Float[Tensor, "B K 3"]:
    """The keypoints of the picture from which the motion was read."""
    return posed_keypoints(motion.canonical, motion.rotation(), motion.delta, motion.scale, motion.shift)


def driven_keypoints(source: Motion, driving: Motion) -> Float[Tensor, "B K 3"]:
    """The source's canonical keypoints in the driving picture's pose, expression, scale and shift (absolute motion)."""
    return posed_keypoints(source.canonical, driving.rotation(), driving.delta, driving.scale, driving.shift)


def identity_grid(depth: int, height: int, width: int, like: Tensor) -> Float[Tensor, "D H W 3"]:
    """Coordinates (x, y, z) of every voxel, end points exactly -1 and 1; fp32 on the device of `like`."""
    z, y, x = (torch.linspace(-1, 1, n, device=like.device) for n in (depth, height, width))
    grid_z, grid_y, grid_x = torch.meshgrid(z, y, x, indexing="ij")
    return torch.stack((grid_x, grid_y, grid_z), dim=-1)


def eye_ratios(landmarks: Float[Tensor, "B 203 2"]) -> Float[Tensor, "B 2"]:
    """How far each eye is open: lid distance over corner distance, from LivePortrait's 203 landmarks."""
    first = _opening(landmarks, (6, 18), (0, 12))
    return torch.stack((first, _opening(landmarks, (30, 42), (24, 36))), dim=1)


def lip_ratio(landmarks: Float[Tensor, "B 203 2"]) -> Float[Tensor, "B 1"]:
    """How far the lips are open: lip distance over mouth width, from LivePortrait's 203 landmarks."""
    return _opening(landmarks, (90, 102), (48, 66))[:, None]


def _opening(landmarks: Tensor, across: tuple[int, int], along: tuple[int, int]) -> Tensor:
    def distance(pair: tuple[int, int]) -> Tensor:
        return (landmarks[:, pair[0]] - landmarks[:, pair[1]]).norm(dim=-1)

    return distance(across) / (distance(along) + 1e-6)


def hull_multiplier(source: Float[Tensor, "K1 3"], driving: Float[Tensor, "K2 3"]) -> float:
    """Ratio of the sizes of two keypoint sets: the square root of the ratio of their convex hulls' volumes.

    A volume with a square root is what upstream does; it is kept so that the same inputs give the same frames.
    """
    return (_hull_volume(source) / _hull_volume(driving)) ** 0.5


def _hull_volume(points: Float[Tensor, "K 3"]) -> float:
    """Volume of the convex hull, by testing every triangle: exact, and quick for a few dozen points."""
    p = points.double().cpu()
    # A nudge far below fp32 resolution splits coplanar faces into triangles, which would else be counted twice.
    nudge = torch.rand(p.shape, generator=torch.Generator().manual_seed(0), dtype=p.dtype)
    p = p - p.mean(dim=0)
    p = p + 1e-10 * p.abs().max() * nudge
    a, b, c = (p[list(corner)] for corner in zip(*combinations(range(len(p)), 3), strict=True))
    normal = torch.linalg.cross(b - a, c - a)
    height = torch.einsum("fi,fki->fk", normal, p[None] - a[:, None])
    corners = torch.tensor(list(combinations(range(len(p)), 3)))
    height.scatter_(1, corners, 0.0)
    outer = (height <= 0).all(dim=1) | (height >= 0).all(dim=1)
    return float((normal * a).sum(dim=1).abs()[outer].sum() / 6)
