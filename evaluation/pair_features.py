"""What each pair contributes to a measure of the whole set -> a sequence that holds one pair's share at a time."""

from collections.abc import Iterator, Mapping, Sequence
from typing import overload

import numpy as np

from evaluation.pair_store import PairStore

Contribution = tuple[str, Mapping[str, np.ndarray]]
"""A pair's name and its arrays."""


class PairFeatures(Sequence[Contribution]):
    """Contributions of all pairs to one measure, in the order of the pairs.

    With a store they stay in its files and are read each time they are asked for: a run of any number of pairs holds
    the names alone. Without one there is nowhere else to keep them than here.

    Args:
        measure: name of the measure.
        store: where finished pairs are kept; None for nowhere.
    """

    def __init__(self, measure: str, store: PairStore | None) -> None:
        self._measure, self._store = measure, store
        self._pairs: list[tuple[str, str]] = []
        self._held: list[Mapping[str, np.ndarray]] = []

    def add(self, pair_id: str, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """One more pair; `key` is its place in the store."""
        self._pairs.append((pair_id, key))
        if self._store is None:
            self._held.append(arrays)

    def __len__(self) -> int:
        return len(self._pairs)

    @overload
    def __getitem__(self, index: int) -> Contribution: ...
    @overload
    def __getitem__(self, index: slice) -> list[Contribution]: ...
    def __getitem__(self, index: int | slice) -> Contribution | list[Contribution]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        pair_id, key = self._pairs[index]
        arrays = self._held[index] if self._store is None else self._store.features(key, self._measure)
        return pair_id, arrays

    def __iter__(self) -> Iterator[Contribution]:
        return (self[i] for i in range(len(self)))
