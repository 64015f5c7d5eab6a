import numpy as np
import pytest

from evaluation.statistics import bootstrap, paired_difference


def test_the_interval_holds_the_mean_and_narrows_with_pairs() -> None:
    x = np.random.default_rng(1).normal(5, 1, 400)
    few, many = bootstrap(list(x[:20])), bootstrap(list(x))
    assert few is not None
    assert many is not None
    assert many.low < many.mean < many.high
    assert many.high - many.low < few.high - few.low
    assert many.high - many.low == pytest.approx(2 * 1.96 * x.std() / 20, rel=0.15)


def test_it_is_the_same_each_time_and_nothing_gives_nothing() -> None:
    assert bootstrap([1.0, 2.0, 4.0]) == bootstrap([1.0, 2.0, 4.0])
    assert bootstrap([]) is None
    assert bootstrap([3.0]) == (3.0, 3.0, 3.0, 1)


def test_differences_are_taken_pair_by_pair() -> None:
    difference = paired_difference({"a": 1.0, "b": 2.0, "c": 9.0}, {"a": 1.5, "b": 2.5})
    assert difference is not None
    assert difference.mean == pytest.approx(0.5)
    assert difference.num_pairs == 2
    assert paired_difference({"a": 1.0}, {"b": 1.0}) is None
