"""Arrays and names -> what was made of them last time: several methods share a pair, several measures a result."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

Kept = TypeVar("Kept")


class Recent(Generic[Kept]):
    """What was made of the last few things, found by their content: it holds no pixels, and never an old answer.

    Args:
        limit: how many are kept.
    """

    def __init__(self, limit: int = 4) -> None:
        self._limit, self._kept = limit, OrderedDict[bytes, Kept]()

    def of(self, make: Callable[[], Kept], *known: np.ndarray | str | None) -> Kept:
        """The kept value, or a new one.

        Args:
            make: what is done when nothing is kept.
            known: all that the value depends on.
        """
        key = _key(known)
        if key not in self._kept:
            self._kept[key] = make()
        self._kept.move_to_end(key)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)
        return self._kept[key]


def _key(known: tuple[np.ndarray | str | None, ...]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for one in known:
        if isinstance(one, np.ndarray):
            digest.update(f"{one.dtype.str} {one.shape};".encode())
            digest.update(np.ascontiguousarray(one).data)
        else:
            digest.update(f"{one!r};".encode())
    return digest.digest()
