"""Many 64-bit hashes -> those within a few bits of a query, without looking at all of them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8, UInt64

_BANDS = 4
_BAND_BITS = 16
_FLIPS = np.concatenate([[0], 1 << np.arange(_BAND_BITS)]).astype(np.int64)


class Hits(NamedTuple):
    """Pairs of a query and an indexed hash."""

    query: Int64[np.ndarray, " H"]
    entry: Int64[np.ndarray, " H"]
    bits: UInt8[np.ndarray, " H"]
    """In how many bits they differ."""


class HashIndex:
    """Four tables, one for each quarter of the hash; a query looks up its quarters and all that differ in one bit.

    Everything within 7 bits is found; what lies further away is found if its errors are spread unevenly (at 10 bits
    about three of four). One table costs 8 bytes a hash and 0.5 MB.
    """

    def __init__(self, hashes: UInt64[np.ndarray, " M"]) -> None:
        self._hashes = hashes
        self._orders: list[np.ndarray] = []
        self._starts: list[np.ndarray] = []
        for band in range(_BANDS):
            quarter = _quarter(hashes, band)
            order = np.argsort(quarter, kind="stable")
            self._orders.append(order)
            self._starts.append(np.searchsorted(quarter[order], np.arange((1 << _BAND_BITS) + 1)))

    def __call__(self, queries: UInt64[np.ndarray, " Q"], max_bits: int) -> Hits:
        """All pairs that share a quarter up to one bit and differ in at most `max_bits`, each once."""
        found: list[np.ndarray] = []
        for band in range(_BANDS):
            probes = (_quarter(queries, band)[:, None] ^ _FLIPS).ravel()
            first, end = self._starts[band][probes], self._starts[band][probes + 1]
            counts = end - first
            query = np.repeat(np.arange(len(probes)) // len(_FLIPS), counts)
            places = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
            entry = self._orders[band][places]
            close = np.bitwise_count(queries[query] ^ self._hashes[entry]) <= max_bits
            found.append(query[close] * len(self._hashes) + entry[close])
        pairs = np.unique(np.concatenate(found))
        query, entry = pairs // max(1, len(self._hashes)), pairs % max(1, len(self._hashes))
        return Hits(query, entry, np.bitwise_count(queries[query] ^ self._hashes[entry]))


def _quarter(hashes: UInt64[np.ndarray, " N"], band: int) -> Int64[np.ndarray, " N"]:
    return ((hashes >> np.uint64(band * _BAND_BITS)) & np.uint64((1 << _BAND_BITS) - 1)).astype(np.int64)
