"""Fingerprints of crops -> pairs that show the same, clusters of them, and what is left out."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from data_pipeline.alignment import Likeness, likeness
from data_pipeline.clusters import smallest_of_group
from data_pipeline.hashes import views
from data_pipeline.lookup import Fingerprint, Guess, Limits, pairs_alike
from data_pipeline.ordered_pool import OrderedPool

__all__ = ["Duplicates", "Fingerprint", "Match", "NearDuplicates"]

_FEW = 300
"""So few samples are searched before another process has started."""
_CHUNK = 32


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


class _Pair(NamedTuple):
    """Two samples' thumbnails and how they might fit; what a process needs to compare them."""

    thumbs: dict[int, UInt8[np.ndarray, "N P P"]]
    guesses: list[Guess]


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
    max_candidates: int = 100
    """Other samples that a sample is compared with, those with the fewest differing bits: a bound for crowds."""
    min_shape: float = 0.96
    min_detail: float = 0.94
    """Of detail less half the spot: a copy that lost detail lost it everywhere, a moment later differs in one place."""
    max_spot: float = 0.12
    """These three hold for stills and for clips in which nothing moves."""
    min_calm_motion: float = 0.3
    """Of clips in which only small parts move: recompression blurs that (copies from 0.2, half above 0.7; others up to
    0.2, an animal that breathes to 0.5)."""
    min_motion: float = 0.6
    min_moving_detail: float = 0.8
    """Clips that move alike may look less alike."""
    min_motion_and_detail: float = 1.62
    """Their sum: who talks in the same frame twice moves a little alike (0.65 to 0.8) and differs in detail (0.85)."""
    min_overlap_frac: float = 0.5
    """Of the shorter of two clips."""

    def __post_init__(self) -> None:
        if not (0 <= self.max_bits <= 20 and self.max_guesses >= 1 and self.max_candidates >= 1):
            raise ValueError("duplicates: max_bits must be 0 to 20, max_guesses and max_candidates at least 1")
        names = ("min_shape", "min_detail", "min_calm_motion", "min_motion", "min_moving_detail", "min_overlap_frac")
        for name in names:
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"duplicates.{name}: {getattr(self, name)} must be above 0 and at most 1")

    def __call__(self, prints: Sequence[Fingerprint], workers: int = 1) -> Duplicates:
        """Clusters of all samples and, with `drop`, what is left out.

        What is left out is a copy of something that stays; a chain of partly overlapping clips keeps its ends.

        Args:
            prints: of all samples.
            workers: processes that search and compare; the result does not depend on it.
        """
        matches = self.matches(prints, workers)
        cluster_of = smallest_of_group((p.key for p in prints), ((m.a, m.b) for m in matches))
        return Duplicates(cluster_of, worse_copies(prints, matches) if self.drop else {})

    def matches(
        self, prints: Sequence[Fingerprint], workers: int = 1, among: Collection[str] | None = None
    ) -> list[Match]:
        """All pairs that show the same, in the order of keys.

        Args:
            prints: of all samples.
            workers: processes.
            among: only pairs in which one of these keys is.
        """
        group = sorted((p for p in prints if not p.exempt), key=lambda p: p.key)
        limits = Limits(self.max_bits, self.max_guesses, self.max_candidates)
        found: list[Match] = []
        with OrderedPool(workers if len(group) > _FEW else 1) as pool:
            pairs = _chunks(pairs_alike(group, limits, pool, among), group)
            for alike in pool.map(self._alike, pairs):
                for one, other in alike:
                    a, b = sorted((group[one].key, group[other].key))
                    found.append(Match(a, b, (len(group[one].thumbs) > 1) == (len(group[other].thumbs) > 1)))
        return sorted(found)

    def _alike(self, pairs: list[_Pair]) -> list[tuple[int, int]]:
        """Those of the pairs that show the same, by their places in the group."""
        found = []
        for pair in pairs:
            one, other = pair.guesses[0].one, pair.guesses[0].other
            if any(self.same(self.compare(pair.thumbs[g.one], pair.thumbs[g.other], g)) for g in pair.guesses):
                found.append((one, other))
        return found

    def compare(self, one: UInt8[np.ndarray, "N P P"], other: UInt8[np.ndarray, "M Q Q"], guess: Guess) -> Likeness:
        """How alike two samples are, from a guess of which frames correspond."""
        view = views()[guess.view]
        return likeness(one, other, guess.frame, guess.other_frame, view, self.min_overlap_frac)

    def same(self, like: Likeness) -> bool:
        """Whether this is alike enough."""
        if like.overlap_frac < self.min_overlap_frac:
            return False
        if like.motion is None or like.is_calm:
            is_still = like.motion is None or like.motion >= self.min_calm_motion
            is_like = like.shape >= self.min_shape and like.detail - like.spot / 2 >= self.min_detail
            return is_still and is_like and like.spot <= self.max_spot
        return (
            like.motion >= self.min_motion
            and like.detail >= self.min_moving_detail
            and like.motion + like.detail >= self.min_motion_and_detail
        )


def _chunks(pairs: Iterable[list[Guess]], group: Sequence[Fingerprint]) -> Iterator[list[_Pair]]:
    """Jobs with what they need: a process does not hold the thumbnails of all."""
    waiting = iter(pairs)
    while some := list(islice(waiting, _CHUNK)):
        yield [_Pair({n: group[n].thumbs for n in (guesses[0].one, guesses[0].other)}, guesses) for guesses in some]


def worse_copies(prints: Sequence[Fingerprint], matches: Sequence[Match]) -> dict[str, str]:
    """Dropped key -> the key of higher rank that it is a copy of."""
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
