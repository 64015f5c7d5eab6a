"""True masks or five points -> the head, eye, mouth and background regions in which errors are measured."""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from evaluation.protocols.pairs import Truth

BODY, HEAD, EYES, MOUTH = 1, 2, 3, 4
"""Label values of a truth sidecar; 0 is background."""
GROWN_PX = 3
"""Eyes and mouth are grown so that a lid or lip that stops a little too early or late is seen."""
Mask = UInt8[np.ndarray, "S S"]
"""1 inside, 0 outside."""


class Regions(NamedTuple):
    """Where each part of one frame is."""

    face: Mask
    eyes: Mask
    mouth: Mask
    background: Mask


class Surroundings(NamedTuple):
    """What should stay where it is while the head moves."""

    background: Mask
    shoulders: Mask


def regions_of(truth: Truth, frame: int) -> Regions | None:
    """Regions of one true frame: exact ones, else discs around its points, else None."""
    if truth.labels is not None:
        return regions_from_labels(truth.labels[frame])
    if truth.points is not None:
        return regions_from_points(truth.points[frame], truth.frames.shape[1])
    return None


def regions_from_labels(labels: UInt8[np.ndarray, "S S"]) -> Regions:
    """Exact regions of a puppet."""
    head = (labels >= HEAD).view(np.uint8)
    return Regions(head, _grown(labels == EYES), _grown(labels == MOUTH), (labels == 0).view(np.uint8))


def regions_from_points(points: Float[np.ndarray, "5 2"], side_px: int) -> Regions:
    """Discs around the five points (pixels of the square): a stand-in for masks on real media."""
    mouth, size, centre = (points[3] + points[4]) / 2, head_size_px(points), _centre(points)
    # Fractions of the eye-to-mouth size: discs that hold an eye with its lids, and the lips of a half-open mouth.
    eyes = _disc(points[0], 0.28 * size, side_px) | _disc(points[1], 0.28 * size, side_px)
    lips = _disc(mouth, 0.45 * size, side_px)
    return Regions(_disc(centre, 1.2 * size, side_px), eyes, lips, 1 - _whole_head(points, side_px))


def surroundings_from_labels(first: UInt8[np.ndarray, "S S"], now: UInt8[np.ndarray, "S S"]) -> Surroundings:
    """Pixels that are background (or body) in the first true frame and in this one."""
    return Surroundings(((first == 0) & (now == 0)).view(np.uint8), ((first == BODY) & (now == BODY)).view(np.uint8))


def surroundings_from_points(points: Float[np.ndarray, "5 2"], side_px: int) -> Surroundings:
    """A stand-in for masks: what is outside the disc of the head, split at the height of the chin."""
    outside = 1 - _whole_head(points, side_px)
    size, centre = head_size_px(points), _centre(points)
    down = (points[3] + points[4]) / 2 - (points[0] + points[1]) / 2
    down = down / max(1e-6, float(np.linalg.norm(down)))
    dx, dy = _offsets(centre, side_px)
    below = dx * down[0] + dy * down[1] > 1.2 * size
    near = np.abs(dx * down[1] - dy * down[0]) < 2.5 * size
    shoulders = outside & (below & near).view(np.uint8)
    return Surroundings(outside & (~below).view(np.uint8), shoulders)


def head_size_px(points: Float[np.ndarray, "5 2"]) -> float:
    """Face size in pixels: mean of the eye distance and the eye-to-mouth distance; no turn of the head hides both."""
    return float(head_sizes_px(points[None])[0])


def head_sizes_px(points: Float[np.ndarray, "T 5 2"]) -> Float[np.ndarray, " T"]:
    """`head_size_px` of each frame."""
    eyes = np.linalg.norm(points[:, 0] - points[:, 1], axis=-1)
    height = np.linalg.norm(points[:, :2].mean(axis=1) - points[:, 3:].mean(axis=1), axis=-1)
    return (eyes + height) / 2


def _centre(points: Float[np.ndarray, "5 2"]) -> Float[np.ndarray, "2"]:
    return (points[0] + points[1] + (points[3] + points[4]) / 2) / 3


def _whole_head(points: Float[np.ndarray, "5 2"], side_px: int) -> Mask:
    return _disc((_centre(points) + points[2]) / 2, 2.0 * head_size_px(points), side_px)


def _grown(mask: np.ndarray) -> Mask:
    return cv2.dilate(mask.view(np.uint8), np.ones((2 * GROWN_PX + 1, 2 * GROWN_PX + 1), np.uint8))


def _disc(centre: Float[np.ndarray, "2"], radius_px: float, side_px: int) -> Mask:
    dx, dy = _offsets(centre, side_px)
    return (dx * dx + dy * dy <= radius_px * radius_px).view(np.uint8)


def _offsets(centre: Float[np.ndarray, "2"], side_px: int) -> tuple[np.ndarray, np.ndarray]:
    along = np.arange(side_px, dtype=np.float32)
    return (along - centre[0])[None, :], (along - centre[1])[:, None]
