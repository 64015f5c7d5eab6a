import numpy as np
import pytest

from evaluation.protocols import EyesSweep, LipsSweep


def test_a_curve_goes_up_and_down_again(family) -> None:
    pairs = EyesSweep(high=0.6)(family, "quick", 64, None)
    assert len(pairs) == 8
    frames = pairs[0].load()
    assert frames.sweep == "eyes"
    assert frames.truth is None
    assert len(frames.driving) == len(frames.commanded) == pairs[0].num_frames == 24
    assert frames.commanded[0] == frames.commanded[-1] == 0
    assert np.allclose(frames.commanded, frames.commanded[::-1], atol=1e-4)
    assert frames.commanded.max() == pytest.approx(0.6, abs=0.03)
    assert all(np.array_equal(frame, frames.source) for frame in frames.driving)


def test_puppets_know_their_own_openings_and_others_are_given(family, tmp_path, picture, find_head) -> None:
    pair = LipsSweep()(family, "quick", 64, None)[0]
    assert pair.facts["factor"] == "lips"
    assert pair.load().source_openings.shape == (3,)
    from PIL import Image

    Image.fromarray(picture(100, 90)).save(tmp_path / "cat.png")
    (real,) = LipsSweep(source_lips=0.1)(tmp_path, "quick", 64, find_head)
    assert real.load().source_openings.tolist() == pytest.approx([0, 0, 0.1])
    (unknown,) = LipsSweep(read_openings=False)(tmp_path, "quick", 64, find_head)
    assert unknown.load().source_openings is None
    (read,) = LipsSweep()(tmp_path, "quick", 64, find_head)
    assert read.load().source_openings.shape == (3,)


def test_a_curve_that_does_not_rise_is_refused(family) -> None:
    with pytest.raises(ValueError, match="must rise"):
        EyesSweep(low=0.5, high=0.5)(family, "quick", 64, None)
