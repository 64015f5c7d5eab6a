"""Crops -> small grey thumbnails, and thumbnails -> 64-bit perceptual hashes, also of what a copy may show of them."""

import math
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8, UInt64

CLIP_PX = 32
STILL_PX = 64
"""A clip is told by its motion too; two stills of one pose differ in small things only."""
MAX_THUMBS = 48
"""A clip of 120 frames keeps every third: a copy's frame is at most 1.5 frames away from a stored one."""
_HASH_SIDE = 8
_CROP_SCALES = (1.0, 0.925, 0.85)
"""Sides of the squares that a cropped copy may show; steps of half of what a hash bears."""


class View(NamedTuple):
    """A part of a picture, perhaps mirrored: what a copy of it may show."""

    scale: float
    """Side of the part, as a share of the picture's side."""
    left: float
    """Shares of the picture's side; in the mirrored picture when `mirrored`."""
    top: float
    mirrored: bool


def views() -> list[View]:
    """The 38 views under which a picture is looked for: whole, and 3x3 places of two crop sizes, each also mirrored."""
    parts: list[View] = []
    for scale in _CROP_SCALES:
        places = [0.0] if scale == 1 else [0.0, (1 - scale) / 2, 1 - scale]
        parts += [View(scale, left, top, False) for top in places for left in places]
    return parts + [part._replace(mirrored=True) for part in parts]


def stored_frames(num_frames: int) -> UInt64[np.ndarray, " N"]:
    """Which frames of a clip keep a thumbnail: every n-th, at most MAX_THUMBS."""
    step = max(1, math.ceil(num_frames / MAX_THUMBS))
    return np.arange(0, num_frames, step).astype(np.uint64)


def thumbnails(frames: UInt8[np.ndarray, "T H W 3"]) -> UInt8[np.ndarray, "N P P"]:
    """Grey pictures of the stored frames, by area: 64 px of a still (4 kB), 32 px of a clip's (at most 48 kB)."""
    side = STILL_PX if len(frames) == 1 else CLIP_PX
    return np.stack([_thumbnail(frames[int(i)], side) for i in stored_frames(len(frames))])


def at_clip_size(thumbs: UInt8[np.ndarray, "N P P"]) -> UInt8[np.ndarray, "N 32 32"]:
    """A still's thumbnail as a clip's would be."""
    if thumbs.shape[1] == CLIP_PX:
        return thumbs
    return np.stack([cv2.resize(t, (CLIP_PX, CLIP_PX), interpolation=cv2.INTER_AREA) for t in thumbs])


def _thumbnail(image: UInt8[np.ndarray, "H W 3"], side_px: int = CLIP_PX) -> UInt8[np.ndarray, "P P"]:
    return cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (side_px, side_px), interpolation=cv2.INTER_AREA)


def perceptual_hash(image: UInt8[np.ndarray, "H W 3"]) -> int:
    """64 bits: which of the 8x8 lowest frequencies (DCT of the 32-px grey picture) lie above their median."""
    return int(plain_hashes(_thumbnail(image)[None])[0])


def plain_hashes(thumbs: UInt8[np.ndarray, "N P P"]) -> UInt64[np.ndarray, " N"]:
    """The perceptual hash of each thumbnail."""
    basis = _part_basis(1.0, 0.0)
    return _bits(basis @ at_clip_size(thumbs).astype(np.float32) @ basis.T)


def view_hashes(thumbs: UInt8[np.ndarray, "N P P"]) -> UInt64[np.ndarray, "N V"]:
    """The perceptual hashes of every view (in the order of `views()`) of each thumbnail.

    Cutting and the cosine transform are linear, and mirroring turns the sign of odd columns: nothing is resampled.
    """
    picture = at_clip_size(thumbs).astype(np.float32)
    signs = np.where(np.arange(_HASH_SIDE) % 2, -1, 1).astype(np.float32)
    found = []
    for view in views():
        left = 1 - view.scale - view.left if view.mirrored else view.left
        low = _part_basis(view.scale, view.top) @ picture @ _part_basis(view.scale, left).T
        found.append(_bits(low * signs if view.mirrored else low))
    return np.stack(found, axis=1)


def _part_basis(scale: float, offset: float) -> Float32[np.ndarray, "8 32"]:
    """Pixels of a line -> the lowest frequencies of the part of it that starts at `offset`."""
    at = (offset + scale * (np.arange(CLIP_PX) + 0.5) / CLIP_PX) * CLIP_PX - 0.5
    low = np.clip(np.floor(at), 0, CLIP_PX - 2).astype(int)
    share = np.clip(at - low, 0, 1)
    pick = np.zeros((CLIP_PX, CLIP_PX))
    pick[np.arange(CLIP_PX), low] = 1 - share
    pick[np.arange(CLIP_PX), low + 1] += share
    angle = np.pi / CLIP_PX * (np.arange(CLIP_PX) + 0.5) * np.arange(_HASH_SIDE)[:, None]
    cosine = np.cos(angle) * math.sqrt(2 / CLIP_PX)
    cosine[0] /= math.sqrt(2)
    return (cosine @ pick).astype(np.float32)


def _bits(low: Float32[np.ndarray, "N 8 8"]) -> UInt64[np.ndarray, " N"]:
    flat = low.reshape(len(low), -1)
    bits: Bool[np.ndarray, "N 64"] = flat > np.median(flat[:, 1:], axis=1, keepdims=True)  # the first is the brightness
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)


def hamming(a: UInt64[np.ndarray, "N"], b: UInt64[np.ndarray, "M"]) -> UInt8[np.ndarray, "N M"]:
    """Differing bits of every pair."""
    return np.bitwise_count(a[:, None] ^ b[None])
