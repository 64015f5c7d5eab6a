import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.mixture import Kind, Mixture
from finetune.schedule import Schedule, Turns

KINDS = [Kind(v, s, t) for v in (False, True) for s in range(4) for t in (False, True)]


@st.composite
def mixtures(draw):
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, unique=True))
    weights = [draw(st.floats(0.01, 1.0)) for _ in kinds]
    return {kind: weight / sum(weights) for kind, weight in zip(kinds, weights, strict=True)}


@settings(max_examples=40, deadline=None)
@given(mixtures(), st.integers(0, 10**12), st.integers(1, 150), st.integers(1, 8))
def test_any_run_of_rows_has_the_shares_within_a_few_rows(shares, start, length, world):
    schedules = [Schedule(shares, rank, world) for rank in range(world)]
    rows = [[schedule.locate(row)[0] for row in range(start, start + length)] for schedule in schedules]
    everyone = [kind for of_rank in rows for kind in of_rank]

    def off(found, wanted):
        return abs(sum(map(wanted, found)) - len(found) * sum(share for kind, share in shares.items() if wanted(kind)))

    # Image against video: less than one row over all ranks, however long the run. (1e-6: shares are units of 2**-40.)
    assert off(everyone, lambda kind: kind.is_video) < 1 + 1e-6
    for of_rank in rows:
        assert off(of_rank, lambda kind: kind.is_video) < 1 + 1e-6
    for species in range(4):
        assert off(rows[0], lambda kind, s=species: kind.species == s) < 5
        assert off(everyone, lambda kind, s=species: kind.species == s) < 4 + world
    for kind in shares:
        assert off(rows[0], lambda other, k=kind: other == k) < 4


@settings(max_examples=30, deadline=None)
@given(mixtures(), st.integers(0, 5), st.integers(2, 6))
def test_rows_of_a_group_are_counted_one_by_one(shares, rank, world):
    schedule = Schedule(shares, rank % world, world)
    seen = dict.fromkeys(shares, 0)
    for row in range(200):
        group, inside = schedule.locate(row)
        assert inside == seen[group]
        seen[group] += 1


def test_turns_are_exact_for_ever():
    third = Turns.of(1 / 3)
    assert third.before(3 * 10**9) == pytest.approx(10**9, abs=1)
    assert sum(Turns.of(0.12).has(row) for row in range(1000)) == 120
    assert all(Turns.of(1.0).has(row) for row in range(50))
    assert not any(Turns.of(0.0).has(row) for row in range(50))


def sums(shares, name) -> dict:
    found: dict = {}
    for kind, share in shares.items():
        found[getattr(kind, name)] = found.get(getattr(kind, name), 0.0) + share
    return found


def test_shares_of_complete_media_are_those_asked_for():
    shares = Mixture(
        real_frac=0.25, still_frac=0.2, species={"human": 1.0, "cat": 2.0, "dog": 3.0, "panda": 4.0}
    ).shares(set(KINDS))
    assert sums(shares, "has_truth")[False] == pytest.approx(0.25)
    assert sums(shares, "is_video")[False] == pytest.approx(0.2)
    assert sums(shares, "species") == pytest.approx({0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4})


def test_species_and_stills_stay_exact_where_media_are_uneven():
    # Real media show cats only, stills are of people and cats only.
    kinds = {Kind(True, s, True) for s in range(4)} | {Kind(True, 1, False), Kind(False, 0, True), Kind(False, 1, True)}
    shares = Mixture(real_frac=0.2).shares(kinds)
    assert sums(shares, "has_truth")[False] == pytest.approx(0.2)
    assert sums(shares, "is_video")[False] == pytest.approx(0.12)
    assert sums(shares, "species") == pytest.approx(dict.fromkeys(range(4), 0.25))
    # More real rows than cats: real media give way, and it is said.
    mixture = Mixture(real_frac=0.5)
    shares = mixture.shares(kinds)
    assert sums(shares, "species") == pytest.approx(dict.fromkeys(range(4), 0.25))
    assert sums(shares, "is_video")[False] == pytest.approx(0.12)
    assert any("real media" in line and "instead of 50%" in line for line in mixture.differences(shares))
    assert not any("cat" in line for line in mixture.differences(shares))


def test_what_is_absent_is_said_and_left_to_the_rest():
    mixture = Mixture()
    shares = mixture.shares({Kind(True, 0, True), Kind(True, 1, True)})
    assert shares == pytest.approx({Kind(True, 0, True): 0.5, Kind(True, 1, True): 0.5})
    assert mixture.differences(shares) == ["no real media, stills, dog, panda: their shares go to the rest"]


def test_shares_that_cannot_be_met_fall_to_what_is_there():
    mixture = Mixture(still_frac=0.5, species={"human": 0.1, "cat": 0.9})
    shares = mixture.shares({Kind(True, 0, True), Kind(True, 1, True), Kind(False, 0, True)})
    assert sum(shares.values()) == pytest.approx(1)
    assert np.all(np.array(list(shares.values())) > 0.01)
    assert any(line.startswith("cat 45%") for line in mixture.differences(shares))
