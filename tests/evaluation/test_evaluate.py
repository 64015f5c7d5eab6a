import csv
import gc
import json
import weakref
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
import torch

from data_pipeline.video import read_frames
from evaluation.evaluate import Bench, RunOptions, evaluate, measure, write_evaluation
from evaluation.methods import CopySource, Network
from evaluation.metrics.features import FeatureDistance, stand_in_distance
from evaluation.metrics.identity import GalleryRank, IdentityKept, stand_in_reader
from evaluation.metrics.look import PICTURE_WEIGHTS, LookFeatures
from evaluation.metrics.motion import MotionFidelity
from evaluation.metrics.reader import FaceReader, ReaderNetwork, save_reader
from evaluation.metrics.suite import MetricSuite
from evaluation.protocols import Pair, PairFrames, PuppetsCross, SelfReenactment, Truth


class Perfect:
    name, about = "perfect", {"kind": "test"}

    def __call__(self, pair):
        return pair.truth.frames


class Counting(Perfect):
    name = "counting"

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, pair):
        self.calls += 1
        return pair.truth.frames


class Short(Perfect):
    """Loses a frame of cats."""

    name = "short"

    def __call__(self, pair):
        return pair.truth.frames[1:] if pair.species == "cat" else pair.truth.frames


@pytest.fixture
def pairs(puppet_set):
    return SelfReenactment()(puppet_set, "quick", 64, None)


@pytest.fixture
def evaluation(pairs, tmp_path):
    return evaluate(pairs, [CopySource(), Perfect()], MetricSuite(), out=tmp_path, about={"data": "puppets"})


def test_the_truth_beats_the_copy_in_every_error_against_it(evaluation) -> None:
    for name in ("l1", "ssim", "psnr", "l1_face", "grad_distance", "motion_gain", "flicker"):
        perfect, copy = evaluation.mean("perfect", name), evaluation.mean("copy source", name)
        assert perfect is not None
        assert copy is not None
        expected = {"psnr": 100, "ssim": 1, "motion_gain": 1}.get(name, 0)
        assert perfect.mean == pytest.approx(expected, abs=1e-4)
        assert abs(copy.mean - expected) > 0
    assert evaluation.difference("copy source", "perfect", "l1").high < 0


def test_rows_and_summary_say_what_was_not_measured(evaluation, tmp_path) -> None:
    write_evaluation(tmp_path, evaluation)
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert len(rows) == 2 * 2
    assert {row["csim"] for row in rows} == {""}
    assert all(float(row["l1"]) >= 0 for row in rows)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["num_pairs"] == 2
    assert "csim" in summary["not_measured"]
    assert "csim" not in summary["means"]["perfect"]["all"]
    assert set(summary["means"]["perfect"]) == {"all", "cat", "human"}
    assert summary["comparisons"][0]["first"] == "copy source"
    assert not (tmp_path / "failures.csv").exists()


def test_examples_show_driver_truth_and_result(evaluation) -> None:
    assert len(evaluation.examples) == 2
    example = evaluation.examples[0]
    assert example.panels == ("source", "truth", "perfect")
    assert sum(1 for _ in read_frames(example.video)) == 6
    assert example.still.exists()


def test_a_finished_pair_is_not_made_again(pairs, tmp_path) -> None:
    method = Counting()
    first = evaluate(pairs, [method], MetricSuite(), out=tmp_path)
    assert method.calls == len(pairs)
    again = evaluate(pairs, [method], MetricSuite(), out=tmp_path)
    assert method.calls == len(pairs)
    assert again.rows == first.rows
    assert again.about["reused"] == "2 of 2 results"


def test_after_a_kill_only_the_missing_pair_is_made(pairs, tmp_path) -> None:
    method = Counting()
    evaluate(pairs[:1], [method], MetricSuite(), out=tmp_path)
    evaluate(pairs, [method], MetricSuite(), out=tmp_path)
    assert method.calls == len(pairs)


def test_other_pixels_and_other_measures_are_measured_again(pairs, puppet_set, tmp_path) -> None:
    method = Counting()
    evaluate(pairs, [method], MetricSuite(), out=tmp_path)
    evaluate(SelfReenactment()(puppet_set, "quick", 48, None), [method], MetricSuite(), out=tmp_path)
    assert method.calls == 2 * len(pairs)
    evaluate(pairs, [method], MetricSuite(not_measured={"lpips": "another suite"}), out=tmp_path)
    assert method.calls == 3 * len(pairs)
    method.about = {"kind": "test", "sha256": "other weights"}
    evaluate(pairs, [method], MetricSuite(), out=tmp_path)
    assert method.calls == 4 * len(pairs)


def test_another_run_takes_the_baselines_from_the_shared_cache(pairs, tmp_path) -> None:
    method = Counting()
    for run in ("a", "b"):
        bench = Bench(methods=[method], suite=MetricSuite())
        made = measure(pairs, bench, RunOptions(out=tmp_path / run, cache=tmp_path / "shared"))
        assert len(made.examples) == 2
    assert method.calls == len(pairs)


