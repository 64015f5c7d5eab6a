import numpy as np
import pytest
from scipy import stats

from evaluation.statistics import bootstrap, compare, corrected, holm, paired_difference, paired_p


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
    assert bootstrap([3.0]) == (3.0, 3.0, 3.0, 1, 0)


def test_differences_are_taken_pair_by_pair() -> None:
    difference = paired_difference({"a": 1.0, "b": 2.0, "c": 9.0}, {"a": 1.5, "b": 2.5})
    assert difference is not None
    assert difference.mean == pytest.approx(0.5)
    assert difference.num_pairs == 2
    assert paired_difference({"a": 1.0}, {"b": 1.0}) is None


def test_pairs_of_one_source_do_not_count_as_independent() -> None:
    rng = np.random.default_rng(2)
    # Ten sources of twenty pairs each, which differ between sources only.
    values = np.repeat(rng.normal(0, 1, 10), 20) + rng.normal(0, 0.01, 200)
    groups = [f"cat-{i // 20}" for i in range(200)]
    naive, honest = bootstrap(list(values)), bootstrap(list(values), groups)
    assert naive is not None
    assert honest is not None
    assert honest.num_groups == 10
    assert naive.num_groups == 0
    assert honest.mean == pytest.approx(naive.mean)
    # The widths differ by the square root of the pairs of a source.
    assert (honest.high - honest.low) / (naive.high - naive.low) == pytest.approx(20**0.5, rel=0.15)


def test_pairs_without_a_known_source_count_for_themselves() -> None:
    values = list(np.random.default_rng(3).normal(size=30))
    assert bootstrap(values, [""] * 30) == bootstrap(values)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    hits = 0
    for _ in range(150):
        mean = bootstrap(list(rng.exponential(1.0, 60)))
        assert mean is not None
        hits += mean.low <= 1.0 <= mean.high
    assert 0.88 <= hits / 150 <= 0.99


def test_the_p_value_counts_sign_flips_exactly() -> None:
    # All five differences have one sign: 2 of the 32 flips give as large a mean.
    assert paired_p([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 32)
    assert paired_p([1.0]) is None
    assert paired_p([0.0, 0.0, 0.0]) == 1.0


def test_the_p_value_agrees_with_the_t_test_on_many_normal_pairs() -> None:
    x = np.random.default_rng(5).normal(0.25, 1.0, 80)
    assert paired_p(x) == pytest.approx(stats.ttest_1samp(x, 0).pvalue, rel=0.25)


def test_many_pairs_of_few_sources_stay_uncertain() -> None:
    x = np.full(100, 1.0)
    assert paired_p(x) == pytest.approx(2 / 10000, rel=0.6)
    assert paired_p(x, [f"cat-{i % 3}" for i in range(100)]) == pytest.approx(2 / 8)


def test_p_values_are_uniform_where_nothing_differs() -> None:
    rng = np.random.default_rng(6)
    found = [paired_p(rng.normal(size=12)) for _ in range(60)]
    assert np.mean([p is not None and p < 0.2 for p in found]) == pytest.approx(0.2, abs=0.12)


def test_holm_multiplies_the_smallest_most_and_never_reorders() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_a_comparison_says_how_much_and_how_surely() -> None:
    a = {str(i): float(i) for i in range(10)}
    b = {name: value + 1 for name, value in a.items()}
    one = compare("l1", a, b)
    assert one is not None
    assert one.difference.mean == pytest.approx(1)
    assert one.p == pytest.approx(2 / 2**10)
    assert [c.p_holm for c in corrected([one, one])] == pytest.approx([4 / 2**10] * 2)
    assert compare("l1", a, {}) is None
