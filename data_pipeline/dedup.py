"""Crops -> perceptual hashes, and groups of near-duplicates."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, UInt8, UInt64

HASH_PX = 32
_HASH_SIDE = 8


def perceptual_hash(image: UInt8[np.ndarray, "H W 3"]) -> int:
    """64 bits: which of the 8x8 lowest frequencies (DCT of the 32-px grey picture) lie above their median."""
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (HASH_PX, HASH_PX), interpolation=cv2.INTER_AREA)
    low = cv2.dct(grey.astype(np.float32))[:_HASH_SIDE, :_HASH_SIDE].flatten()
    bits = low > np.median(low[1:])  # the first is the mean brightness
    return int(np.packbits(bits).view(">u8")[0])


def frame_hashes(frames: UInt8[np.ndarray, "T S S 3"]) -> list[int]:
    """Hashes of the first, middle and last frame (of a still: three times the same)."""
    return [perceptual_hash(frames[i]) for i in (0, (len(frames) - 1) // 2, len(frames) - 1)]


def hamming(a: UInt64[np.ndarray, "N"], b: UInt64[np.ndarray, "M"]) -> np.ndarray:
    """Differing bits of every pair, u8[N,M]."""
    return np.bitwise_count(a[:, None] ^ b[None])


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What near-duplicates are recognised by."""

    key: str
    source_id: str
    species: str
    hashes: tuple[int, ...]
    rank: float
    """The highest of a group is kept."""
    exempt: bool = False
    """Rendered media: alike by intention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicates:
    """Finds samples of different files that show the same moment; pieces of one file are never compared."""

    max_bits: int = 6
    """Re-encoded and resized copies of the mini corpus differ by 0-4 of 64 bits, other moments by 12 or more."""

    def __call__(self, prints: Sequence[Fingerprint]) -> dict[str, str]:
        """Dropped key -> the key that is kept instead."""
        kept_for: dict[str, str] = {}
        for species in sorted({p.species for p in prints}):
            group = sorted((p for p in prints if p.species == species and not p.exempt), key=lambda p: (-p.rank, p.key))
            kept_for |= self._within(group)
        return kept_for

    def _within(self, group: Sequence[Fingerprint]) -> dict[str, str]:
        dropped: dict[str, str] = {}
        if len(group) < 2:
            return dropped
        hashes = np.array([p.hashes for p in group], dtype=np.uint64)
        for i, one in enumerate(group):
            if one.key in dropped:
                continue
            for j in np.flatnonzero(self._close(hashes[i], hashes[i + 1 :])) + i + 1:
                other = group[int(j)]
                if other.key not in dropped and other.source_id != one.source_id:
                    dropped[other.key] = one.key
        return dropped

    def _close(self, one: UInt64[np.ndarray, "3"], others: UInt64[np.ndarray, "N 3"]) -> Bool[np.ndarray, " N"]:
        return np.all(np.bitwise_count(others ^ one) <= self.max_bits, axis=1)
