import shutil

import numpy as np
import pytest

from evaluation.methods import External
from evaluation.pair_folder import read_pairs
from evaluation.protocols import EyesSweep, PuppetsCross, export


def test_others_work_on_exported_pairs_and_the_protocol_scores_them(family, tmp_path) -> None:
    pairs = PuppetsCross()(family, "quick", 64, None)
    export(tmp_path, pairs)
    entries = read_pairs(tmp_path)["pairs"]
    assert [entry["id"] for entry in entries] == [pair.pair_id for pair in pairs]
    assert not (tmp_path / "truth").exists()
    assert "truth" not in (tmp_path / "pairs.json").read_text()
    (tmp_path / "mirror").mkdir()
    for entry in entries:  # a method that gives the driver back
        shutil.copy(tmp_path / entry["driver"], tmp_path / "mirror" / entry["prediction"])
    (method,) = External.all_in(tmp_path)
    frames = pairs[0].load()
    assert np.abs(method(frames).astype(int) - frames.driving).mean() < 6


def test_a_sweep_has_no_driver_to_be_exported(family, tmp_path) -> None:
    with pytest.raises(ValueError, match="is a sweep"):
        export(tmp_path, EyesSweep()(family, "quick", 64, None))
