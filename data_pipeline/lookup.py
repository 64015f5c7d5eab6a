"""Fingerprints -> pairs of samples that might be alike, with guesses of which frames correspond."""

import functools
import math
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32, UInt8, UInt32, UInt64

from data_pipeline.hash_index import HashIndex
from data_pipeline.hashes import plain_hashes, view_hashes, views
from data_pipeline.ordered_pool import OrderedPool

_KEY_FRAMES = 12
_INDEXED_FRAMES = 24
_CHUNK = 32
_NAMES = ("owner", "frame", "source")
_ROW = np.dtype(
    [("one", "u4"), ("other", "u4"), ("bits", "u1"), ("frame", "u1"), ("other_frame", "u1"), ("view", "u1")]
)
"""A guess as it is stored: 12 bytes, for there may be a hundred of each sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What near-duplicates are recognised by."""

    key: str
    source_id: str
    thumbs: UInt8[np.ndarray, "N P P"]
    """`hashes.thumbnails` of the frames; may lie on disk (a memory map)."""
    rank: float
    """The highest of a group is kept."""
    exempt: bool = False
    """Rendered media: alike by intention."""


def fingerprint_of(record: Mapping[str, Any], thumbs: UInt8[np.ndarray, "N P P"], exempt: bool) -> Fingerprint:
    """Of a sample's record; longer clips hold more than shorter copies, unless the head is that much smaller."""
    quality = record["quality"]
    rank = quality["min_side_px"] * quality["score"] * math.sqrt(record["num_frames"])
    return Fingerprint(key=record["key"], source_id=record["source_id"], thumbs=thumbs, rank=rank, exempt=exempt)


class Guess(NamedTuple):
    """Frame `frame` of sample number `one`, seen under a view, may be frame `other_frame` of sample `other`."""

    bits: int
    one: int
    other: int
    frame: int
    other_frame: int
    view: int


class Limits(NamedTuple):
    """How much is looked at."""

    max_bits: int
    max_guesses: int
    """For each pair."""
    max_candidates: int
    """Other samples for each sample: those with the fewest differing bits."""


class _Table(NamedTuple):
    """The indexed frames of all samples, and the samples' sources as numbers."""

    hashes: HashIndex
    owner: UInt32[np.ndarray, " M"]
    frame: UInt8[np.ndarray, " M"]
    source: Int32[np.ndarray, " N"]


class _Query(NamedTuple):
    """A sample whose frames are looked up."""

    number: int
    asked: UInt64[np.ndarray, " K"]
    thumbs: UInt8[np.ndarray, "K P P"]


def pairs_alike(
    group: Sequence[Fingerprint], limits: Limits, pool: OrderedPool, among: Collection[str] | None = None
) -> Iterator[list[Guess]]:
    """For each pair of different sources that might be alike, the best guesses, best first; pairs in order.

    Args:
        group: all samples; guesses name them by their place here.
        limits: how much is looked at.
        pool: who does the work; several processes map the tables from a temporary folder.
        among: give only pairs in which one of these keys is; None gives all.
    """
    if len(group) < 2:
        return
    table = _make_table(group)
    asked_for = np.array([among is None or p.key in among for p in group])
    with tempfile.TemporaryDirectory(prefix="pawtrait-lookup-") as folder:
        if pool.is_shared:
            table.hashes.save(Path(folder))
            for name in _NAMES:
                np.save(Path(folder) / f"{name}.npy", getattr(table, name), allow_pickle=False)
            np.save(Path(folder) / "asked_for.npy", asked_for)
            work = partial(_find_in, folder, limits)
        else:
            work = partial(_find, table, asked_for, limits)
        found = [rows for rows in pool.map(work, _queries(group)) if len(rows)]
    yield from _by_pair(np.concatenate(found) if found else np.zeros(0, _ROW), limits.max_guesses)


def _make_table(group: Sequence[Fingerprint]) -> _Table:
    kept = [_spread(len(p.thumbs), _INDEXED_FRAMES) for p in group]
    hashes = np.concatenate([plain_hashes(p.thumbs[k]) for p, k in zip(group, kept, strict=True)])
    owner = np.repeat(np.arange(len(group), dtype=np.uint32), [len(k) for k in kept])
    source = np.unique([p.source_id for p in group], return_inverse=True)[1].astype(np.int32)
    return _Table(HashIndex(hashes), owner, np.concatenate(kept).astype(np.uint8), source)


