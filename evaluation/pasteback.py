"""Generated crop + the photo it came from -> the photo with the crop in it, at full resolution, without a seam."""

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

TEMPLATE_PX = 512
RAMP_PX = 16
"""The mask falls from full to nothing over this border of the template."""


@cache
def mask_template() -> UInt8[np.ndarray, "512 512"]:
    """255 inside, a ramp at the border: LivePortrait's mask template, from its formula.

    value = floor(255 max(0, 1 - d/16)), d the distance to the square [16, 496]^2; the far ramp ends one pixel later
    than the near one, as in the original file.
    """
    along = np.arange(TEMPLATE_PX, dtype=np.float64)
    outside = np.maximum(0, np.maximum(RAMP_PX - along, along - (TEMPLATE_PX - RAMP_PX)))
    distance = np.hypot(outside[:, None], outside[None, :])
    return np.floor(255 * np.maximum(0, 1 - distance / RAMP_PX)).astype(np.uint8)


def scaled_to_side(
    source_from_crop: Float32[np.ndarray, "2 3"], side_px: int, new_side_px: int
) -> Float32[np.ndarray, "2 3"]:
    """The transform of the same square when the crop has another number of pixels (pixel centres stay aligned)."""
    ratio = side_px / new_side_px
    matrix = source_from_crop.astype(np.float64).copy()
    matrix[:, 2] += matrix[:, :2] @ np.full(2, (ratio - 1) / 2)
    matrix[:, :2] *= ratio
    return matrix.astype(np.float32)


def paste_mask(
    source_from_template: Float32[np.ndarray, "2 3"], height_px: int, width_px: int
) -> Float32[np.ndarray, "height_px width_px 1"]:
    """How much of each photo pixel comes from the crop, 0-1."""
    warped = cv2.warpAffine(mask_template(), source_from_template, (width_px, height_px), flags=cv2.INTER_LINEAR)
    return (warped.astype(np.float32) / np.float32(255))[:, :, None]


def paste(
    crop: UInt8[np.ndarray, "S S 3"],
    image: UInt8[np.ndarray, "H W 3"],
    source_from_crop: Float32[np.ndarray, "2 3"],
    mask: Float32[np.ndarray, "H W 1"] | None = None,
) -> UInt8[np.ndarray, "H W 3"]:
    """Put a generated crop back into its photo; truncates to u8 as upstream does.

    Args:
        crop: generated square.
        image: the whole photo.
        source_from_crop: where the square's pixels lie in the photo.
        mask: `paste_mask` of the same square, when it is already at hand.
    """
    height_px, width_px = image.shape[:2]
    if mask is None:
        template = scaled_to_side(source_from_crop, crop.shape[0], TEMPLATE_PX)
        mask = paste_mask(template, height_px, width_px)
    warped = cv2.warpAffine(crop, source_from_crop, (width_px, height_px), flags=cv2.INTER_LINEAR)
    blended = mask * warped + (1 - mask) * image
    return np.clip(blended, 0, 255).astype(np.uint8)


def paster(
    image: UInt8[np.ndarray, "H W 3"], source_from_crop: Float32[np.ndarray, "2 3"], side_px: int
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """(Crop, photo) -> photo, for many crops at one place: the mask is made once, only its rectangle is blended."""
    return _Place(image.shape[0], image.shape[1], source_from_crop, side_px).blended


def paste_into(
    image: UInt8[np.ndarray, "H W 3"], crop: UInt8[np.ndarray, "S S 3"], source_from_crop: Float32[np.ndarray, "2 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    """`paste` for one frame of a video, where the square moves: only the rectangle around it is touched."""
    return _Place(image.shape[0], image.shape[1], source_from_crop, crop.shape[0]).blended(crop, image)


class _Place:
    """Where a square lies in a picture: its rectangle, the mask there, and the way of the pixels."""

    def __init__(self, height_px: int, width_px: int, source_from_crop: np.ndarray, side_px: int) -> None:
        matrix = source_from_crop.astype(np.float64)
        corners = np.array([[-1, -1, 1], [side_px, -1, 1], [-1, side_px, 1], [side_px, side_px, 1]]) @ matrix.T
        # OpenCV's integers end at 32 bits; an absurd square lies outside anyway.
        low = np.clip(np.floor(corners.min(axis=0)), 0, (width_px, height_px)).astype(int)
        high = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, (width_px, height_px)).astype(int)
        self.left, self.top = int(low[0]), int(low[1])
        self.right, self.bottom = int(high[0]), int(high[1])
        self.is_empty = self.right <= self.left or self.bottom <= self.top
        # Shifting by whole pixels changes no interpolation weight by more than rounding.
        self.matrix = matrix - np.array([[0, 0, self.left], [0, 0, self.top]])
        if not self.is_empty:
            template = scaled_to_side(self.matrix.astype(np.float32), side_px, TEMPLATE_PX)
            self.mask = paste_mask(template, self.bottom - self.top, self.right - self.left)

    def blended(self, crop: np.ndarray, image: np.ndarray) -> np.ndarray:
        result = image.copy()
        if self.is_empty:
            return result
        size = (self.right - self.left, self.bottom - self.top)
        warped = cv2.warpAffine(crop, self.matrix, size, flags=cv2.INTER_LINEAR)
        inside = result[self.top : self.bottom, self.left : self.right]
        blend = self.mask * warped + (1 - self.mask) * inside
        inside[:] = np.clip(blend, 0, 255).astype(np.uint8)
        return result
