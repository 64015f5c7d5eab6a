"""The performances of an index -> who can drive whom in a cross row, and at which native frames."""

from collections.abc import Mapping, Sequence

import numpy as np

from data_pipeline.records import SPECIES
from finetune.clips import Clip
from finetune.shard_index import ClipCard

TRIES = 8


def overlap(a: ClipCard | Clip, b: ClipCard | Clip) -> range:
    """Native frames that both clips hold; empty when their strides differ."""
    if a.stride != b.stride or (a.start - b.start) % a.stride:
        return range(0)
    stop = min(a.start + a.num_frames * a.stride, b.start + b.num_frames * b.stride)
    return range(max(a.start, b.start), stop, a.stride)


class Partners:
    """Who performs what.

    Args:
        clips: all of them, by number.
        exact: numbers of the clips with truth and several frames; only those can be partners.
        drivers: relative shares of the driving species.
    """

    def __init__(self, clips: Sequence[ClipCard], exact: Sequence[int], drivers: Mapping[str, float]) -> None:
        self._clips = clips
        self._weights = {s: w for s, name in enumerate(SPECIES) if (w := drivers.get(name, 0.0)) > 0}
        self._casts: dict[str, dict[int, list[int]]] = {}
        for number in exact:
            clip = clips[number]
            if clip.performance and clip.species in self._weights:
                self._casts.setdefault(clip.performance, {}).setdefault(clip.species, []).append(number)

    @property
    def num_shared(self) -> int:
        """Performances with several identities."""
        return sum(
            len({self._clips[n].identity for of_species in cast.values() for n in of_species}) > 1
            for cast in self._casts.values()
        )

    def has(self, number: int) -> bool:
        """Whether somebody else performs what this clip shows."""
        return any(self._fit(number, other) for cast in self._cast(number).values() for other in cast)

    def choose(self, number: int, rng: np.random.Generator) -> int | None:
        """Another identity in the same performance: the species by its share, then one of its identities."""
        cast = {species: others for species, others in self._cast(number).items() if others}
        while cast:
            species = sorted(cast)
            weights = np.array([self._weights[s] for s in species])
            chosen = species[int(rng.choice(len(species), p=weights / weights.sum()))]
            others = cast.pop(chosen)
            for _ in range(TRIES):
                other = others[int(rng.integers(len(others)))]
                if self._fit(number, other):
                    return other
            if fitting := [other for other in others if self._fit(number, other)]:
                return fitting[int(rng.integers(len(fitting)))]
        return None

    def _cast(self, number: int) -> dict[int, list[int]]:
        return self._casts.get(self._clips[number].performance, {})

    def _fit(self, number: int, other: int) -> bool:
        one, two = self._clips[number], self._clips[other]
        return one.identity != two.identity and bool(overlap(one, two))
