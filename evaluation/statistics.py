"""Numbers of pairs -> means with bootstrap intervals, and differences of two methods on the same pairs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 2000


class Mean(NamedTuple):
    """A mean over pairs with its 95 % interval."""

    mean: float
    low: float
    high: float
    num_pairs: int


def bootstrap(values: Sequence[float], seed: int = 0) -> Mean | None:
    """Mean and percentile bootstrap over pairs; None without values. The interval of one pair is the pair itself."""
    if not len(values):
        return None
    x = np.asarray(values, dtype=np.float64)
    draws = np.random.default_rng(seed).integers(0, len(x), (RESAMPLES, len(x)))
    low, high = np.percentile(x[draws].mean(axis=1), [2.5, 97.5])
    return Mean(float(x.mean()), float(low), float(high), len(x))


def paired_difference(a: dict[str, float], b: dict[str, float]) -> Mean | None:
    """B - a over the pairs that both have."""
    common = sorted(a.keys() & b.keys())
    return bootstrap([b[pair] - a[pair] for pair in common])
