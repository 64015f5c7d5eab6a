import numpy as np

from evaluation.metrics.signals import both_eyes, signals_of

TRUTH = {
    "pose_deg": np.array([[1, 2, 3], [4, 5, 6]], np.float32),
    "eye_open": np.array([[0.2, 0.4], [0.0, 0.1]], np.float32),
    "lip_open": np.array([0.5, 0.6], np.float32),
}


def test_truth_becomes_columns_with_their_names() -> None:
    signals = signals_of(TRUTH)
    assert signals is not None
    assert signals.pitch_deg.tolist() == [1, 4]
    assert signals.roll_deg.tolist() == [3, 6]
    assert np.allclose(signals.left_eye, [0.4, 0.1])
    assert np.allclose(both_eyes(signals), [0.3, 0.05])
    flat = signals_of(TRUTH | {"lip_open": TRUTH["lip_open"][:, None]})
    assert flat is not None
    assert np.array_equal(flat.lips, signals.lips)


def test_roll_is_counted_from_the_crop() -> None:
    turn = np.radians(30)
    square = np.array([[np.cos(turn), -np.sin(turn), 5], [np.sin(turn), np.cos(turn), 7]], np.float32)
    signals = signals_of(TRUTH, square)
    assert signals is not None
    assert np.allclose(signals.roll_deg, [-27, -24], atol=1e-4)
    assert TRUTH["pose_deg"][0, 2] == 3, "the truth itself is left as it is"


def test_what_is_missing_is_nan_and_nothing_is_none() -> None:
    signals = signals_of({"eye_open": TRUTH["eye_open"]})
    assert signals is not None
    assert np.isnan(signals.yaw_deg).all()
    assert np.isnan(signals.lips).all()
    assert signals.right_eye[0] == np.float32(0.2)
    assert signals_of({"points": np.zeros((2, 5, 2), np.float32)}) is None
