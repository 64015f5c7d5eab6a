import numpy as np
import pytest

from evaluation.pair_features import PairFeatures
from evaluation.pair_store import Finished, PairStore


def finished(value: float) -> Finished:
    return Finished({"metrics": {}}, {"looks": {"made": np.full(3, value)}, "who": {"source": np.zeros(2)}})


@pytest.fixture(params=[True, False])
def features(request, tmp_path) -> PairFeatures:
    """Of three pairs, kept in files or held."""
    store = PairStore(tmp_path) if request.param else None
    found = PairFeatures("looks", store)
    for i in range(3):
        if store:
            store.keep(f"key{i}", finished(i))
        found.add(f"pair{i}", f"key{i}", finished(i).features["looks"])
    return found


def test_it_is_a_sequence_of_names_and_arrays(features: PairFeatures) -> None:
    assert len(features) == 3
    assert [name for name, _ in features] == ["pair0", "pair1", "pair2"]
    assert [arrays["made"][0] for _, arrays in features] == [0, 1, 2]
    assert features[-1][0] == "pair2"
    assert [name for name, _ in features[1:]] == ["pair1", "pair2"]
    assert set(features[0][1]) == {"made"}
    assert len(list(features)) == len(list(features)) == 3  # it can be gone through again


def test_a_file_that_vanished_meanwhile_is_named(tmp_path) -> None:
    store = PairStore(tmp_path)
    store.keep("key", finished(1))
    found = PairFeatures("looks", store)
    found.add("pair", "key", {})
    (tmp_path / "key.npz").unlink()
    with pytest.raises(ValueError, match=r"key\.npz changed while the run was going .*; run the same command again"):
        found[0]
