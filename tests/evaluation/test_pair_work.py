from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch

from evaluation.metrics.motion import MotionFidelity
from evaluation.metrics.reader import FaceReader, ReaderNetwork, save_reader
from evaluation.metrics.signals import Signals
from evaluation.metrics.suite import MetricSuite
from evaluation.pair_store import PairStore
from evaluation.pair_work import Bench, PairWork, example_rate, pair_panels, worst_frame
from evaluation.protocols import Pair, PairFrames, Truth

SIDE = 32


def pixels(seed: int, count: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (count, SIDE, SIDE, 3), dtype=np.uint8)


def frames_of(**more) -> PairFrames:
    usual = {
        "source": pixels(0)[0], "driving": pixels(1), "source_points": None, "driving_points": None, "species": "cat",
        "truth": Truth(frames=pixels(2), species="cat"),
    }  # fmt: skip
    return PairFrames(**usual | more)


def pair_of(frames: PairFrames, **more) -> Pair:
    usual = {
        "pair_id": "one", "protocol": "puppets_cross", "species": "cat", "driver_species": "human", "num_frames": 4,
        "fps": 25.0, "stride": 2, "load": partial(_same, frames),
        "facts": {"source_identity": "cat-1", "level": "plain"},
    }  # fmt: skip
    return Pair(**usual | more)


def _same(frames: PairFrames) -> PairFrames:
    return frames


class Made:
    about = {"kind": "test"}  # noqa: RUF012
    name = "made"

    def __init__(self, result: object, **about: object) -> None:
        self.result = result
        self.about = {"kind": "test"} | about

    def __call__(self, pair):
        return self.result


class Twin(Made):
    name = "twin"


def outcome_of(result: object, frames: PairFrames | None = None, **more):
    bench = Bench(methods=[Made(result)], suite=MetricSuite(), **more)
    return PairWork(bench, None)(pair_of(frames or frames_of()))


def test_a_row_knows_its_pair() -> None:
    (row,) = outcome_of(pixels(3)).rows
    assert (row.source_identity, row.tags, row.num_frames) == ("cat-1", {"level": "plain"}, 4)
    assert row.metrics["l1"] > 0
    assert "lpips" not in row.metrics


@pytest.mark.parametrize(
    "result", [pixels(3, 3), pixels(3)[:, :16], pixels(3)[..., 0], pixels(3).astype(np.int64), None]
)
def test_what_is_no_result_is_a_failure_with_a_reason(result) -> None:
    outcome = outcome_of(result)
    assert outcome.rows == []
    assert len(outcome.failures) == 1
    assert outcome.failures[0].reason


def test_frames_with_nan_are_counted_not_dropped() -> None:
    result = pixels(3).astype(np.float32) / 255
    result[1, 0, 0, 0] = np.nan
    (row,) = outcome_of(result).rows
    assert row.metrics["broken"] == 25
    assert row.num_frames == 4


def test_a_truth_of_another_length_is_the_pairs_failure() -> None:
    outcome = outcome_of(pixels(3), frames_of(truth=Truth(frames=pixels(2, 3), species="cat")))
    assert outcome.failures[0].method == ""
    assert "the truth has 3 frames" in outcome.failures[0].reason


def test_a_metric_without_a_definition_is_refused() -> None:
    class Odd:
        def missing(self) -> dict:
            return {}

        def __call__(self, result, pair) -> dict:
            return {"beauty": 1.0}

    bench = Bench(methods=[Made(pixels(3))], suite=MetricSuite(extra=[Odd()]))
    with pytest.raises(KeyError, match="does not say what beauty is"):
        PairWork(bench, None)(pair_of(frames_of()))


def test_a_sweep_keeps_what_was_asked_for_and_what_came() -> None:
    def reader(frames, species) -> Signals:
        opened = np.array([0.1, 0.2, np.nan, 0.3], np.float32)
        return Signals(*[opened] * 5, opened * 2)

    asked = np.array([0, 0.25, 0.5, 0.75], np.float32)
    for sweep, factor in (("eyes", 1), ("lips", 2)):
        frames = frames_of(truth=None, commanded=asked, sweep=sweep)
        (row,) = outcome_of(pixels(3), frames, reader=reader).rows
        assert row.curve["commanded"] == pytest.approx([0, 0.25, 0.5, 0.75])
        assert row.curve[sweep][2] is None
        assert row.curve[sweep][3] == pytest.approx(0.3 * factor)
    assert outcome_of(pixels(3)).rows[0].curve == {}


def test_a_sweep_is_read_once_for_its_numbers_and_its_curve(tmp_path) -> None:
    torch.manual_seed(0)
    save_reader(ReaderNetwork(), tmp_path / "r.safetensors", {})
    reader = FaceReader(path=tmp_path / "r.safetensors", mirror=False)
    read = []
    reader._load().register_forward_hook(lambda *_: read.append(1))
    frames = frames_of(truth=None, commanded=np.array([0, 0.25, 0.5, 0.75], np.float32), sweep="eyes")
    suite = MetricSuite(extra=[MotionFidelity(reader=reader)])
    bench = Bench(methods=[Made(pixels(3)), Twin(pixels(4))], suite=suite, reader=reader)
    outcome = PairWork(bench, None)(pair_of(frames))
    assert all(len(row.curve["eyes"]) == 4 and "commanded_error" in row.metrics for row in outcome.rows)
    assert len(read) == 3  # the driver, and the result of each method


def test_the_worst_frame_is_the_one_furthest_from_the_truth() -> None:
    frames = frames_of()
    made = frames.truth.frames.copy()
    made[2] = 255 - made[2]
    assert worst_frame(made, frames) == 2
    assert worst_frame(made, frames._replace(truth=None)) == 2
    assert worst_frame(made[:2], frames._replace(truth=None)) == 1


def test_panels_are_those_that_exist() -> None:
    frames = frames_of()
    assert list(pair_panels(frames)) == ["source", "driver", "truth"]
    assert list(pair_panels(frames._replace(truth=None))) == ["source", "driver"]
    same = frames._replace(driving=frames.truth.frames)
    assert list(pair_panels(same)) == ["source", "truth"]


def test_others_predictions_are_read_again_each_time(tmp_path) -> None:
    store = PairStore(tmp_path)
    keys = []
    for seed in (3, 3, 4):
        bench = Bench(methods=[Made(pixels(seed), kind="external")], suite=MetricSuite())
        keys.append(PairWork(bench, store)(pair_of(frames_of())))
    assert [outcome.num_reused for outcome in keys] == [0, 1, 0]
    assert keys[0].rows[0].metrics != keys[2].rows[0].metrics


def test_examples_are_as_fast_as_life() -> None:
    assert example_rate(pair_of(frames_of())) == Fraction(25, 2)
    assert example_rate(pair_of(frames_of(), fps=2.0)) == 5
    assert example_rate(pair_of(frames_of(), fps=0.0, stride=1)) == 25
