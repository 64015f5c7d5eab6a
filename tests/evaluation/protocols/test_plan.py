from evaluation.protocols import Pair, balanced


def pair(name: str, species: str) -> Pair:
    return Pair(
        pair_id=name, protocol="self", species=species, driver_species=species, num_frames=5, fps=25.0, stride=1,
        load=lambda: None,
    )  # fmt: skip


def test_a_limit_takes_species_in_turn_and_the_same_ones_each_time() -> None:
    pairs = [pair(f"cat{i}", "cat") for i in range(20)] + [pair(f"dog{i}", "dog") for i in range(3)]
    chosen = balanced(pairs, 6)
    assert sum(one.species == "dog" for one in chosen) == 3
    assert chosen == balanced(list(reversed(pairs)), 6)
    assert [one.pair_id for one in chosen] == sorted(one.pair_id for one in chosen)
