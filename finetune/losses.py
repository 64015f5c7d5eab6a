"""Predictions and truth -> scalars: each loss one pure function with its equation.

Notation of LivePortrait (arXiv 2407.03168) and face-vid2vid (arXiv 2011.15126). Keypoints are in [-1, 1]; a mean over
rows takes only the rows with weight.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lp_models.geometry import Motion

HALF_SIDE_PX = 128.0
"""Landmark guidance is measured in pixels of a 256 px crop, whatever the picture's size."""


class Tie(NamedTuple):
    """The mean of some keypoints should lie on the mean of some landmarks; x and y may name different landmarks."""

    keypoints: Sequence[int]
    landmarks_x: Sequence[int]
    landmarks_y: Sequence[int]


class SpatialTransform(NamedTuple):
    """A random affine map plus thin-plate spline per row (face-vid2vid A.2; first-order motion model, Eq. 7)."""

    theta: Float[Tensor, "B 2 3"]
    control: Float[Tensor, "N 2"]
    bend: Float[Tensor, "B N"]

    def __call__(self, points: Float[Tensor, "B P 2"]) -> Float[Tensor, "B P 2"]:
        """T(p) = A p + b + sum_n c_n U(|p - q_n|_1), U(d) = d^2 log(d + 1e-6); the bend moves x and y alike."""
        moved = points @ self.theta[:, :, :2].mT + self.theta[:, None, :, 2]
        distance = (points[:, :, None] - self.control).abs().sum(dim=-1)
        spline = (distance.square() * torch.log(distance + 1e-6) * self.bend[:, None]).sum(dim=-1)
        return moved + spline[..., None]

    def warp(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """The picture whose pixel p shows what the original has at T(p); reflected beyond the border."""
        height, width = image.shape[2:]
        y, x = (torch.linspace(-1, 1, n, device=image.device) for n in (height, width))
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 2)
        # Every row bends the same grid, so the spline's basis is computed once: `self(grid)`, a batch size cheaper.
        distance = (grid[:, None] - self.control).abs().sum(dim=-1)
        basis = distance.square() * torch.log(distance + 1e-6)
        moved = grid @ self.theta[:, :, :2].mT + self.theta[:, None, :, 2]
        at = (moved + (self.bend @ basis.T)[..., None]).reshape(len(image), height, width, 2)
        return F.grid_sample(image, at, padding_mode="reflection", align_corners=True)


def random_transform(
    num_rows: int, affine_sigma: float, spline_sigma: float, generator: torch.Generator, side: int = 5
) -> SpatialTransform:
    """Draw one transform per row; sigmas 0.05 and 0.005 are those of the predecessors."""
    noise = torch.randn(num_rows, 2, 3, generator=generator) * affine_sigma
    theta = noise + torch.eye(2, 3)
    y, x = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    control = torch.stack((x, y), dim=-1).reshape(-1, 2)
    bend = torch.randn(num_rows, side * side, generator=generator) * spline_sigma
    return SpatialTransform(theta, control, bend)


def equivariance(
    keypoints: Float[Tensor, "B K 3"], of_warped: Float[Tensor, "B K 3"], transform: SpatialTransform
) -> Float[Tensor, ""]:
    """L_E = |x - T(x(T^-1 warped picture))|_1 over x and y (face-vid2vid 3.4).

    The warped picture shows at p what the original shows at T(p): a point seen there at q lies at T(q) in the original.
    """
    return (keypoints[..., :2] - transform(of_warped[..., :2])).abs().mean()


def keypoint_prior(
    keypoints: Float[Tensor, "B K 3"], together: Sequence[int] = (), threshold: float = 0.1, mean_depth: float = 0.0
) -> Float[Tensor, ""]:
    """L_L = sum_{i != j} max(0, D_t - |x_i - x_j|^2) + |mean z - z_t| (face-vid2vid A.2).

    Pairs within `together` (points tied to landmarks, which lie close by nature) are left out.
    """
    num = keypoints.shape[1]
    distance2 = (keypoints[:, :, None] - keypoints[:, None]).square().sum(dim=-1)
    apart = 1 - torch.eye(num, device=keypoints.device)
    if len(together):
        tied = torch.zeros(num, device=keypoints.device)
        tied[list(together)] = 1
        apart = apart * (1 - tied[:, None] * tied)
    crowding = (F.relu(threshold - distance2) * apart).sum(dim=(1, 2)).mean()
    return crowding + (keypoints[..., 2].mean(dim=1) - mean_depth).abs().mean()


def head_pose(
    pitch_yaw_roll: Float[Tensor, "B 3"], truth_deg: Float[Tensor, "B 3"], weight: Float[Tensor, " B"]
) -> Float[Tensor, ""]:
    """L_H = mean |angle - truth| in degrees over the rows with weight."""
    return row_mean((pitch_yaw_roll - truth_deg).abs().mean(dim=1), weight)


def deformation(delta: Float[Tensor, "B K 3"]) -> Float[Tensor, ""]:
    """L_Delta = |delta|_1, mean: expressions stay small and the pose does not hide in them."""
    return delta.abs().mean()


