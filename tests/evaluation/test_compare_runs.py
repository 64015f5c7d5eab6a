from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.video import read_frames
from evaluation.compare_runs import compare_runs
from evaluation.evaluate import evaluate, write_evaluation
from evaluation.methods import CopySource
from evaluation.metrics.suite import MetricSuite
from evaluation.protocols import SelfReenactment
from evaluation.report import write_report
from evaluation.rows import Failure, write_failures


class Darker:
    """The truth, darker."""

    name = "after"

    def __init__(self, by: int) -> None:
        self.by = by
        self.about = {"kind": "network", "sha256": f"{by}"}

    def __call__(self, pair):
        return np.clip(pair.truth.frames.astype(int) - self.by, 0, 255).astype(np.uint8)


def run(puppet_set: Path, out: Path, method: Darker, side_px: int = 64, split: slice = slice(None)) -> Path:
    pairs = SelfReenactment()(puppet_set, "quick", side_px, None)[split]
    out.mkdir()
    write_evaluation(out, evaluate(pairs, [CopySource(), method], MetricSuite(), out=out))
    return out


def test_runs_become_one_report_against_the_first(puppet_set, tmp_path) -> None:
    folders = [run(puppet_set, tmp_path / name, Darker(by)) for name, by in (("a", 8), ("b", 4), ("c", 2))]
    joined = compare_runs(folders, tmp_path / "joined")
    assert list(joined.methods) == ["copy source", "a", "b", "c"]
    assert joined.reference == "a"
    assert joined.compared == [("a", "b"), ("a", "c"), ("a", "copy source")]
    assert joined.num_pairs == 2
    means = [joined.mean(name, "l1").mean for name in "abc"]
    assert means == sorted(means, reverse=True)
    video = next(example.video for example in joined.examples if example.video)
    frame = next(read_frames(video))
    assert joined.examples[0].panels == ("source", "truth", "a", "b", "c")
    assert frame.shape[1] == 5 * 192 + 4 * 4


def test_a_method_of_equal_name_and_weights_counts_once(puppet_set, tmp_path) -> None:
    folders = [run(puppet_set, tmp_path / name, Darker(8)) for name in "ab"]
    assert list(compare_runs(folders, tmp_path / "joined").methods) == ["copy source", "after"]


def test_the_report_says_that_two_runs_measured_the_same_network(puppet_set, tmp_path) -> None:
    folders = [run(puppet_set, tmp_path / name, Darker(8)) for name in "ab"]
    joined = compare_runs(folders, tmp_path / "joined")
    page = write_report(tmp_path / "report.html", [joined]).read_text()
    said = f"“after” of {folders[1]} has the same weights and options as in {folders[0]}: it is one column here."
    assert joined.about["notes"] == [said]
    assert page.count(said) == 1
    others = compare_runs([folders[0], run(puppet_set, tmp_path / "c", Darker(4))], tmp_path / "other")
    assert "notes" not in others.about


def test_what_failed_in_both_runs_for_one_reason_is_told_once(puppet_set, tmp_path) -> None:
    folders = [run(puppet_set, tmp_path / name, Darker(by)) for name, by in (("a", 8), ("b", 4))]
    lost, own = (Failure(pair_id="x", method=method, reason="cannot be read") for method in ("", "after"))
    for folder in folders:
        write_failures(folder / "failures.csv", [lost, own])
    joined = compare_runs(folders, tmp_path / "joined")
    assert joined.failures == [lost, replace(own, method="a"), replace(own, method="b")]


def test_only_pairs_of_equal_pixels_are_compared(puppet_set, tmp_path) -> None:
    whole = run(puppet_set, tmp_path / "whole", Darker(8))
    part = run(puppet_set, tmp_path / "part", Darker(4), split=slice(1))
    joined = compare_runs([whole, part], tmp_path / "joined")
    assert joined.num_pairs == 1
    assert "different sets of pairs" in joined.not_measured["fid"]
    other = run(puppet_set, tmp_path / "other", Darker(4), side_px=48)
    with pytest.raises(ValueError, match="no pair in common"):
        compare_runs([whole, other], tmp_path / "none")


def test_runs_of_different_protocols_are_refused(puppet_set, tmp_path) -> None:
    one, two = (run(puppet_set, tmp_path / name, Darker(8)) for name in "ab")
    text = (two / "summary.json").read_text()
    (two / "summary.json").write_text(text.replace('"protocol": "self"', '"protocol": "forgetting"'))
    with pytest.raises(ValueError, match="different protocols"):
        compare_runs([one, two], tmp_path / "joined")


def test_without_the_finished_pairs_there_are_numbers_but_no_pictures(puppet_set, tmp_path) -> None:
    import shutil

    folders = [run(puppet_set, tmp_path / name, Darker(by)) for name, by in (("a", 8), ("b", 4))]
    for folder in folders:
        shutil.rmtree(folder / ".pairs")
    joined = compare_runs(folders, tmp_path / "joined")
    assert joined.examples == []
    assert joined.mean("b", "l1") is not None
