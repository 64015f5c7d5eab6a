import numpy as np
import pytest

from data_pipeline.dedup import NearDuplicates
from data_pipeline.planted import main, measure, plant, puppet_originals, table


@pytest.mark.slow
def test_planted_copies_are_found_and_puppets_in_one_pose_are_told_apart() -> None:
    planted = plant(puppet_originals(2), every=2)
    stills, clips = (measure(planted, NearDuplicates(), clips=wanted) for wanted in (False, True))
    assert stills.recall >= 0.95, stills.recall_of
    assert clips.recall >= 0.95, clips.recall_of
    assert stills.precision >= 0.98, stills.wrong
    assert clips.precision >= 0.98, clips.wrong
    assert "| 2x faster |  |" in table(stills, clips)


def test_a_finder_that_sees_nothing_has_no_recall() -> None:
    rng = np.random.default_rng(0)
    stills = [(f"still{i}", rng.integers(0, 255, (1, 64, 64, 3), np.uint8)) for i in range(3)]
    blind = NearDuplicates(min_shape=1.0, min_detail=1.0, max_spot=0.0)
    found = measure(plant(iter(stills)), blind, clips=False)
    assert found.recall_of.pop("mirrored") == 1.0, "exactly the same once mirrored"
    assert set(found.recall_of.values()) == {0.0}
    assert set(found.recall_of) == {
        "re-encoded", "resized", "cropped", "colour shifted", "cropped, mirrored, re-encoded",
    }  # fmt: skip


def test_unknown_options_are_told() -> None:
    with pytest.raises(ValueError, match="pupets"):
        main(["pupets=3"])
