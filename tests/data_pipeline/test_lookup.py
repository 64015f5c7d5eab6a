import cv2
import numpy as np
import pytest

from data_pipeline.dedup import NearDuplicates
from data_pipeline.hash_index import HashIndex
from data_pipeline.hashes import hamming, thumbnails
from data_pipeline.lookup import Fingerprint, Limits, pairs_alike
from data_pipeline.ordered_pool import OrderedPool

LIMITS = Limits(10, 4, 100)


def scene(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 255, (9, 9, 3), np.uint8), (96, 96), interpolation=cv2.INTER_CUBIC)


def prints(num_scenes: int, copies: int = 2) -> list[Fingerprint]:
    """Copies that differ by a little noise; copy 0 of each is `<scene>-0`."""
    rng = np.random.default_rng(1)
    found = []
    for number in range(num_scenes):
        for copy in range(copies):
            noisy = np.clip(scene(number) + rng.normal(0, 3, (96, 96, 3)), 0, 255).astype(np.uint8)
            key = f"{number:04d}-{copy}"
            found.append(Fingerprint(key=key, source_id=key, thumbs=thumbnails(noisy[None]), rank=1.0))
    return found


def pairs(group: list[Fingerprint], limits: Limits = LIMITS, workers: int = 1, among=None) -> list[tuple[str, str]]:
    with OrderedPool(workers) as pool:
        return [(group[g[0].one].key, group[g[0].other].key) for g in pairs_alike(group, limits, pool, among)]


def test_pairs_come_once_in_order_with_the_best_guess_first() -> None:
    group = prints(20)
    with OrderedPool(1) as pool:
        found = list(pairs_alike(group, LIMITS, pool))
    places = [tuple(sorted((g[0].one, g[0].other))) for g in found]
    assert places == sorted(set(places))
    assert all(1 <= len(guesses) <= 4 and guesses == sorted(guesses) for guesses in found)
    assert {(2 * i, 2 * i + 1) for i in range(20)} <= set(places)


def test_only_pairs_with_what_is_asked_for() -> None:
    group = prints(10, 3)
    found = pairs(group, among={"0003-1"})
    assert {frozenset(pair) for pair in found} == {frozenset(("0003-1", f"0003-{i}")) for i in (0, 2)}
    assert pairs(group, among=set()) == []
    matches = NearDuplicates().matches(group, among={"0003-1"})
    assert [(m.a, m.b) for m in matches] == [("0003-0", "0003-1"), ("0003-1", "0003-2")]


def test_a_crowd_is_bounded_and_stays_one_cluster() -> None:
    """Thirty copies of one picture: 435 pairs, of which each sample may look at five."""
    group = prints(1, 30)
    assert len(pairs(group)) == 435
    assert len(pairs(group, LIMITS._replace(max_candidates=5))) <= 150
    found = NearDuplicates(max_candidates=5)(group)
    assert set(found.cluster_of.values()) == {"0000-0"}


@pytest.mark.slow
def test_two_processes_find_what_one_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    group = prints(40, 3)
    assert pairs(group, workers=2) == pairs(group)
    monkeypatch.setattr("data_pipeline.dedup._FEW", 10)
    assert NearDuplicates()(group, workers=2) == NearDuplicates()(group)


def test_a_saved_index_finds_the_same(tmp_path) -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 2000, np.uint64)
    queries = hashes[:50] ^ np.uint64(1 << 40 | 3)
    index = HashIndex(hashes)
    index.save(tmp_path)
    for a, b in zip(index(queries, 7), HashIndex.load(tmp_path)(queries, 7), strict=True):
        np.testing.assert_array_equal(a, b)


def test_in_a_crowded_bucket_the_nearest_are_looked_at() -> None:
    """All share a quarter; of 5000 the query's twins are found although only 64 are compared."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**48, 5000, np.uint64) | np.uint64(7 << 48)
    queries = hashes[:100] ^ np.uint64(1)
    hits = HashIndex(hashes, most_of_bucket=64)(queries, 3)
    near = hamming(queries, hashes) <= 3
    assert sorted(zip(hits.query.tolist(), hits.entry.tolist(), strict=True)) == list(map(tuple, np.argwhere(near)))


def test_an_empty_index_finds_nothing() -> None:
    hits = HashIndex(np.zeros(0, np.uint64))(np.zeros(3, np.uint64), 7)
    assert len(hits.query) == len(hits.entry) == 0


def negative(number: int) -> int:
    return -number


def die(number: int) -> int:
    import os

    os._exit(number)


def test_results_keep_the_order_of_jobs_and_jobs_are_drawn_late() -> None:
    drawn = []

    def jobs():
        for number in range(50):
            drawn.append(number)
            yield number

    with OrderedPool(1) as pool:
        found = pool.map(negative, jobs())
        assert next(found) == 0
        assert len(drawn) == 1
        assert list(found) == [-n for n in range(1, 50)]


@pytest.mark.slow
def test_processes_keep_the_order_and_a_death_is_told() -> None:
    with OrderedPool(2) as pool:
        assert list(pool.map(negative, range(30))) == [-n for n in range(30)]
    with OrderedPool(2) as pool, pytest.raises(ValueError, match="fewer workers"):
        list(pool.map(die, [1]))
