from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.split import Splitter


@given(st.text())
def test_an_identity_always_lands_in_the_same_split(identity: str) -> None:
    assert Splitter()(identity) == Splitter()(identity)


def test_the_shares_are_kept() -> None:
    counts = Counter(Splitter(val_frac=0.1, test_frac=0.2)(f"cat-{i}") for i in range(4000))
    assert counts["val"] / 4000 == pytest.approx(0.1, abs=0.02)
    assert counts["test"] / 4000 == pytest.approx(0.2, abs=0.02)


def test_another_salt_is_another_split() -> None:
    names = [f"cat-{i}" for i in range(200)]
    assert [Splitter(val_frac=0.3)(n) for n in names] != [Splitter(val_frac=0.3, salt="b")(n) for n in names]


def test_shares_that_leave_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="val_frac"):
        Splitter(val_frac=0.6, test_frac=0.5)
