"""Identities are repeatable and distinct."""

import pytest

from data_pipeline.puppets.identity import sample_identity
from data_pipeline.records import SPECIES, Species


@pytest.mark.parametrize("species", SPECIES)
def test_fifty_identities_differ(species: Species) -> None:
    people = [sample_identity(species, index) for index in range(50)]
    assert len({str(sorted(p.shape.items())) for p in people}) == 50
    assert len({str(sorted(p.colour.items())) for p in people}) == 50
    assert len({p.style["backdrop"] for p in people}) >= 3


@pytest.mark.parametrize("species", SPECIES)
def test_the_same_numbers_are_the_same_identity(species: Species) -> None:
    assert sample_identity(species, 3, 1) == sample_identity(species, 3, 1)
    assert sample_identity(species, 3, 1) != sample_identity(species, 3, 2)
    assert sample_identity(species, 3).name == f"{species}-0003"


def test_coats_vary() -> None:
    assert len({sample_identity("cat", index).style["coat"] for index in range(50)}) == 6
    assert len({sample_identity("dog", index).style["coat"] for index in range(50)}) >= 5
    assert len({sample_identity("dog", index).style["ears"] for index in range(50)}) == 3
    assert len({sample_identity("human", index).style["hair"] for index in range(50)}) >= 7


def test_a_negative_index_is_refused() -> None:
    with pytest.raises(ValueError, match="index"):
        sample_identity("cat", -1)