def wing(error: Float[Tensor, "*S"], omega: float = 10.0, epsilon: float = 2.0) -> Float[Tensor, "*S"]:
    """Omega ln(1 + |d| / epsilon) below omega, |d| - C beyond, continuous (Feng et al. 2018, Eq. 5)."""
    size = error.abs()
    constant = omega - omega * torch.log(torch.tensor(1 + omega / epsilon)).item()
    return torch.where(size < omega, omega * torch.log1p(size / epsilon), size - constant)


SPAN_PX = 4.0
"""Up to here the error of a span counts by its square."""


def landmark_guidance(
    keypoints: Float[Tensor, "B K 3"],
    landmarks: Float[Tensor, "B L 2"],
    ties: Sequence[Tie],
    weight: Float[Tensor, " B"],
) -> Float[Tensor, ""]:
    """L_guide = mean over ties of Wing(l_i - x_i) in px of a 256 px crop, divided by 128 (LivePortrait Eq. 3).

    Args:
        keypoints: in [-1, 1].
        landmarks: fractions of the side.
        ties: which mean of keypoints belongs on which mean of landmarks.
        weight: of each row.
    """
    error = wing(_off(keypoints, landmarks, ties) * HALF_SIDE_PX) / HALF_SIDE_PX
    return row_mean(error.mean(dim=(1, 2)), weight)


def _off(
    keypoints: Float[Tensor, "B K 3"], landmarks: Float[Tensor, "B L 2"], ties: Sequence[Tie]
) -> Float[Tensor, "B T 2"]:
    """How far each tie's keypoints are from its landmarks, x y, in [-1, 1]."""
    seen = torch.stack([keypoints[:, list(tie.keypoints), :2].mean(dim=1) for tie in ties], dim=1)
    x = torch.stack([landmarks[:, list(tie.landmarks_x), 0].mean(dim=1) for tie in ties], dim=1)
    y = torch.stack([landmarks[:, list(tie.landmarks_y), 1].mean(dim=1) for tie in ties], dim=1)
    return seen - (torch.stack((x, y), dim=-1) * 2 - 1)


def span_guidance(
    keypoints: Float[Tensor, "B K 3"],
    landmarks: Float[Tensor, "B L 2"],
    spans: Sequence[tuple[Tie, Tie]],
    weight: Float[Tensor, " B"],
) -> Float[Tensor, ""]:
    """Mean over spans of Huber((l_i - l_j) - (x_i - x_j)) in px of a 256 px crop, divided by 128 (ours).

    What opens is a distance of a few pixels: where the face is in the picture cancels, and with it most of the error
    that `landmark_guidance` is busy with. Huber and not Wing: Wing hardly minds a shut lid among open ones, the error
    that counts here (docs/log.md).

    Args:
        keypoints: in [-1, 1].
        landmarks: fractions of the side.
        spans: pairs of ties, such as both lids of an eye.
        weight: of each row.
    """
    one, other = (_off(keypoints, landmarks, [span[end] for span in spans]) for end in (0, 1))
    apart = (one - other) * HALF_SIDE_PX
    error = F.smooth_l1_loss(apart, torch.zeros_like(apart), reduction="none", beta=SPAN_PX) / HALF_SIDE_PX
    return row_mean(error.mean(dim=(1, 2)), weight)


def reconstruction(
    image: Float[Tensor, "B 3 H W"], target: Float[Tensor, "B 3 H W"], weight: Float[Tensor, "B 1 H W"], scales: int = 3
) -> Float[Tensor, ""]:
    """Weighted L1, averaged over `scales` sizes, each half the one before: |I - I_target|_1 w / sum w."""
    total = image.new_zeros(())
    difference = image - target
    for scale in range(scales):
        if scale:
            difference, weight = F.avg_pool2d(difference, 2), F.avg_pool2d(weight, 2)
        total = total + (difference.abs() * weight).sum() / (3 * weight.sum())
    return total / scales


def painted(
    image: Float[Tensor, "B 3 H W"], moved: Float[Tensor, "B 3 H W"], weight: Float[Tensor, "B 1 H W"]
) -> Float[Tensor, ""]:
    """L_painted = |I - I_moved|_1 w / sum w: how far a frame departs from the moved source (ours).

    Where motion is not known exactly, a blur has less L1 error than sharp fur that lies a pixel off. It departs from
    the moved source by far more than what it gains, a mouth that is painted open by just that much: at a fifth to a
    third of the weight of `reconstruction` the first does not pay and the second does.
    """
    return ((image - moved).abs() * weight).sum() / (3 * weight.sum())