def test_a_pair_that_fails_is_written_down_and_the_others_go_on(pairs, tmp_path) -> None:
    made = evaluate(pairs, [CopySource(), Short()], MetricSuite(), out=tmp_path)
    assert [(failure.method, "frames" in failure.reason) for failure in made.failures] == [("short", True)]
    assert {row.pair_id for row in made.rows if row.method == "short"} == {
        pair.pair_id for pair in pairs if pair.species != "cat"
    }
    write_evaluation(tmp_path, made)
    told = list(csv.DictReader((tmp_path / "failures.csv").read_text().splitlines()))
    assert told[0]["pair_id"] == next(pair.pair_id for pair in pairs if pair.species == "cat")


def test_a_pair_that_cannot_be_read_fails_for_every_method(pairs) -> None:
    from dataclasses import replace

    def broken():
        raise ValueError("clip.mp4 ends\nearly")

    made = evaluate([replace(pairs[0], load=broken), pairs[1]], [CopySource()], MetricSuite())
    assert made.failures[0].reason == "clip.mp4 ends early"
    assert made.failures[0].method == ""
    assert made.num_pairs == 1
    with pytest.raises(ValueError, match=r"no pair could be measured; the first reason: clip\.mp4 ends early"):
        evaluate([replace(pairs[0], load=broken)], [CopySource()], MetricSuite())


def test_tiny_weights_go_the_whole_way(puppet_set, tiny_weights) -> None:
    pairs = PuppetsCross()(puppet_set, "quick", 64, None)
    result = evaluate(pairs, [CopySource(), Network.from_pretrained("tiny", tiny_weights)], MetricSuite())
    assert result.methods["tiny"]["model"] == "tiny"
    assert np.isfinite(result.mean("tiny", "l1").mean)


@pytest.fixture
def young_garbage() -> Iterator[None]:
    """Collecting garbage looks at what a test made and not at a million older objects."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("young_garbage")
@pytest.mark.parametrize("has_store", [True, False])
def test_no_pair_is_held_after_it_was_measured(tmp_path, has_store) -> None:
    """Counts the living pixels of earlier pairs each time a pair is read, and what is kept for the whole set."""
    pixels, kept, most_pixels, most_kept = [], [], [0], [0]

    def alive(some: list) -> int:
        gc.collect()
        return len({id(one()) for one in some if one() is not None})

    def load(seed: int) -> PairFrames:
        most_pixels.append(alive(pixels))
        rng = np.random.default_rng(seed)
        source, driving, true = (rng.integers(0, 256, (count, 48, 48, 3), dtype=np.uint8) for count in (1, 9, 9))
        pixels.extend(weakref.ref(one) for one in (source, driving, true))
        known = {"species": "cat", "truth": Truth(frames=true, species="cat")}
        return PairFrames(source=source[0], driving=driving, source_points=None, driving_points=None, **known)

    class Counted(FeatureDistance):
        def features(self, pair, result):
            found = super().features(pair, result)
            kept.extend(weakref.ref(one) for one in found.values())
            most_kept.append(alive(kept))
            return found

    torch.manual_seed(0)
    save_reader(ReaderNetwork(), tmp_path / "r.safetensors", {})
    reader = FaceReader(path=tmp_path / "r.safetensors", mirror=False)
    look = stand_in_reader(lambda frames: [[] for _ in frames])
    pairs = [
        Pair(pair_id=f"{i}", protocol="puppets_cross", species="cat", driver_species="human", num_frames=9, fps=25.0,
             stride=1, load=partial(load, i)) for i in range(10)
    ]  # fmt: skip
    bench = Bench(
        methods=[CopySource(), Perfect()], suite=MetricSuite(extra=[IdentityKept(look), MotionFidelity(reader=reader)]),
        set_measures=[Counted(LookFeatures(PICTURE_WEIGHTS), is_stand_in=True), GalleryRank(look)], reader=reader,
    )  # fmt: skip
    result = measure(pairs, bench, RunOptions(out=tmp_path / "out" if has_store else None))
    assert result.num_pairs == 10
    assert result.set_values["perfect"]["kid_stand_in"] < result.set_values["copy source"]["kid_stand_in"]
    assert max(most_pixels) == 0
    assert len(kept) == 10 * 2 * 2
    # The store's files hold them, memory those of the pair at hand and of the last few; without a store it holds all.
    assert max(most_kept) <= 12 if has_store else max(most_kept) > 25


def test_what_pairs_contribute_to_the_whole_set_is_the_same_from_files_and_from_memory(pairs, tmp_path) -> None:
    bench = Bench(methods=[CopySource(), Perfect()], suite=MetricSuite(), set_measures=[stand_in_distance()])
    held, read = (measure(pairs, bench, RunOptions(out=out)).set_values for out in (None, tmp_path))
    assert held == read
    assert set(held["perfect"]) == {"fid_stand_in", "kid_stand_in"}


def test_nothing_to_do_and_equal_names_are_refused(pairs) -> None:
    with pytest.raises(ValueError, match="equal names"):
        evaluate(pairs, [CopySource(), CopySource()], MetricSuite())
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate([], [CopySource()], MetricSuite())
    with pytest.raises(ValueError, match="two pairs have one name"):
        evaluate([pairs[0], pairs[0]], [CopySource()], MetricSuite())
