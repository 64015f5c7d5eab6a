"""Pictures -> vectors of colour and edge directions: the offline stand-in for identity and feature networks."""

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

SIDE_PX = 96
COLOUR_BINS = (8, 8, 8)
"""Lightness, green-red and blue-yellow (CIELAB)."""
LAYOUT_CELLS, EDGE_CELLS, NUM_DIRECTIONS = 6, 6, 9


IDENTITY_WEIGHTS = (4.0, 0.0, 1.0)
"""Where colours lie turns with the head, which colours there are does not."""
PICTURE_WEIGHTS = (1.0, 1.0, 1.0)


class LookFeatures:
    """A hand-made embedding of length 1: which colours there are, where they lie, where edges run.

    It knows nothing about individuals: markings and coat decide. It tells puppets and short clips of different animals
    apart; it is no identity network and must not be quoted as one.

    Args:
        weights: of the three parts; `IDENTITY_WEIGHTS` for aligned heads, `PICTURE_WEIGHTS` for whole pictures.
    """

    side_px = SIDE_PX
    template = None

    def __init__(self, weights: tuple[float, float, float]) -> None:
        self._shares = np.sqrt(np.array(weights) / sum(weights)).astype(np.float32)

    def __call__(self, pictures: UInt8[np.ndarray, "N S S 3"]) -> Float32[np.ndarray, "N D"]:
        """Vectors of RGB pictures of any size."""
        if not len(pictures):
            return np.zeros((0, 1), np.float32)
        return np.stack([self._vector(picture) for picture in pictures])

    def _vector(self, picture: UInt8[np.ndarray, "S S 3"]) -> Float32[np.ndarray, " D"]:
        small = cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
        lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)
        parts = (_colours(lab), _layout(lab), _edges(lab[..., 0]))
        weighted = [share * _of_length_one(part) for share, part in zip(self._shares, parts, strict=True) if share]
        return np.concatenate(weighted).astype(np.float32)


def _colours(lab: np.ndarray) -> np.ndarray:
    """Square roots of a colour histogram: their product is the Bhattacharyya coefficient."""
    ranges = [0, 256, 80, 176, 80, 176]  # CIELAB of natural pictures lies in the middle of its a and b axes
    inside = np.clip(lab, (0, 80, 80), (255, 175, 175)).astype(np.uint8)
    histogram = cv2.calcHist([inside], [0, 1, 2], _middle(), list(COLOUR_BINS), ranges)
    return np.sqrt(cv2.GaussianBlur(histogram.reshape(COLOUR_BINS[0], -1), (1, 3), 0.7).ravel())


def _layout(lab: np.ndarray) -> np.ndarray:
    cells = cv2.resize(lab.astype(np.float32), (LAYOUT_CELLS, LAYOUT_CELLS), interpolation=cv2.INTER_AREA)
    return (cells - (cells[..., :1].mean(), 128, 128)).ravel()


def _edges(lightness: np.ndarray) -> np.ndarray:
    """Square roots of edge strength by direction, in cells."""
    dx, dy = (cv2.Sobel(lightness, cv2.CV_32F, ax, 1 - ax) for ax in (1, 0))
    strength, angle = cv2.cartToPolar(dx, dy)
    direction = np.minimum((angle % np.pi) * (NUM_DIRECTIONS / np.pi), NUM_DIRECTIONS - 1).astype(np.int32)
    planes = [
        cv2.resize(strength * (direction == i), (EDGE_CELLS, EDGE_CELLS), interpolation=cv2.INTER_AREA)
        for i in range(NUM_DIRECTIONS)
    ]
    return np.sqrt(np.stack(planes)).ravel()


def _middle() -> np.ndarray:
    """The inscribed ellipse: corners of a head's square are background."""
    mask = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    half = SIDE_PX // 2
    return cv2.ellipse(mask, (half, half), (int(0.42 * SIDE_PX), half), 0, 0, 360, 255, -1)


def _of_length_one(part: np.ndarray) -> np.ndarray:
    return part / max(1e-9, float(np.linalg.norm(part)))
