import numpy as np
import pytest

from evaluation.protocols import Pair, PuppetsCross, SelfReenactment, balanced


def test_a_person_drives_the_animal_that_performs_the_same(puppet_set) -> None:
    (pair,) = PuppetsCross()(puppet_set, "quick", 64, None)
    assert (pair.species, pair.driver_species, pair.num_frames) == ("cat", "human", 6)
    frames = pair.load()
    assert np.array_equal(frames.source, frames.truth.frames[0])
    assert len(frames.driving) == len(frames.truth.frames) == 6
    assert not np.array_equal(frames.driving[0], frames.source)


def test_in_self_reenactment_driver_and_truth_are_one(puppet_set) -> None:
    pairs = SelfReenactment()(puppet_set, "quick", 64, None)
    assert [pair.species for pair in pairs] == ["cat", "human"]
    frames = pairs[0].load()
    assert np.array_equal(frames.driving, frames.truth.frames)
    assert [pair.species for pair in SelfReenactment(species=("cat",))(puppet_set, "quick", 64, None)] == ["cat"]


def test_without_a_common_performance_the_way_out_is_named(tmp_path, puppet_set) -> None:
    with pytest.raises(ValueError, match="performances=shared"):
        PuppetsCross(driver_species="panda")(puppet_set, "quick", 64, None)
    with pytest.raises(ValueError, match="holds no clip of dog"):
        SelfReenactment(species=("dog",))(puppet_set, "quick", 64, None)


def pair(name: str, species: str) -> Pair:
    return Pair(
        pair_id=name,
        protocol="self",
        species=species,
        driver_species=species,
        num_frames=5,
        fps=25.0,
        stride=1,
        load=lambda: None,
    )


def test_a_limit_takes_species_in_turn_and_the_same_ones_each_time() -> None:
    pairs = [pair(f"cat{i}", "cat") for i in range(20)] + [pair(f"dog{i}", "dog") for i in range(3)]
    chosen = balanced(pairs, 6)
    assert sum(one.species == "dog" for one in chosen) == 3
    assert chosen == balanced(list(reversed(pairs)), 6)
    assert [one.pair_id for one in chosen] == sorted(one.pair_id for one in chosen)
