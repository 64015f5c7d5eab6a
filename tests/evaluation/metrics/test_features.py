import tracemalloc

import numpy as np
import pytest

from evaluation.metrics.faces import spread
from evaluation.metrics.features import (
    MAX_PAIRS,
    FeatureDistance,
    frechet_distance,
    kernel_distance,
    moments,
    stand_in_distance,
)
from evaluation.protocols.pairs import PairFrames, Truth


def rows(seed: int, N: int = 200, D: int = 6, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (N, D)).astype(np.float32)


def pair(seed: int, T: int = 10, truth: bool = True) -> PairFrames:
    frames = np.random.default_rng(seed).integers(0, 256, (T, 48, 48, 3), dtype=np.uint8)
    known = Truth(frames=frames, species="cat") if truth else None
    return PairFrames(source=frames[0], driving=frames, truth=known, source_points=None, driving_points=None)


def test_frechet_distance_of_known_gaussians() -> None:
    a = rows(0)
    assert frechet_distance(moments(a), moments(a)) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(moments(a), moments(a + 2)) == pytest.approx(4 * 6, rel=1e-5)
    wider = a.mean(axis=0) + 3 * (a - a.mean(axis=0))  # sum of (3 s - s)^2 over the axes of the covariance
    assert frechet_distance(moments(a), moments(wider)) == pytest.approx(4 * np.trace(np.cov(a.T)), rel=1e-4)


def test_fewer_rows_than_dimensions_need_no_trick() -> None:
    a, b = rows(0, 5, 40), rows(1, 5, 40)
    assert frechet_distance(moments(a), moments(a)) == pytest.approx(0, abs=1e-4)
    assert np.isfinite(frechet_distance(moments(a), moments(b)))


def test_kernel_distance_is_about_nought_for_equal_sources_and_grows_with_a_shift() -> None:
    found = [kernel_distance(rows(0, 1000), rows(1, 1000, shift=shift)) for shift in (0.0, 0.3, 0.6, 1.2)]
    assert abs(found[0]) < 0.02 * found[2]
    assert found == sorted(found)


def test_the_kernels_of_all_couples_are_never_held_at_once() -> None:
    a, b = rows(0, 1500), rows(1, 1300)
    x, y = a.astype(float), b.astype(float)
    own, other, across = ((p @ q.T / 6 + 1) ** 3 for p, q in ((x, x), (y, y), (x, y)))
    off = [(one.sum() - np.trace(one)) / (len(one) * (len(one) - 1)) for one in (own, other)]
    tracemalloc.start()
    found = kernel_distance(a, b)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == pytest.approx(off[0] + off[1] - 2 * across.mean(), rel=1e-9, abs=1e-12)
    assert peak < 0.7 * own.nbytes


def test_both_distances_grow_as_pictures_get_worse() -> None:
    measure = stand_in_distance()
    results: list[dict[str, float]] = []
    for noise in (0, 40, 120):
        rng, collected = np.random.default_rng(5), []
        for seed in range(3):
            one = pair(seed)
            made = np.clip(one.driving + rng.normal(0, noise, one.driving.shape), 0, 255).astype(np.uint8)
            collected.append((str(seed), measure.features(one, made)))
        results.append(measure.values(collected))
    for name in ("fid_stand_in", "kid_stand_in"):
        assert [found[name] for found in results] == sorted(found[name] for found in results)
        assert results[2][name] > results[0][name]
    assert results[0]["fid_stand_in"] == pytest.approx(0, abs=1e-4)


def test_what_is_kept_of_a_pair_is_bounded_and_the_source_stands_in_for_a_missing_truth() -> None:
    measure = stand_in_distance()
    long = pair(0, T=40)
    assert {side: len(found) for side, found in measure.features(long, long.driving).items()} == {"made": 8, "real": 8}
    blind = pair(0, T=40, truth=False)
    assert len(measure.features(blind, blind.driving)["real"]) == 1


def test_of_very_many_pairs_some_are_read_evenly_over_all() -> None:
    class Counted(list):
        asked: list[int] = []  # noqa: RUF012 - one list for the test

        def __getitem__(self, i):
            self.asked.append(i)
            return super().__getitem__(i)

    found = {"made": rows(0, 2), "real": rows(1, 2)}
    pairs = Counted((str(i), found) for i in range(3 * MAX_PAIRS))
    assert stand_in_distance().values(pairs)["fid_stand_in"] > 0
    assert set(spread(3 * MAX_PAIRS, MAX_PAIRS)) <= set(Counted.asked)
    assert len(Counted.asked) < MAX_PAIRS + 10  # who checks types asks for one or two more


def test_without_a_network_or_enough_frames_nothing_is_measured() -> None:
    measure = FeatureDistance(None)
    assert set(measure.missing()) == {"fid", "kid"}
    assert measure.features(pair(0), pair(0).driving) == {}
    assert measure.values([]) == {}
    one = pair(0, T=1)
    alone = stand_in_distance()
    assert alone.values([("0", alone.features(one, one.driving))]) == {}
    assert alone.missing() == {}