def _queries(group: Sequence[Fingerprint]) -> Iterator[list[_Query]]:
    numbered = iter(enumerate(group))
    while chunk := list(islice(numbered, _CHUNK)):
        asked = [_spread(len(p.thumbs), _KEY_FRAMES) for _, p in chunk]
        yield [
            _Query(number, frames.astype(np.uint64), p.thumbs[frames])
            for (number, p), frames in zip(chunk, asked, strict=True)
        ]


def _find_in(folder: str, limits: Limits, queries: list[_Query]) -> np.ndarray:
    table, asked_for = _mapped(folder)
    return _find(table, asked_for, limits, queries)


@functools.cache
def _mapped(folder: str) -> tuple[_Table, np.ndarray]:
    arrays = [np.load(Path(folder) / f"{name}.npy", mmap_mode="r") for name in (*_NAMES, "asked_for")]
    return _Table(HashIndex.load(Path(folder)), *arrays[:3]), arrays[3]


def _find(table: _Table, asked_for: np.ndarray, limits: Limits, queries: list[_Query]) -> np.ndarray:
    """All guesses of some samples."""
    return np.concatenate([_guesses(table, asked_for, limits, query) for query in queries])


def _guesses(table: _Table, asked_for: np.ndarray, limits: Limits, query: _Query) -> np.ndarray:
    num_views = len(views())
    hits = table.hashes(view_hashes(query.thumbs).ravel(), limits.max_bits)
    other = table.owner[hits.entry]
    wanted = table.source[other] != table.source[query.number]
    if not asked_for[query.number]:
        wanted &= asked_for[other]
    rows = np.zeros(int(wanted.sum()), _ROW)
    rows["one"], rows["other"], rows["bits"] = query.number, other[wanted], hits.bits[wanted]
    rows["frame"] = query.asked[hits.query[wanted] // num_views]
    rows["view"] = hits.query[wanted] % num_views
    rows["other_frame"] = table.frame[hits.entry[wanted]]
    rows = rows[np.lexsort((rows["other_frame"], rows["frame"], rows["bits"], rows["view"], rows["other"]))]
    rows = rows[_place_in_run(rows["other"].astype(np.int64) * num_views + rows["view"]) == 0]  # one guess a view
    rows = rows[np.lexsort((rows["view"], rows["frame"], rows["bits"], rows["other"]))]
    rows = rows[_place_in_run(rows["other"]) < limits.max_guesses]
    best = rows[_place_in_run(rows["other"]) == 0]
    if len(best) > limits.max_candidates:
        best = best[np.lexsort((best["other"], best["bits"]))][: limits.max_candidates]
        rows = rows[np.isin(rows["other"], best["other"])]
    return rows


def _by_pair(rows: np.ndarray, max_guesses: int) -> Iterator[list[Guess]]:
    """Guesses of both directions, put together."""
    low, high = np.minimum(rows["one"], rows["other"]), np.maximum(rows["one"], rows["other"])
    # Of equal guesses the order must not depend on who was asked first.
    order = np.lexsort((rows["view"], rows["other_frame"], rows["frame"], rows["one"], rows["bits"], high, low))
    rows, pair = rows[order], (low.astype(np.int64) << 32 | high)[order]
    rows = rows[_place_in_run(pair) < max_guesses]
    mine: list[Guess] = []
    for row in rows:
        guess = Guess(*(int(row[name]) for name in Guess._fields))
        if mine and {mine[0].one, mine[0].other} != {guess.one, guess.other}:
            yield mine
            mine = []
        mine.append(guess)
    if mine:
        yield mine


def _place_in_run(values: np.ndarray) -> np.ndarray:
    """Of each value of a sorted array, how many equal ones stand before it."""
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1])) if len(values) else np.zeros(0, int)
    lengths = np.diff(np.append(starts, len(values)))
    return np.arange(len(values)) - np.repeat(starts, lengths)


def _spread(num: int, wanted: int) -> np.ndarray:
    """At most `wanted` of `num` frames, evenly."""
    return np.unique(np.linspace(0, num - 1, min(num, wanted)).round().astype(np.int64))
