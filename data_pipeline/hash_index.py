"""Many 64-bit hashes -> those within a few bits of a query, without looking at all of them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8, UInt32, UInt64

_BANDS = 4
_BAND_BITS = 16
_FLIPS = np.concatenate([[0], 1 << np.arange(_BAND_BITS)]).astype(np.uint64) << np.uint64(64 - _BAND_BITS)
MOST_OF_BUCKET = 64
"""Hashes of one bucket that a query is compared with. Mean buckets are as full with 175,000 clips of 24 hashes."""


class Hits(NamedTuple):
    """Pairs of a query and an indexed hash."""

    query: Int64[np.ndarray, " H"]
    entry: Int64[np.ndarray, " H"]
    bits: UInt8[np.ndarray, " H"]
    """In how many bits they differ."""


class _Table(NamedTuple):
    """The hashes turned so that one quarter leads, in ascending order."""

    turned: UInt64[np.ndarray, " M"]
    order: UInt32[np.ndarray, " M"]
    starts: Int64[np.ndarray, " S"]


class HashIndex:
    """Four tables, one for each quarter of the hash; a query looks up its quarters and all that differ in one bit.

    Everything within 7 bits is found; what lies further away is found if its errors are spread unevenly (at 10 bits
    about three of four). Of a crowded bucket only the neighbours in the order of the remaining bits are looked at, so
    that a query's time is bounded; in each of the four tables these are others. A hash costs 48 bytes, a table 0.5 MB.
    """

    def __init__(self, hashes: UInt64[np.ndarray, " M"], most_of_bucket: int = MOST_OF_BUCKET) -> None:
        self._most = most_of_bucket
        self._tables = [_table(hashes, band) for band in range(_BANDS)]

    def save(self, folder: Path) -> None:
        """Write the tables, so that several processes can map them instead of holding them."""
        for band, table in enumerate(self._tables):
            for name, array in table._asdict().items():
                np.save(folder / f"{name}{band}.npy", array, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, most_of_bucket: int = MOST_OF_BUCKET) -> "HashIndex":
        """What `save` wrote, mapped."""
        index = cls.__new__(cls)
        index._most = most_of_bucket
        index._tables = [
            _Table(*(np.load(folder / f"{name}{band}.npy", mmap_mode="r") for name in _Table._fields))
            for band in range(_BANDS)
        ]
        return index

    def __call__(self, queries: UInt64[np.ndarray, " Q"], max_bits: int) -> Hits:
        """All pairs that share a quarter up to one bit and differ in at most `max_bits`, each once."""
        size = len(self._tables[0].order)
        if not size:
            nothing = np.zeros(0, np.int64)
            return Hits(nothing, nothing, nothing.astype(np.uint8))
        found: list[np.ndarray] = []
        for band, table in enumerate(self._tables):
            probes = (_turned(queries, band)[:, None] ^ _FLIPS).ravel()
            first, end = self._spans(table, probes)
            counts = end - first
            query = np.repeat(np.arange(len(probes)) // len(_FLIPS), counts)
            places = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
            bits = np.bitwise_count(_turned(queries, band)[query] ^ table.turned[places])
            close = bits <= max_bits
            pair = query[close] * size + table.order[places[close]]
            found.append(pair << 7 | bits[close])  # one number that sorts by pair; 64 bits need seven
        pairs = np.unique(np.concatenate(found))
        query, entry = (pairs >> 7) // size, (pairs >> 7) % size
        return Hits(query, entry, (pairs & 127).astype(np.uint8))

    def _spans(self, table: _Table, probes: UInt64[np.ndarray, " P"]) -> tuple[np.ndarray, np.ndarray]:
        """First and end place of what each probe is compared with."""
        bucket = (probes >> np.uint64(64 - _BAND_BITS)).astype(np.int64)
        first, end = table.starts[bucket], table.starts[bucket + 1]
        crowded = np.flatnonzero(end - first > self._most)
        if len(crowded):
            middle = np.searchsorted(table.turned, probes[crowded])
            low = np.clip(middle - self._most // 2, first[crowded], end[crowded] - self._most)
            first[crowded], end[crowded] = low, low + self._most
        return first, end


def _table(hashes: UInt64[np.ndarray, " M"], band: int) -> _Table:
    turned = _turned(hashes, band)
    order = np.argsort(turned, kind="stable")
    turned = turned[order]
    borders = np.arange(1 << _BAND_BITS).astype(np.uint64) << np.uint64(64 - _BAND_BITS)
    starts = np.append(np.searchsorted(turned, borders), len(turned)).astype(np.int64)
    return _Table(turned, order.astype(np.uint32), starts)


def _turned(hashes: UInt64[np.ndarray, " N"], band: int) -> UInt64[np.ndarray, " N"]:
    """Rotated left so that a quarter's bits lead; differing bits stay as many."""
    if band == 0:
        return hashes
    left = np.uint64(band * _BAND_BITS)
    return hashes << left | hashes >> (np.uint64(64) - left)
