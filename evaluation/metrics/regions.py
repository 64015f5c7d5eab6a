"""True masks or five points -> the head, eye, mouth and background regions in which errors are measured."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional as F

BODY, HEAD, EYES, MOUTH = 1, 2, 3, 4
"""Label values of a truth sidecar; 0 is background."""
GROWN_PX = 3
"""Eyes and mouth are grown so that a lid or lip that stops a little too early or late is seen."""


class Regions(NamedTuple):
    """Where each part is, per frame."""

    face: Bool[Tensor, "T S S"]
    eyes: Bool[Tensor, "T S S"]
    mouth: Bool[Tensor, "T S S"]
    background: Bool[Tensor, "T S S"]


def regions_from_labels(labels: UInt8[Tensor, "T S S"]) -> Regions:
    """Exact regions of a puppet."""
    return Regions(labels >= HEAD, _grown(labels == EYES), _grown(labels == MOUTH), labels == 0)


def regions_from_points(points: Float[Tensor, "T 5 2"], side_px: int) -> Regions:
    """Discs around the five points (pixels of the square): a stand-in for masks on real media."""
    right_eye, left_eye, nose, mouth_right, mouth_left = points.unbind(dim=1)
    size = head_size_px(points)
    mouth = (mouth_right + mouth_left) / 2
    # Fractions of the eye-to-mouth size: discs that hold an eye with its lids, and the lips of a half-open mouth.
    eyes = _disc(right_eye, 0.28 * size, side_px) | _disc(left_eye, 0.28 * size, side_px)
    lips = _disc(mouth, 0.45 * size, side_px)
    centre = (right_eye + left_eye + mouth) / 3
    return Regions(_disc(centre, 1.2 * size, side_px), eyes, lips, ~_disc((centre + nose) / 2, 2.0 * size, side_px))


def head_size_px(points: Float[Tensor, "T 5 2"]) -> Float[Tensor, " T"]:
    """Face size in pixels: mean of the eye distance and the eye-to-mouth distance; no turn of the head hides both."""
    eyes = (points[:, 0] - points[:, 1]).norm(dim=-1)
    height = ((points[:, 0] + points[:, 1]) / 2 - (points[:, 3] + points[:, 4]) / 2).norm(dim=-1)
    return (eyes + height) / 2


def _grown(mask: Bool[Tensor, "T S S"]) -> Bool[Tensor, "T S S"]:
    rows = F.max_pool2d(mask.float()[:, None], (2 * GROWN_PX + 1, 1), stride=1, padding=(GROWN_PX, 0))
    return F.max_pool2d(rows, (1, 2 * GROWN_PX + 1), stride=1, padding=(0, GROWN_PX))[:, 0] > 0


def _disc(centre: Float[Tensor, "T 2"], radius: Float[Tensor, " T"], side_px: int) -> Bool[Tensor, "T S S"]:
    along = torch.arange(side_px, device=centre.device)
    dx = along[None, None, :] - centre[:, 0, None, None]
    dy = along[None, :, None] - centre[:, 1, None, None]
    return dx.square() + dy.square() <= radius[:, None, None].square()
