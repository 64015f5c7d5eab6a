import numpy as np
import pytest

from evaluation.methods import Network, unique_names, weights_hash
from evaluation.protocols import EyesSweep, LipsSweep, PairFrames, SelfReenactment


def test_weights_are_named_apart_and_hashed_by_content(tiny_weights, tmp_path) -> None:
    assert unique_names(["a/x/weights", "a/y/weights"]) == ["x/weights", "y/weights"]
    assert unique_names(["starter"]) == ["starter"]
    assert weights_hash(tiny_weights) == weights_hash(tiny_weights)
    assert len(weights_hash(tiny_weights)) == 16
    assert weights_hash(tmp_path) != weights_hash(tiny_weights)


@pytest.mark.parametrize("side_px", [48, 96])
def test_weights_of_another_size_make_frames_of_the_pairs_size(puppet_set, lively_weights, side_px) -> None:
    network = Network.from_pretrained("lively", lively_weights)
    pair = SelfReenactment()(puppet_set, "quick", side_px, None)[0]
    made = network(pair.load())
    assert network.engine.input_px not in (48, 96)
    assert made.shape == (6, side_px, side_px, 3)
    assert not np.array_equal(made[0], made[-1])


@pytest.mark.parametrize("protocol", [EyesSweep, LipsSweep])
def test_a_sweep_moves_the_source_to_each_ratio(puppet_set, lively_weights, protocol) -> None:
    network = Network.from_pretrained("lively", lively_weights)
    frames = protocol()(puppet_set, "quick", 64, None)[0].load()
    made = network(frames)
    assert made.shape == frames.driving.shape
    # Up and down again: what is asked for twice is made twice, and different ratios make different pictures.
    assert np.abs(made[1].astype(int) - made[-2]).max() <= 1
    assert np.abs(made[0].astype(int) - made[len(made) // 2]).mean() > 0.1


def test_eyes_and_lips_are_other_sweeps_and_stitching_another_method(puppet_set, lively_weights) -> None:
    plain = Network.from_pretrained("plain", lively_weights)
    stitched = Network.from_pretrained("stitched", lively_weights, stitching=True)
    eyes = EyesSweep()(puppet_set, "quick", 64, None)[0].load()
    lips = LipsSweep()(puppet_set, "quick", 64, None)[0].load()
    assert not np.array_equal(plain(eyes), plain(lips))
    assert not np.array_equal(plain(eyes), stitched(eyes))
    assert stitched.about["stitching"] is True


def test_a_sweep_needs_the_sources_own_openings(lively_weights) -> None:
    source = np.zeros((64, 64, 3), np.uint8)
    pair = PairFrames(
        source=source, driving=source[None], truth=None, source_points=None, driving_points=None,
        commanded=np.zeros(1, np.float32), sweep="eyes", pair_id="eyes__cat",
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"eyes__cat: .* protocol.source_eyes=0.35"):
        Network.from_pretrained("lively", lively_weights)(pair)
