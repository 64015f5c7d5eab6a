"""Face landmarks of any usual count -> LivePortrait's own square around them, and the picture sizes it works with.

`data_pipeline/crop.py` frames a head from the five points of our detector. This file is for those who have landmarks of
one of the nets that upstream uses (KwaiVGI/LivePortrait) and want its very square, so that its results can be
reproduced. Three of its habits are kept: the sideways shift exists but upstream's programs never hand it on, so theirs
is 0; the angle is an arccos in the precision of the landmarks, which for float32 and an upright face is noise of up to
0.02 degrees; and pixels are cut without antialiasing.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8

from data_pipeline.crop import invert

SCALE, SHIFT = 2.3, -0.125
"""Upstream's square of a source portrait."""
DRIVING_SCALE, DRIVING_SHIFT = 2.2, -0.1
"""Upstream's square of a driving video."""
_EYES_AND_LIPS: dict[int, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {
    # Landmarks whose means are: the eye on the picture's left, the eye on its right, the mouth.
    203: ((0, 6, 12, 18), (24, 30, 36, 42), (48, 66)),
    106: ((33, 35, 40, 39), (87, 89, 94, 93), (52, 61)),
    101: ((39, 42, 45, 48), (51, 54, 57, 60), (75, 81)),
    68: ((36, 39), (42, 45), (48, 54)),
    9: ((2, 3), (0, 1), (5, 6)),
    5: ((0,), (1,), (3, 4)),
}
_SMALLEST_AXIS_PX = 1e-3


class LandmarkSquare(NamedTuple):
    """A square in a picture."""

    centre_xy: Float[np.ndarray, "2"]
    size_px: float
    """Its side, in pixels of the picture."""
    angle_deg: float
    """Roll of the head; positive turns clockwise in the picture."""


def axis_points(points: Float[np.ndarray, "L 2"], *, with_lips: bool = True) -> Float[np.ndarray, "2 2"]:
    """Landmarks -> the two points whose line is the head's vertical axis: between the eyes, and the mouth.

    Args:
        points: 203, 106, 101, 68, 9 or 5 landmarks, in pixels. 106 and 5 are InsightFace's; 203 and 101 are those of
            LivePortrait; 68 is the 300-W order; 9 is X-Pose's animal face.
        with_lips: False takes the axis from the eyes alone, for a hidden mouth: from the one eye, square to the line
            between both. Upstream has this and never uses it.

    Raises:
        ValueError: another number of landmarks.
    """
    indices = _EYES_AND_LIPS.get(len(points))
    if indices is None:
        known = ", ".join(str(count) for count in _EYES_AND_LIPS)
        raise ValueError(f"{len(points)} landmarks are of no kind that is known here; give one of {known}")
    first, second, lips = (points[list(group)].mean(axis=0) for group in indices)
    if with_lips:
        return np.stack(((first + second) / 2, lips))
    across = second - first
    return np.stack((first, first + np.array([-across[1], across[0]], points.dtype)))


def landmark_square(
    points: Float[np.ndarray, "L 2"],
    scale: float = SCALE,
    shift: float = SHIFT,
    shift_x: float = 0.0,
    with_lips: bool = True,
) -> LandmarkSquare:
    """The square around the landmarks, upright with the head; computed in the precision of the landmarks.

    Args:
        points: as in `axis_points`.
        scale: side / longer side of the landmarks' upright box.
        shift: how far the square moves down the head, in sides; negative is towards the forehead.
        shift_x: how far it moves to the head's right in the picture, in sides; upstream's programs leave it at 0.
        with_lips: as in `axis_points`.

    Raises:
        ValueError: an unknown number of landmarks, a value that is not finite, or all on one spot.
    """
    if not np.isfinite(points).all():
        raise ValueError("the landmarks hold a value that is not a number; detect the face again")
    eyes, mouth = axis_points(points, with_lips=with_lips)
    down = mouth - eyes
    length = np.linalg.norm(down)
    down = down / length if length > _SMALLEST_AXIS_PX else np.array([0, 1], points.dtype)
    right = np.array([down[1], -down[0]], points.dtype)
    angle = np.arccos(np.clip(right[0], -1, 1))
    middle = points.mean(axis=0)
    upright = (points - middle) @ np.stack((right, down)).T
    low, high = upright.min(axis=0), upright.max(axis=0)
    size = float((high - low).max()) * scale
    if size <= _SMALLEST_AXIS_PX:
        raise ValueError("the landmarks lie on one spot; there is no face to crop")
    across, along = (low + high) / 2
    centre = middle + right * (across + shift_x * size) + down * (along + shift * size)
    return LandmarkSquare(centre.astype(points.dtype), size, float(np.rad2deg(angle if right[1] >= 0 else -angle)))


def square_transform(square: LandmarkSquare, side_px: int) -> Float32[np.ndarray, "2 3"]:
    """The similarity from the pixels of a crop of this side to the picture; the crop's middle is the square's centre.

    Raises:
        ValueError: the side is below one pixel.
    """
    if side_px < 1:
        raise ValueError(f"side_px={side_px} is no crop; give 1 or more, usually 512")
    angle, zoom = np.deg2rad(square.angle_deg), square.size_px / side_px
    linear = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corner = square.centre_xy.astype(np.float64) - linear @ np.full(2, side_px / 2)
    return np.concatenate((linear, corner[:, None]), axis=1).astype(np.float32)


def landmark_crop(
    points: Float[np.ndarray, "L 2"],
    side_px: int,
    scale: float = SCALE,
    shift: float = SHIFT,
    shift_x: float = 0.0,
    rotate: bool = True,
) -> Float32[np.ndarray, "2 3"]:
    """Landmarks -> `source_from_crop`, upstream's similarity from crop pixels to picture pixels.

    Args:
        points: as in `axis_points`. Upstream crops a human photo by 106, a human video by 203, an animal by 9.
        side_px: side of the crop; upstream's is 512.
        scale: as in `landmark_square`.
        shift: as in `landmark_square`.
        shift_x: as in `landmark_square`.
        rotate: take the head's roll out. Without it the square keeps centre and side and stands upright.

    Raises:
        ValueError: as `landmark_square` and `square_transform`.
    """
    square = landmark_square(points, scale, shift, shift_x)
    return square_transform(square if rotate else square._replace(angle_deg=0.0), side_px)


def driving_box(
    points: Float[np.ndarray, "T L 2"], scale: float = DRIVING_SCALE, shift: float = DRIVING_SHIFT
) -> Float64[np.ndarray, "4"]:
    """Landmarks of every frame -> one upright box `xyxy` for the whole driving video: the mean of the frames' squares.

    Args:
        points: landmarks of T frames; upstream takes 203.
        scale: as in `landmark_square`.
        shift: as in `landmark_square`.

    Raises:
        ValueError: no frame, or as `landmark_square`.
    """
    if not len(points):
        raise ValueError("there are no landmarks of a driving video; give those of at least one frame")
    boxes = []
    for frame in points:
        square = landmark_square(frame, scale, shift)
        boxes.append((*(square.centre_xy - square.size_px / 2), *(square.centre_xy + square.size_px / 2)))
    return np.array(boxes, np.float64).mean(axis=0)


def box_crop(box_xyxy: Float[np.ndarray, "4"], side_px: int, angle_deg: float = 0.0) -> Float32[np.ndarray, "2 3"]:
    """A box -> `source_from_crop` of the square of its width about its centre, turned by an angle (upstream: 0)."""
    x1, y1, x2, y2 = box_xyxy.astype(np.float64)
    return square_transform(LandmarkSquare(np.array([x1 + x2, y1 + y2]) / 2, float(x2 - x1), angle_deg), side_px)


def cut_square(
    image: UInt8[np.ndarray, "H W 3"], source_from_crop: Float32[np.ndarray, "2 3"], side_px: int
) -> UInt8[np.ndarray, "S S 3"]:
    """Cut the square out as upstream does: bilinear, no antialiasing, black outside.

    OpenCV before 5 rounds the sampled place to 1/32 pixel, 5 does not; 3 % of the pixels differ by a grey level.
    """
    return cv2.warpAffine(image, invert(source_from_crop), (side_px, side_px), flags=cv2.INTER_LINEAR)


def limited_size(height_px: int, width_px: int, max_side_px: int = 1280, multiple: int = 2) -> tuple[int, int]:
    """Height and width of a picture after upstream's limit on source pictures: its longer side, then whole multiples.

    Args:
        height_px: of the picture.
        width_px: of the picture.
        max_side_px: longest side that is left as it is; 0 or less is no limit.
        multiple: both sides are cut down to multiples of this, unless nothing would be left of one.
    """
    height_px, width_px = _scaled_size(height_px, width_px, max_side_px)
    even = height_px - height_px % max(multiple, 1), width_px - width_px % max(multiple, 1)
    return even if all(even) else (height_px, width_px)


def limited(
    image: UInt8[np.ndarray, "H W 3"], max_side_px: int = 1280, multiple: int = 2
) -> UInt8[np.ndarray, "H_out W_out 3"]:
    """A picture -> the same within the limit of `limited_size`: scaled bilinearly, then cut at the bottom and right."""
    height_px, width_px = _scaled_size(image.shape[0], image.shape[1], max_side_px)
    if (height_px, width_px) != image.shape[:2]:
        image = cv2.resize(image, (width_px, height_px), interpolation=cv2.INTER_LINEAR)
    height_px, width_px = limited_size(height_px, width_px, max_side_px, multiple)
    return np.ascontiguousarray(image[:height_px, :width_px])


def _scaled_size(height_px: int, width_px: int, max_side_px: int) -> tuple[int, int]:
    longer = max(height_px, width_px)
    if max_side_px <= 0 or longer <= max_side_px:
        return height_px, width_px
    # Upstream multiplies by the rounded ratio before it takes the whole number; dividing last could give one more.
    if height_px > width_px:
        return max_side_px, int(width_px * (max_side_px / height_px))
    return int(height_px * (max_side_px / width_px)), max_side_px
