from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.video import read_frames
from evaluation.driving import DrivingOptions
from evaluation.metrics.signals import Signals
from evaluation.pair_store import Finished, PairStore, code_hash, hash_of, method_hash

FINISHED = Finished({"num_frames": 2, "metrics": {"l1": 0.1}}, {"fid": {"result": np.arange(6.0).reshape(2, 3)}})


def test_an_entry_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    store = PairStore(tmp_path)
    assert store.read("ab") is None
    store.keep("ab", FINISHED)
    found = store.read("ab")
    assert found is not None
    assert found.facts == FINISHED.facts
    assert np.array_equal(found.features["fid"]["result"], FINISHED.features["fid"]["result"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ab.json", "ab.npz"]


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_a_damaged_entry_is_as_good_as_none(tmp_path: Path, suffix: str) -> None:
    store = PairStore(tmp_path)
    store.keep("ab", FINISHED)
    (tmp_path / f"ab{suffix}").write_bytes(b"{ half")
    assert store.read("ab") is None


def test_a_shared_folder_gives_to_another_run_what_it_has(tmp_path: Path) -> None:
    first = PairStore(tmp_path / "a", tmp_path / "shared")
    first.keep("ab", FINISHED)
    first.keep_pixels("ab", [np.full((16, 16, 3), 90, np.uint8)] * 3, Fraction(10))
    second = PairStore(tmp_path / "b", tmp_path / "shared")
    assert second.read("ab") is not None
    assert second.has_pixels("ab")
    assert sum(1 for _ in read_frames(second.pixels("ab"))) == 3
    assert (tmp_path / "b" / "ab.json").exists()
    assert PairStore(tmp_path / "c").read("ab") is None


def test_hashes_follow_content_not_identity_or_memory_order() -> None:
    a = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert hash_of(a) == hash_of(np.asfortranarray(a))
    assert hash_of(a) != hash_of(a.reshape(4, 3))
    assert hash_of(a) != hash_of(a.astype(np.float64))
    assert hash_of({"a": 1, "b": 2}) == hash_of({"b": 2, "a": 1})
    assert hash_of(1) != hash_of("1")
    assert hash_of(["ab", "c"]) != hash_of(["a", "bc"])
    assert hash_of(None) != hash_of("")
    zeros = np.zeros(2, np.float32)
    assert hash_of(Signals(*[zeros] * 6)) != hash_of(Signals(*[zeros] * 5, zeros + 1))
    assert hash_of(DrivingOptions()) != hash_of(DrivingOptions(multiplier=1.5))


def test_a_method_is_known_by_what_it_is_not_where_it_lies() -> None:
    class Some:
        name = "some"

        def __init__(self, multiplier: float = 1.0, **about: object) -> None:
            self.about = about
            self.options = DrivingOptions(multiplier=multiplier)

    here = Some(weights="/here", sha256="aa")
    assert method_hash(here) == method_hash(Some(weights="/there", sha256="aa"))
    assert method_hash(here) != method_hash(Some(weights="/here", sha256="bb"))
    assert method_hash(here) != method_hash(Some(multiplier=2.0, weights="/here", sha256="aa"))


def test_code_is_hashed_by_its_text() -> None:
    assert code_hash(("metrics",)) != code_hash(("methods",))
    assert code_hash(("metrics",)) == code_hash(("metrics",))
