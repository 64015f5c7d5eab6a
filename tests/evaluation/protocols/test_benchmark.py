import pickle

import numpy as np
import pytest

from evaluation.methods import SimilarityWarp, ThinPlateWarp
from evaluation.protocols import PuppetBenchmark
from evaluation.puppet_benchmark import make


@pytest.fixture
def folder(small_benchmark, tmp_path):
    return make(tmp_path / "benchmark", "quick", workers=1).parent


def test_pairs_bring_the_exact_truth(folder) -> None:
    pairs = PuppetBenchmark()(folder, "quick", 48, None)
    assert [pair.facts["level"] for pair in pairs] == ["occlusion", "other_light", "plain"]
    pair = pickle.loads(pickle.dumps(pairs[2]))
    frames = pair.load()
    assert (frames.species, frames.driver_species, frames.fps) == ("cat", "human", 12.5)
    assert frames.driving.shape == frames.truth.frames.shape == (6, 48, 48, 3)
    assert np.array_equal(frames.source, frames.truth.frames[0])
    assert frames.truth.labels.shape == (6, 48, 48)
    assert frames.signals.yaw_deg.shape == (6,)
    assert frames.driving_landmarks.shape == (6, 70, 2)
    assert not np.array_equal(ThinPlateWarp()(frames)[-1], SimilarityWarp()(frames)[-1])


def test_an_empty_folder_is_filled_and_levels_are_chosen(small_benchmark, tmp_path) -> None:
    protocol = PuppetBenchmark(levels=("occlusion",), workers=1)
    (pair,) = protocol(tmp_path / "new", "quick", 64, None)
    assert pair.load().truth.points.max() < 64
    with pytest.raises(ValueError, match="choose some of asymmetric"):
        PuppetBenchmark(levels=("hard",))(tmp_path / "new", "quick", 64, None)


def test_changed_files_are_refused(folder) -> None:
    pairs = PuppetBenchmark()(folder, "quick", 48, None)
    driver = folder / "pairs" / pairs[0].pair_id / "driver.mp4"
    driver.write_bytes(driver.read_bytes() + b"\0")
    with pytest.raises(ValueError, match=r"driver.mp4 is missing or was changed"):
        pairs[0].load()
    (folder / "truth" / f"{pairs[1].pair_id}.npz").unlink()
    with pytest.raises(ValueError, match="is missing or was changed"):
        pairs[1].load()
    with pytest.raises(ValueError, match="size=full was asked for"):
        PuppetBenchmark()(folder, "full", 48, None)
    text = (folder / "pairs.json").read_text()
    (folder / "pairs.json").write_text(text.replace("cat-900", "cat-901"))
    with pytest.raises(ValueError, match="is not version 1"):
        PuppetBenchmark()(folder, "quick", 48, None)


def test_another_folder_is_not_filled(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(ValueError, match="cannot be read as a folder of pairs"):
        PuppetBenchmark()(tmp_path, "quick", 48, None)
