import numpy as np
import pytest

from data_pipeline import buffers
from data_pipeline.buffers import drop_unused, lent


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "_buffers", [])


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_memory_is_lent_again_only_when_nobody_refers_to_it() -> None:
    first = lent((10, 100))
    view = first[3:]
    place = address(first)
    del first
    assert address(lent((10, 100))) != place
    del view
    assert address(lent((10, 100))) == place


def test_a_new_size_takes_the_place_of_a_buffer_that_nobody_uses() -> None:
    used = lent((1,))
    for size in (10_000, 100_000, 1_000_000):
        lent((size,))
    assert len(buffers._buffers) == 4
    new = lent((10_000_000,))
    assert any(new.base is kept for kept in buffers._buffers)
    assert any(used.base is kept for kept in buffers._buffers)


def test_what_is_in_use_stays_when_the_rest_is_dropped() -> None:
    used = lent((1000,))
    lent((100_000,))
    drop_unused()
    assert [kept is used.base for kept in buffers._buffers] == [True]
