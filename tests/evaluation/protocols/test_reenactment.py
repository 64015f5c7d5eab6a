import numpy as np
import pytest

from evaluation.protocols import Forgetting, SelfReenactment


def test_in_self_reenactment_driver_and_truth_are_one(puppet_set) -> None:
    pairs = SelfReenactment()(puppet_set, "quick", 64, None)
    assert [pair.species for pair in pairs] == ["cat", "human"]
    frames = pairs[0].load()
    assert frames.driving is frames.truth.frames
    assert np.array_equal(frames.source, frames.truth.frames[0])
    assert [pair.species for pair in SelfReenactment(species=("cat",))(puppet_set, "quick", 64, None)] == ["cat"]


def test_puppets_bring_their_landmarks_and_their_exact_motion(puppet_set) -> None:
    pair = SelfReenactment(species=("cat",))(puppet_set, "quick", 64, None)[0]
    frames = pair.load()
    assert frames.source_landmarks.shape == (70, 2)
    assert frames.driving_landmarks.shape == (6, 70, 2)
    assert np.array_equal(frames.source_openings[:2], [frames.signals.right_eye[0], frames.signals.left_eye[0]])
    # Turned into the crop, as the pixels are: the eyes' line leans as the roll says.
    across = frames.truth.points[:, 1] - frames.truth.points[:, 0]
    leaning = np.degrees(np.arctan2(across[:, 1], across[:, 0]))
    assert np.abs(leaning - frames.signals.roll_deg).max() < 12
    assert (frames.pair_id, frames.fps, frames.species) == (pair.pair_id, 10.0, "cat")


def test_squares_of_another_side_keep_their_points_in_place(family_shards) -> None:
    (large,) = (p for p in SelfReenactment(species=("cat",))(family_shards, "quick", 128, None)[:1])
    (small,) = (p for p in SelfReenactment(species=("cat",))(family_shards, "quick", 64, None)[:1])
    a, b = large.load(), small.load()
    assert a.source.shape == (128, 128, 3)
    assert a.truth.labels.shape == (6, 128, 128)
    assert np.allclose(a.driving_landmarks, b.driving_landmarks * 2)


def test_forgetting_is_about_people_only(puppet_set) -> None:
    pairs = Forgetting()(puppet_set, "quick", 64, None)
    assert [(pair.protocol, pair.species) for pair in pairs] == [("forgetting", "human")]


def test_what_is_not_there_is_said(puppet_set) -> None:
    with pytest.raises(ValueError, match="holds no clip of dog"):
        SelfReenactment(species=("dog",))(puppet_set, "quick", 64, None)