def region_weight(
    points: Float[Tensor, "B 5 2"], side_px: int, boost: float, radius: float = 0.36
) -> Float[Tensor, "B 1 S S"]:
    """1 everywhere plus `boost` around eyes and mouth: Gaussians of `radius` times the eye distance."""
    eyes, mouth = points[:, :2], points[:, 3:].mean(dim=1, keepdim=True)
    mouth_wide = (points[:, 3] - points[:, 4]).norm(dim=-1)
    eye_distance = (points[:, 0] - points[:, 1]).norm(dim=-1).clamp(min=0.05)
    centres = torch.cat((eyes, mouth), dim=1)
    sigma = torch.stack((eye_distance, eye_distance, torch.maximum(eye_distance, 1.2 * mouth_wide)), dim=1) * radius
    at = (torch.arange(side_px, device=points.device) + 0.5) / side_px
    across = torch.exp(-0.5 * ((at - centres[..., :1]) / sigma[..., None]).square())
    down = torch.exp(-0.5 * ((at - centres[..., 1:]) / sigma[..., None]).square())
    bumps = (down[:, :, :, None] * across[:, :, None, :]).amax(dim=1, keepdim=True)
    return 1 + boost * bumps


def hinge_generator(scores: Sequence[Tensor]) -> Float[Tensor, ""]:
    """-mean D(fake), averaged over the discriminator's scales."""
    return torch.stack([-score.float().mean() for score in scores]).mean()


def hinge_discriminator(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Float[Tensor, ""]:
    """Mean max(0, 1 - D(real)) + mean max(0, 1 + D(fake)), averaged over the scales."""
    terms = [F.relu(1 - r.float()).mean() + F.relu(1 + f.float()).mean() for r, f in zip(real, fake, strict=True)]
    return torch.stack(terms).mean()


def feature_matching(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Float[Tensor, ""]:
    """Mean |D_l(real) - D_l(fake)|_1 over the discriminator's layers; the real side takes no gradient."""
    terms = [(r.detach().float() - f.float()).abs().mean() for r, f in zip(real, fake, strict=True)]
    return torch.stack(terms).mean()


def gradient_penalty(scores: Sequence[Tensor], image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, ""]:
    """R1 = 1/2 E |grad_I sum D(I)|_2^2 on real pictures (Mescheder et al. 2018, Eq. 9).

    Args:
        scores: what the discriminator says about `image`, which must require a gradient.
        image: the real pictures.
    """
    total = torch.stack([score.float().sum() for score in scores]).sum()
    (slope,) = torch.autograd.grad(total, image, create_graph=True)
    return 0.5 * slope.float().square().sum(dim=(1, 2, 3)).mean()


def identity_distance(
    ours: Float[Tensor, "B E"], theirs: Float[Tensor, "B E"], weight: Float[Tensor, " B"]
) -> Float[Tensor, ""]:
    """L_faceid = mean 1 - cos(e(I), e(I_target)) over the rows with weight; the target takes no gradient."""
    return row_mean(1 - F.cosine_similarity(ours.float(), theirs.detach().float(), dim=1), weight)


def motion_guard(new: Motion, old: Motion) -> Float[Tensor, ""]:
    """L_guard = |R - R_0|_1 + |delta - delta_0|_1 + |t - t_0|_1 + |s - s_0|_1, each a mean; only `new` learns.

    Canonical points are left free: they describe who is seen, not what is played.
    """
    pairs = (
        (new.rotation(), old.rotation()), (new.delta, old.delta),
        (new.shift[:, :2], old.shift[:, :2]), (new.scale, old.scale),
    )  # fmt: skip
    return torch.stack([(ours - theirs.detach()).abs().mean() for ours, theirs in pairs]).sum()


class Partners(NamedTuple):
    """Keypoints with a known place in the face, and for each of them the one that takes its place in a mirror."""

    keypoints: Sequence[int]
    mirrored: Sequence[int]


def flip_consistency(seen: Motion, of_mirrored: Motion, partners: Partners) -> Float[Tensor, ""]:
    """L_flip = |R' - X R X|_1 + |t' - X t|_1 + |s' - s|_1 + |x_c' - X P x_c|_1 + |delta' - X P delta|_1, each a mean.

    X = diag(-1, 1, 1) mirrors left and right (yaw and roll change sign), P swaps partners. Points without a known
    partner, and t_z, which no picture shows, are left out.
    """
    mirror = seen.shift.new_tensor([-1.0, 1.0, 1.0])
    ours, theirs = list(partners.keypoints), list(partners.mirrored)
    pairs = [
        (of_mirrored.rotation(), mirror[:, None] * seen.rotation() * mirror),
        (of_mirrored.shift[:, :2], seen.shift[:, :2] * mirror[:2]),
        (of_mirrored.scale, seen.scale),
    ]
    if ours:
        pairs += [
            (there[:, theirs], here[:, ours] * mirror)
            for there, here in ((of_mirrored.canonical, seen.canonical), (of_mirrored.delta, seen.delta))
        ]
    return torch.stack([(a - b).abs().mean() for a, b in pairs]).sum()


def agreement(
    ours: Float[Tensor, "B *S"], theirs: Float[Tensor, "B *S"], weight: Float[Tensor, " B"]
) -> Float[Tensor, ""]:
    """Mean |a - b|_1 over the rows with weight: two identities in one performance share one expression (ours)."""
    return row_mean((ours - theirs).abs().flatten(1).mean(dim=1), weight)


def row_mean(values: Float[Tensor, " B"], weight: Float[Tensor, " B"]) -> Float[Tensor, ""]:
    """Weighted mean; 0 when no row has weight."""
    return (values * weight).sum() / weight.sum().clamp(min=1e-6)
