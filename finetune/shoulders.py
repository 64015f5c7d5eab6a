"""Label maps, or five points -> masks of shoulders, of the head, and around eyes and lips."""

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor
from torch.nn import functional as F

from data_pipeline.records import SPECIES

SHOULDERS, HEAD = 1, 2
"""Labels of neck, body and clothes; of the head and everything in it (docs/puppets.md)."""
FACE_RADII = {"human": (2.2, 1.3), "cat": (1.0, 1.3), "dog": (1.0, 1.3), "panda": (1.6, 1.3)}
"""Half-axes of the head around the five points' mean, below the mouth, in eye distances. Chosen on puppets' labels: of
what is taken for shoulders less than 1 % is head, and it holds 55-86 % of the shoulders (docs/stitching.md)."""
EYE_REACH, MOUTH_REACH = 0.55, 0.8
"""Radii around eye and mouth centres within which retargeting may change the picture, in eye distances."""


def shoulder_mask(
    labels: UInt8[Tensor, "B H W"],
    has_labels: Bool[Tensor, " B"],
    points: Float[Tensor, "B 5 2"],
    species: Int64[Tensor, " B"],
    side_px: int,
    border_frac: float = 0.06,
    margin_frac: float = 0.0,
) -> Float[Tensor, "B 1 S S"]:
    """1 on shoulders: the labels where known; elsewhere what is below the mouth and outside the species' head ellipse.

    Args:
        labels: as in `Batch.source_labels`.
        has_labels: rows whose labels are known.
        points: fractions of the side.
        species: positions in SPECIES.
        side_px: S.
        border_frac: this lower part of the crop always counts where labels are unknown.
        margin_frac: labelled shoulders closer to the head than this share of the side are left out: a head that moves
            covers and uncovers them, rightly.
    """
    at = (torch.arange(side_px, device=points.device) + 0.5) / side_px
    centre = points.mean(dim=1)
    radii = torch.tensor([FACE_RADII[name] for name in SPECIES], device=points.device)[species]
    radii = radii * _eye_distance(points)[:, None]
    x = (at[None, None, :] - centre[:, 0, None, None]) / radii[:, 0, None, None]
    y = (at[None, :, None] - centre[:, 1, None, None]) / radii[:, 1, None, None]
    below = at[None, :, None] > points[:, 3:, 1].amax(dim=1)[:, None, None]
    guess = ((x.square() + y.square() > 1) & below) | (at > 1 - border_frac)[None, :, None]
    exact = _sized(labels == SHOULDERS, side_px) * (1 - grown(_sized(labels >= HEAD, side_px), margin_frac))
    return torch.where(has_labels[:, None, None, None], exact, guess.float()[:, None])


def head_mask(
    labels: UInt8[Tensor, "B H W"],
    has_labels: Bool[Tensor, " B"],
    points: Float[Tensor, "B 5 2"],
    shoulders: Float[Tensor, "B 1 S S"],
    reach_frac: float = 0.05,
) -> Float[Tensor, "B 1 S S"]:
    """1 where the head is or will move: labels grown by `reach_frac` of the side, or an ellipse; never on shoulders."""
    side_px = shoulders.shape[-1]
    at = (torch.arange(side_px, device=points.device) + 0.5) / side_px
    centre, distance = points.mean(dim=1), _eye_distance(points)[:, None, None]
    x = (at[None, None, :] - centre[:, 0, None, None]) / (1.5 * distance)
    y = (at[None, :, None] - centre[:, 1, None, None]) / (1.6 * distance)
    guess = (x.square() + y.square() < 1).float()[:, None]
    exact = grown(_sized(labels >= HEAD, side_px), reach_frac)
    return torch.where(has_labels[:, None, None, None], exact, guess) * (1 - shoulders)


def feature_mask(
    centres: Float[Tensor, "B N 2"], points: Float[Tensor, "B 5 2"], side_px: int, reach: float
) -> Float[Tensor, "B 1 S S"]:
    """1 within `reach` eye distances of any centre."""
    radius = reach * _eye_distance(points)
    at = (torch.arange(side_px, device=points.device) + 0.5) / side_px
    x = at[None, None, None, :] - centres[:, :, 0, None, None]
    y = at[None, None, :, None] - centres[:, :, 1, None, None]
    return ((x.square() + y.square()) < radius[:, None, None, None].square()).any(dim=1, keepdim=True).float()


def eyes_mask(points: Float[Tensor, "B 5 2"], side_px: int) -> Float[Tensor, "B 1 S S"]:
    """1 around both eyes."""
    return feature_mask(points[:, :2], points, side_px, EYE_REACH)


def lips_mask(points: Float[Tensor, "B 5 2"], side_px: int) -> Float[Tensor, "B 1 S S"]:
    """1 around the mouth and where a jaw opens to."""
    mouth = points[:, 3:].mean(dim=1)
    down = points[:, 3:].mean(dim=1) - points[:, :2].mean(dim=1)
    jaw = mouth + 0.25 * down / down.norm(dim=1, keepdim=True).clamp(min=1e-3) * _eye_distance(points)[:, None]
    return feature_mask(torch.stack((mouth, jaw), dim=1), points, side_px, MOUTH_REACH)


def grown(mask: Float[Tensor, "B 1 S S"], by_frac: float) -> Float[Tensor, "B 1 S S"]:
    """A mask widened by a share of the side."""
    by_px = round(by_frac * mask.shape[-1])
    return mask if by_px == 0 else F.max_pool2d(mask, 2 * by_px + 1, stride=1, padding=by_px)


def masked_mean(values: Float[Tensor, "B C S S"], mask: Float[Tensor, "B 1 S S"]) -> Float[Tensor, " B"]:
    """Mean over channels and the mask's pixels; 0 for an empty mask."""
    return (values * mask).sum(dim=(1, 2, 3)) / (values.shape[1] * mask.sum(dim=(1, 2, 3))).clamp(min=1e-6)


def _sized(mask: Bool[Tensor, "B H W"], side_px: int) -> Float[Tensor, "B 1 S S"]:
    return F.interpolate(mask.float()[:, None], size=(side_px, side_px), mode="nearest")


def _eye_distance(points: Float[Tensor, "B 5 2"]) -> Float[Tensor, " B"]:
    return (points[:, 0] - points[:, 1]).norm(dim=1).clamp(min=0.05)
