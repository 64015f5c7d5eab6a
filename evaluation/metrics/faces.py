"""Frames and a detector -> upright squares of the head, as an identity or expression network wants them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from data_pipeline.crop import FRAMINGS, crop_transform, warp_crop
from data_pipeline.records import Detection, Species
from evaluation.metrics.points import best_detection
from evaluation.similarity import similarity

Detector = Callable[..., list[list[Detection]]]
ARCFACE_112 = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
"""Where InsightFace's networks for people expect the five points in their 112 px square."""
TIGHT = 0.72
"""Our own square around the head is this share of the crop that is animated: little background, all of the face."""


class Heads(NamedTuple):
    """Aligned heads of some frames."""

    pictures: UInt8[np.ndarray, "N S S 3"]
    """Of the frames in which a head was found."""
    found: Bool[np.ndarray, " T"]
    """Which of the looked-at frames those are."""


def spread(count: int, limit: int) -> list[int]:
    """At most `limit` positions, evenly over all, the first and the last among them."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, limit))})


def located(
    frames: Sequence[UInt8[np.ndarray, "S S 3"]],
    species: Species,
    detector: Detector | None,
    known: Sequence[Float[np.ndarray, "5 2"]] | None = None,
) -> list[Float32[np.ndarray, "5 2"] | None]:
    """Five points of each frame: the detector's, where it finds none the known ones; None where there are neither.

    Heads of other species count too: what a face has become is for the identity to say. Of results nothing is known
    that would not hide a lost head: give their known points only where there is no detector.
    """
    points: list[np.ndarray | None] = [None] * len(frames)
    if known is not None:
        points = [five.astype(np.float32) for five in known]
    if detector is None:
        return points
    best = [best_detection(found, species) or best_detection(found, None) for found in detector(list(frames))]
    return [fallback if one is None else one.points_xy for one, fallback in zip(best, points, strict=True)]


def aligned(
    frames: Sequence[UInt8[np.ndarray, "S S 3"]],
    points: Sequence[Float32[np.ndarray, "5 2"] | None],
    species: Species,
    side_px: int,
    template: tuple[tuple[float, float], ...] | None,
) -> Heads:
    """Cut the heads out, upright, their points where the network wants them."""
    pictures = []
    for frame, five in zip(frames, points, strict=True):
        if five is not None:
            square = head_square(five, species, side_px) if template is None else fitted(template, five)
            pictures.append(warp_crop(frame, square, side_px))
    stacked = np.stack(pictures) if pictures else np.zeros((0, side_px, side_px, 3), np.uint8)
    return Heads(stacked, np.array([five is not None for five in points], bool))


def head_square(points: Float32[np.ndarray, "5 2"], species: Species, side_px: int) -> Float32[np.ndarray, "2 3"]:
    """Our own square of a head, without a template: crop pixels -> frame pixels."""
    framing = FRAMINGS[species]
    return crop_transform(points, species, side_px, scale=TIGHT * framing.scale, shift=framing.shift / 2)


def fitted(template: tuple[tuple[float, float], ...], points: Float32[np.ndarray, "5 2"]) -> Float32[np.ndarray, "2 3"]:
    """Shift, turn and zoom that lays the template on the points: square pixels -> frame pixels."""
    return similarity(np.asarray(template), points).astype(np.float32)
