import cv2
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


def test_pairs_that_nobody_could_tell_apart_count_as_wrong_in_the_strict_precision() -> None:
    rng = np.random.default_rng(0)
    scene = cv2.resize(rng.integers(0, 255, (9, 9, 3), np.uint8), (192, 192), interpolation=cv2.INTER_CUBIC)[None]
    found = measure(plant(iter([("a", scene), ("b", scene)])), NearDuplicates(), clips=False)
    assert (found.precision, found.wrong) == (1.0, [])
    assert found.recall == 1.0
    assert found.strict_precision == pytest.approx(42 / (42 + 49), abs=0.02), "7 + 7 samples, all alike"


@pytest.mark.parametrize(("words", "said"), [(["pupets=3"], "pupets"), (["puppets=0"], "nothing to plant")])
def test_mistakes_are_told(words: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        main(words)
