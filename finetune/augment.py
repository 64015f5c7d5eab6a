"""A frame and its annotations -> the same, cropped anew, mirrored and recoloured.

Geometry is one similarity per picture, then a mirror, applied to pixels, points, landmarks, labels and pose alike;
colour is albumentations, with one draw for all pictures of a sample. Nothing else here imports albumentations.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8

from data_pipeline.records import FLIPPED_POINTS

if TYPE_CHECKING:
    import albumentations

FLIPPED_LANDMARKS = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
     45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
     54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65, 69, 68]
)  # fmt: skip
"""Order of the 70 landmarks after a mirror; its own inverse."""

Matrix = Float[np.ndarray, "2 3"]


class Frame(NamedTuple):
    """One picture with its annotations; points and landmarks in fractions of the side."""

    image: UInt8[np.ndarray, "S S 3"]
    points: Float32[np.ndarray, "5 2"]
    landmarks: Float32[np.ndarray, "L 2"]
    visible: Float32[np.ndarray, " L"]
    eye_open: Float32[np.ndarray, "2"]
    lip_open: Float32[np.ndarray, "1"]
    pose_deg: Float32[np.ndarray, "3"]
    labels: UInt8[np.ndarray, "S S"] | None = None


@dataclass(frozen=True, kw_only=True)
class Augment:
    """How far crops and colours may stray; the fields are the `data.augment` options.

    Raises:
        ValueError: a range is not two positive numbers in order.
    """

    flip_prob: float = 0.5
    scale: Sequence[float] = (0.93, 1.1)
    """Zoom of the crop; above 1 the head grows."""
    shift_frac: float = 0.04
    roll_deg: float = 6.0
    still_scale: Sequence[float] = (0.92, 1.08)
    still_shift_frac: float = 0.05
    still_roll_deg: float = 8.0
    """Between a still and its copy: what makes a still more than an identity mapping (training.md 1.2)."""
    colour: float = 0.1
    """Brightness, contrast, saturation (hue: a quarter of it); 0 leaves colours alone."""

    def __post_init__(self) -> None:
        for name in ("scale", "still_scale"):
            limits = list(getattr(self, name))
            if len(limits) != 2 or not 0 < limits[0] <= limits[1]:
                raise ValueError(f"data.augment.{name} is {limits}; give [least, most], such as [0.93, 1.1]")

    def crop_matrix(self, rng: np.random.Generator) -> Matrix:
        """A random crop: fractions of the old picture -> fractions of the new one."""
        return similarity(
            rng.uniform(self.scale[0], self.scale[1]),
            rng.uniform(-self.roll_deg, self.roll_deg),
            rng.uniform(-self.shift_frac, self.shift_frac, 2),
        )

    def still_matrix(self, rng: np.random.Generator) -> Matrix:
        """The small warp between the two copies of a still."""
        return similarity(
            rng.uniform(self.still_scale[0], self.still_scale[1]),
            rng.uniform(-self.still_roll_deg, self.still_roll_deg),
            rng.uniform(-self.still_shift_frac, self.still_shift_frac, 2),
        )

    @cached_property
    def _colour(self) -> "albumentations.Compose":
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
        import albumentations

        c = self.colour
        jitter = albumentations.ColorJitter(
            brightness=(1 - c, 1 + c), contrast=(1 - c, 1 + c), saturation=(1 - c, 1 + c), hue=(-c / 4, c / 4), p=1.0
        )
        return albumentations.Compose(
            [jitter], additional_targets={f"image{i}": "image" for i in (1, 2)}, is_check_shapes=False
        )

    def recolour(self, images: list[UInt8[np.ndarray, "_ _ 3"]], seed: int) -> list[UInt8[np.ndarray, "_ _ 3"]]:
        """The same colour jitter on one to three pictures."""
        if self.colour <= 0:
            return images
        self._colour.set_random_seed(seed)
        names = ["image", "image1", "image2"][: len(images)]
        given: dict[str, Any] = dict(zip(names, images, strict=True))
        result = self._colour(**given)
        return [result[name] for name in names]


def similarity(scale: float, roll_deg: float, shift: np.ndarray) -> Matrix:
    """Zoom, turn (clockwise on the screen) and shift about the picture's middle, in fractions of the side."""
    angle = np.deg2rad(roll_deg)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([0.5, 0.5])
    return np.column_stack((turn, middle - turn @ middle + shift))


def compose(second: Matrix, first: Matrix) -> Matrix:
    """First one, then the other."""
    return np.column_stack((second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2] + second[:, 2]))


def roll_of(matrix: Matrix) -> float:
    """By how many degrees a similarity turns the picture, clockwise on the screen."""
    return float(np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0])))


def transform(frame: Frame, matrix: Matrix, side_px: int, mirror: bool) -> Frame:
    """Apply a similarity, then a mirror if asked, to everything; the result has side `side_px`."""
    import cv2

    old = frame.image.shape[0]
    # Pixel centres lie at (i + 0.5) / side in fractions.
    in_px = matrix.copy()
    in_px[:, :2] *= side_px / old
    in_px[:, 2] = matrix[:, :2] @ np.full(2, 0.5 / old) * side_px + matrix[:, 2] * side_px - 0.5
    # Shrinking by linear interpolation alone would alias; halving by areas first is quick and exact.
    image, labels, at = frame.image, frame.labels, in_px
    if side_px * 2 == old:
        image, at = cv2.resize(image, (side_px, side_px), interpolation=cv2.INTER_AREA), _halved(in_px)
    size = (side_px, side_px)
    image = cv2.warpAffine(image, at, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if labels is not None:
        labels = cv2.warpAffine(labels, in_px, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    pitch, yaw, roll = frame.pose_deg
    result = Frame(
        image=image,
        points=_moved(frame.points, matrix),
        landmarks=_moved(frame.landmarks, matrix),
        visible=frame.visible,
        eye_open=frame.eye_open,
        lip_open=frame.lip_open,
        pose_deg=np.array([pitch, yaw, roll + roll_of(matrix)], np.float32),
        labels=labels,
    )
    return mirrored(result) if mirror else result


def _halved(in_px: Matrix) -> Matrix:
    """The same map when the input has been halved by areas: old pixel x = 2 x' + 0.5."""
    half = in_px.copy()
    half[:, 2] += in_px[:, :2] @ np.full(2, 0.5)
    half[:, :2] *= 2
    return half


def _moved(points: Float32[np.ndarray, "N 2"], matrix: Matrix) -> Float32[np.ndarray, "N 2"]:
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def mirrored(frame: Frame) -> Frame:
    """Left and right exchanged: pixels, points, landmarks, eyes, and the signs of yaw and roll."""
    flip = np.array([1.0, 0.0], np.float32)
    sign = np.array([-1.0, 1.0], np.float32)
    full = len(frame.landmarks) == len(FLIPPED_LANDMARKS)
    order = FLIPPED_LANDMARKS if full else np.arange(len(frame.landmarks))
    return Frame(
        image=np.ascontiguousarray(frame.image[:, ::-1]),
        points=(flip + sign * frame.points)[list(FLIPPED_POINTS)],
        landmarks=(flip + sign * frame.landmarks)[order],
        visible=frame.visible[order],
        eye_open=frame.eye_open[::-1].copy(),
        lip_open=frame.lip_open,
        pose_deg=frame.pose_deg * np.array([1, -1, -1], np.float32),
        labels=None if frame.labels is None else np.ascontiguousarray(frame.labels[:, ::-1]),
    )
