from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.split import Relations, Splitter

NAMES = st.sampled_from("abcdefgh")
SAMPLES = st.lists(
    st.builds(Relations, key=NAMES, identity=NAMES, source_id=NAMES, cluster=NAMES, performance=NAMES | st.just("")),
    max_size=12,
).map(lambda samples: [replace(s, key=f"{i}") for i, s in enumerate(samples)])
EVEN = Splitter(val_frac=1 / 3, test_frac=1 / 3)


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


@given(SAMPLES, st.booleans())
def test_what_belongs_together_never_parts(samples: list[Relations], performances: bool) -> None:
    split_of = replace(EVEN, performances_together=performances).assign(samples)
    for name in ("identity", "source_id", "cluster", *(["performance"] if performances else [])):
        for a in samples:
            for b in samples:
                if getattr(a, name) and getattr(a, name) == getattr(b, name):
                    assert split_of[a.key] == split_of[b.key], name


@given(SAMPLES, st.randoms())
def test_the_order_of_samples_does_not_matter(samples: list[Relations], chance) -> None:
    mixed = list(samples)
    chance.shuffle(mixed)
    assert EVEN.assign(mixed) == EVEN.assign(samples)


@given(SAMPLES)
def test_media_that_is_tied_to_nothing_moves_nothing(samples: list[Relations]) -> None:
    stranger = Relations(key="new", identity="0new", source_id="new", cluster="new")
    assert EVEN.assign([*samples, stranger]) == EVEN.assign(samples) | {"new": EVEN("0new")}


@given(SAMPLES, NAMES)
def test_more_media_of_a_known_larger_identity_moves_nothing(samples: list[Relations], name: str) -> None:
    """Of the same individual, from a new file: the smallest identity of the group stays what it was."""
    if name in {s.identity for s in samples}:
        more = Relations(key="new", identity=name, source_id="new", cluster="new")
        after = EVEN.assign([*samples, more])
        assert {s.key: after[s.key] for s in samples} == EVEN.assign(samples)


def test_a_single_sample_splits_as_its_identity_does() -> None:
    for i in range(50):
        one = Relations(key="k", identity=f"cat-{i}", source_id="s", cluster="k")
        assert EVEN.assign([one]) == {"k": EVEN(f"cat-{i}")}
