import pickle
from itertools import pairwise

import numpy as np
import pytest

from data_pipeline.records import Species
from evaluation.metrics.motion import MOTION_METRICS, KeypointDeltas, MotionFidelity
from evaluation.metrics.signals import Signals
from evaluation.protocols.pairs import PairFrames, Truth

T, S = 24, 16
TURN = np.round(30 * np.sin(np.arange(T) / 3)).astype(np.float32)
LIPS = (np.arange(T) % 12 / 12).astype(np.float32)


class PixelReader:
    """Reads what `pictures` wrote into the first two pixels."""

    def __call__(self, frames: np.ndarray, species: Species) -> Signals:
        degrees, openings = frames[:, 0, 0].astype(np.float32) - 128, frames[:, 0, 1].astype(np.float32) / 200
        columns = np.concatenate([degrees, openings], axis=1)
        return Signals(*(np.ascontiguousarray(column) for column in columns.T))


class LandmarkReader(PixelReader):
    """Also gives landmarks, which move with the turn."""

    def with_landmarks(self, frames: np.ndarray, species: Species) -> tuple[Signals, np.ndarray]:
        signals = self(frames, species)
        marks = np.zeros((len(frames), 70, 2), np.float32)
        marks[:, [36, 39]], marks[:, [42, 45]], marks[:, [48, 54]] = (0, 0), (10, 0), (5, 10)
        return signals, marks + signals.yaw_deg[:, None, None]


def pictures(yaw: np.ndarray = TURN, lips: np.ndarray = LIPS) -> np.ndarray:
    frames = np.full((T, S, S, 3), 128, np.uint8)
    frames[:, 0, 0, 1] += yaw.astype(np.int8).view(np.uint8)
    frames[:, 0, 1, :2] = 60
    frames[:, 0, 1, 2] = np.round(lips * 200)
    return frames


def pair(**given) -> PairFrames:
    known = {"truth": None, "source_points": None, "driving_points": None} | given
    return PairFrames(source=pictures()[0], driving=pictures(), **known)


def test_the_driver_itself_is_perfect_and_the_opposite_is_the_worst() -> None:
    measure = MotionFidelity(reader=PixelReader())
    assert measure(pictures(), pair()) == pytest.approx({"yaw_corr": 1, "yaw_lag": 0, "lips_corr": 1, "lips_lag": 0})
    opposite = measure(pictures(yaw=-TURN), pair())
    assert opposite["yaw_corr"] == pytest.approx(-1)
    assert opposite["lips_corr"] == pytest.approx(1)


def test_a_frozen_result_is_zero_and_still_signals_are_not_measured() -> None:
    values = MotionFidelity(reader=PixelReader())(np.repeat(pictures()[:1], T, axis=0), pair())
    assert values == {"yaw_corr": 0, "lips_corr": 0}


def test_each_dose_of_a_fault_lowers_the_number_that_is_meant_to_see_it() -> None:
    measure = MotionFidelity(reader=PixelReader())

    def following(lag: int) -> dict[str, float]:
        return measure(pictures()[np.maximum(0, np.arange(T) - lag)], pair())

    late = [following(lag) for lag in range(4)]
    assert [one["yaw_lag"] for one in late] == [0, 1, 2, 3]
    assert all(b["yaw_corr"] < a["yaw_corr"] for a, b in pairwise(late))


def test_exact_motion_gives_errors_in_its_own_units() -> None:
    exact = PixelReader()(pictures(), "cat")
    measure = MotionFidelity(reader=PixelReader())
    right = measure(pictures(), pair(signals=exact))
    assert [right[name] for name in ("pose_error_deg", "eye_error", "lip_error")] == pytest.approx([0, 0, 0])
    shut = measure(pictures(lips=np.zeros(T)), pair(signals=exact))
    assert shut["lip_error"] == pytest.approx(float(exact.lips[1:].mean()), abs=1e-5)
    assert "pose_error_deg" not in measure(pictures(), pair())


def test_a_sweep_is_read_where_it_acts() -> None:
    measure = MotionFidelity(reader=PixelReader())
    asked = pair(commanded=LIPS, sweep="lips")
    assert measure(pictures(), asked)["commanded_corr"] == pytest.approx(1, abs=1e-3)
    assert measure(pictures(), asked)["commanded_error"] == pytest.approx(0, abs=5e-3)
    assert measure(pictures(), pair(commanded=LIPS, sweep="eyes"))["commanded_corr"] == 0


def test_landmarks_are_compared_with_the_true_frames_where_the_reader_knows_them() -> None:
    truth = Truth(frames=pictures(), species="human")
    measure = MotionFidelity(reader=LandmarkReader())
    assert measure(pictures(), pair(truth=truth))["nme"] == 0
    assert measure(pictures(yaw=TURN + 1), pair(truth=truth))["nme"] == pytest.approx(100 * np.sqrt(2) / 10, rel=1e-5)
    assert "nme" not in measure(pictures(), pair())
    assert measure.missing() == {}
    assert MotionFidelity(reader=PixelReader()).missing() == {"nme": "the face reader reads no dense landmarks"}


def test_it_travels_to_another_process() -> None:
    measure = MotionFidelity(reader=PixelReader())
    measure(pictures(), pair())
    assert pickle.loads(pickle.dumps(measure))(pictures(), pair())["yaw_corr"] == pytest.approx(1)


def test_without_a_reader_every_metric_says_why() -> None:
    measure = MotionFidelity(reader=None)
    assert measure(pictures(), pair()) == {}
    assert set(measure.missing()) | set(KeypointDeltas(read_motion=None).missing()) == {m.name for m in MOTION_METRICS}
    assert all(measure.missing().values())


def test_a_result_of_another_length_is_an_error() -> None:
    with pytest.raises(ValueError, match="23 frames and the driver 24"):
        MotionFidelity(reader=PixelReader())(pictures()[1:], pair())


def test_deltas_of_the_motion_network_are_correlated_over_time() -> None:
    def read_motion(frames: np.ndarray) -> np.ndarray:
        lips = frames[:, 0, 1, 2].astype(np.float32) / 200
        return lips[:, None, None] * np.ones((1, 21, 3), np.float32)

    measure = KeypointDeltas(read_motion=read_motion)
    assert measure(pictures(), pair()) == {"delta_corr": pytest.approx(1)}
    assert measure(pictures(lips=1 - LIPS), pair()) == {"delta_corr": pytest.approx(-1)}
    assert measure(np.repeat(pictures()[:1], T, axis=0), pair()) == {"delta_corr": 0}
    still = pair()._replace(driving=np.repeat(pictures()[:1], T, axis=0))
    assert measure(pictures(), still) == {}


def test_every_metric_is_described_once() -> None:
    names = [metric.name for metric in MOTION_METRICS]
    assert len(set(names)) == len(names)
    assert {f"{part}_{kind}" for part in ("yaw", "pitch", "roll", "eyes", "lips") for kind in ("corr", "lag")} < set(
        names
    )
    assert all(metric.definition and metric.source for metric in MOTION_METRICS)
