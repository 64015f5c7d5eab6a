"""Numbers of pairs -> means with bootstrap intervals, and differences of two methods with their significance."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

RESAMPLES = 2000
SIGN_FLIPS = 9999
FEWEST = 2
"""Independent groups without which there is no p-value."""


class Mean(NamedTuple):
    """A mean over pairs with its 95 % interval."""

    mean: float
    low: float
    high: float
    num_pairs: int
    num_groups: int = 0
    """Independent sources behind the pairs; 0 where every pair counts for itself."""


class Comparison(NamedTuple):
    """One method against another on the same pairs."""

    metric: str
    difference: Mean
    """Second minus first."""
    p: float | None
    """Two-sided paired permutation test (signs of the groups' differences flipped); None with too few groups."""
    p_holm: float | None = None
    """The same, corrected for the number of metrics that were compared (Holm 1979)."""


def bootstrap(values: Sequence[float], groups: Sequence[str] | None = None, seed: int = 0) -> Mean | None:
    """Mean and percentile bootstrap; None without values. The interval of one pair is the pair itself.

    Args:
        values: one per pair.
        groups: the source identity of each pair: pairs of one source are drawn together, because they are not
            independent. None, or an empty name: the pair counts for itself.
        seed: of the draws.
    """
    if not len(values):
        return None
    x = np.asarray(values, dtype=np.float64)
    group = _group_numbers(groups, len(x))
    num_groups = int(group.max()) + 1
    sums, counts = np.bincount(group, weights=x), np.bincount(group).astype(np.float64)
    draws = np.random.default_rng(seed).integers(0, num_groups, (RESAMPLES, num_groups))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Mean(float(x.mean()), float(low), float(high), len(x), num_groups if num_groups < len(x) else 0)


def paired_difference(
    a: Mapping[str, float], b: Mapping[str, float], groups: Mapping[str, str] | None = None
) -> Mean | None:
    """B - a over the pairs that both have; `groups`: pair -> source identity."""
    common = sorted(a.keys() & b.keys())
    return bootstrap([b[pair] - a[pair] for pair in common], _groups_of(common, groups))


def compare(
    metric: str, a: Mapping[str, float], b: Mapping[str, float], groups: Mapping[str, str] | None = None
) -> Comparison | None:
    """One metric of two methods, on the pairs that both have; None where there are none."""
    difference = paired_difference(a, b, groups)
    if difference is None:
        return None
    common = sorted(a.keys() & b.keys())
    differences = np.array([b[pair] - a[pair] for pair in common])
    return Comparison(metric, difference, paired_p(differences, _groups_of(common, groups)))


def paired_p(differences: Sequence[float] | np.ndarray, groups: Sequence[str] | None = None) -> float | None:
    """Two-sided p-value of "the mean difference is zero": what share of sign flips gives as large a mean.

    Exact where all flips can be counted (at most 13 groups), else 9999 random ones of a fixed seed. With n groups it
    cannot be smaller than 2 / 2^n: five sources can never reach 0.05. None for a single group.
    """
    from scipy.stats import permutation_test

    x = np.asarray(differences, dtype=np.float64)
    sums = np.bincount(_group_numbers(groups, len(x)), weights=x) if len(x) else x
    if len(sums) < FEWEST:
        return None
    if not sums.any():
        return 1.0
    found = permutation_test(
        (sums,), np.mean, permutation_type="samples", vectorized=True, n_resamples=SIGN_FLIPS,
        alternative="two-sided", rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(min(1.0, found.pvalue))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P-values -> Holm's step-down correction for testing them all; unknown ones stay unknown."""
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    worst = 0.0
    for rank, (p, i) in enumerate(known):
        worst = max(worst, min(1.0, p * (len(known) - rank)))
        corrected[i] = worst
    return corrected


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Comparisons of several metrics -> the same with Holm's correction over them."""
    return [one._replace(p_holm=p) for one, p in zip(comparisons, holm([one.p for one in comparisons]), strict=True)]


def _groups_of(pairs: Sequence[str], groups: Mapping[str, str] | None) -> list[str] | None:
    return None if groups is None else [groups.get(pair, "") for pair in pairs]


def _group_numbers(groups: Sequence[str] | None, count: int) -> Int[np.ndarray, " N"]:
    """A number for each pair, equal where the group's name is; the unnamed stay alone."""
    if groups is None:
        return np.arange(count)
    numbers: dict[str | int, int] = {}
    return np.array([numbers.setdefault(name or i, len(numbers)) for i, name in enumerate(groups)])
