"""Fingerprints of crops -> pairs that show the same, clusters of them, and what is left out."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from data_pipeline.alignment import Likeness, likeness
from data_pipeline.clusters import smallest_of_group
from data_pipeline.hash_index import HashIndex
from data_pipeline.hashes import plain_hashes, view_hashes, views

_KEY_FRAMES = 12
_INDEXED_FRAMES = 24


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


class Match(NamedTuple):
    """Two samples that show the same."""

    a: str
    b: str
    same_kind: bool
    """Both stills or both clips; a still that is a frame of a clip is not dropped for it, nor the other way round."""


class Duplicates(NamedTuple):
    """What was found."""

    cluster_of: dict[str, str]
    """Every key -> its cluster, named by the smallest key in it."""
    kept_for: dict[str, str]
    """Dropped key -> the key that is kept instead."""


class _Guess(NamedTuple):
    bits: int
    one: int
    other: int
    frame: int
    other_frame: int
    view: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicates:
    """Finds samples of different files that show the same moment; pieces of one file are never compared.

    First, hashes of a sample's frames under 38 views (cropped, mirrored) find who might be alike; then thumbnails are
    laid over each other in place, time and speed and must agree. docs/duplicates.md tells what this finds and misses.
    """

    drop: bool = True
    """Leave out copies; else all stay and only `cluster` tells."""
    max_bits: int = 10
    """Frames whose 64-bit hashes differ by more are not looked at."""
    max_guesses: int = 4
    """How many of a pair's most alike frames are tried as the start of the alignment."""
    min_shape: float = 0.96
    min_detail: float = 0.93
    max_spot: float = 0.12
    """These three hold for stills and for clips in which nothing moves."""
    min_motion: float = 0.65
    min_moving_detail: float = 0.8
    """Clips that move alike may look less alike: nearly all planted copies reach 0.79 in motion, others not 0.5."""
    min_overlap_frac: float = 0.5
    """Of the shorter of two clips."""

    def __post_init__(self) -> None:
        if not (0 <= self.max_bits <= 20 and self.max_guesses >= 1):
            raise ValueError("duplicates: max_bits must be 0 to 20 and max_guesses at least 1")
        for name in ("min_shape", "min_detail", "min_motion", "min_moving_detail", "min_overlap_frac"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"duplicates.{name}: {getattr(self, name)} must be above 0 and at most 1")

    def __call__(self, prints: Sequence[Fingerprint]) -> Duplicates:
        """Clusters of all samples and, with `drop`, what is left out.

        What is left out is a copy of something that stays; a chain of partly overlapping clips keeps its ends.
        """
        matches = self.matches(prints)
        cluster_of = smallest_of_group((p.key for p in prints), ((m.a, m.b) for m in matches))
        return Duplicates(cluster_of, _worse_copies(prints, matches) if self.drop else {})

    def matches(self, prints: Sequence[Fingerprint]) -> list[Match]:
        """All pairs that show the same, in the order of keys."""
        group = sorted((p for p in prints if not p.exempt), key=lambda p: p.key)
        found = []
        for guesses in self._candidates(group):
            one, other = group[guesses[0].one], group[guesses[0].other]
            if any(self.same(self.compare(group[g.one], group[g.other], g)) for g in guesses):
                a, b = sorted((one.key, other.key))
                found.append(Match(a, b, (len(one.thumbs) > 1) == (len(other.thumbs) > 1)))
        return sorted(set(found))

    def compare(self, one: Fingerprint, other: Fingerprint, guess: _Guess) -> Likeness:
        """How alike two samples are, from a guess of which frames correspond."""
        view = views()[guess.view]
        return likeness(one.thumbs, other.thumbs, guess.frame, guess.other_frame, view, self.min_overlap_frac)

    def same(self, like: Likeness) -> bool:
        """Whether this is alike enough."""
        if like.overlap_frac < self.min_overlap_frac:
            return False
        if like.motion is None:
            return like.shape >= self.min_shape and like.detail >= self.min_detail and like.spot <= self.max_spot
        return like.motion >= self.min_motion and like.detail >= self.min_moving_detail

    def _candidates(self, group: Sequence[Fingerprint]) -> Iterator[list[_Guess]]:
        """For each pair that might be alike, the best guesses, best first."""
        if len(group) < 2:
            return
        kept = [_spread(len(p.thumbs), _INDEXED_FRAMES) for p in group]
        owner = np.repeat(np.arange(len(group)), [len(k) for k in kept])
        frame = np.concatenate(kept)
        index = HashIndex(np.concatenate([plain_hashes(p.thumbs[k]) for p, k in zip(group, kept, strict=True)]))
        source = np.unique([p.source_id for p in group], return_inverse=True)[1]
        guesses: dict[tuple[int, int], list[_Guess]] = defaultdict(list)
        num_views = len(views())
        for one, fingerprint in enumerate(group):
            asked = _spread(len(fingerprint.thumbs), _KEY_FRAMES)
            hits = index(view_hashes(fingerprint.thumbs[asked]).ravel(), self.max_bits)
            foreign = source[owner[hits.entry]] != source[one]
            query, entry, bits = hits.query[foreign], hits.entry[foreign], hits.bits[foreign]
            best_first = np.lexsort((query, bits))
            taken: dict[tuple[int, int], int] = defaultdict(int)
            for i in best_first:
                other, view = int(owner[entry[i]]), int(query[i]) % num_views
                taken[other, view] += 1
                if taken[other, view] > 1:  # another guess must be another view
                    continue
                at = int(asked[query[i] // num_views])
                guess = _Guess(int(bits[i]), one, other, at, int(frame[entry[i]]), view)
                mine = guesses[min(one, other), max(one, other)]
                mine.append(guess)
        for pair in sorted(guesses):
            yield sorted(guesses[pair])[: self.max_guesses]


def _spread(num: int, wanted: int) -> np.ndarray:
    """At most `wanted` of `num` frames, evenly."""
    return np.unique(np.linspace(0, num - 1, min(num, wanted)).round().astype(np.int64))


def _worse_copies(prints: Sequence[Fingerprint], matches: Sequence[Match]) -> dict[str, str]:
    copies: dict[str, list[str]] = defaultdict(list)
    for match in matches:
        if match.same_kind:
            copies[match.a].append(match.b)
            copies[match.b].append(match.a)
    dropped: dict[str, str] = {}
    for one in sorted(prints, key=lambda p: (-p.rank, p.key)):
        if one.key not in dropped:
            dropped |= {other: one.key for other in sorted(copies[one.key]) if other not in dropped}
    return dropped
