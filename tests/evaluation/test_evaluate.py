import csv
import json

import numpy as np
import pytest

from data_pipeline.video import read_frames
from evaluation.evaluate import evaluate, write_rows, write_summary
from evaluation.methods import CopySource, Network, SimilarityWarp
from evaluation.metrics.catalog import METRICS
from evaluation.metrics.suite import MetricSuite
from evaluation.protocols import PuppetsCross, SelfReenactment
from evaluation.report import write_report


class Perfect:
    name, about = "perfect", {"kind": "test"}

    def __call__(self, pair):
        return pair.truth.frames


@pytest.fixture
def evaluation(puppet_set, tmp_path):
    pairs = SelfReenactment()(puppet_set, "quick", 64, None)
    methods = [CopySource(), SimilarityWarp(), Perfect()]
    return evaluate(pairs, methods, MetricSuite(), examples_dir=tmp_path / "examples", about={"data": "puppets"})


def test_the_truth_beats_the_copy_in_every_number(evaluation) -> None:
    for name in evaluation.measured():
        perfect, copy = evaluation.mean("perfect", name), evaluation.mean("copy source", name)
        assert perfect is not None
        assert copy is not None
        expected = {"psnr": 100, "ssim": 1, "motion_gain": 1}.get(name, 0)
        assert perfect.mean == pytest.approx(expected, abs=1e-4)
        assert abs(copy.mean - expected) > 0
    assert evaluation.mean("copy source", "motion_gain").mean == pytest.approx(0, abs=1e-9)
    assert evaluation.difference("copy source", "perfect", "l1").high < 0


def test_rows_and_summary_say_what_was_not_measured(evaluation, tmp_path) -> None:
    write_rows(tmp_path / "rows.csv", evaluation.rows)
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert len(rows) == 2 * 3
    assert {row["csim"] for row in rows} == {""}
    assert all(float(row["l1"]) >= 0 for row in rows)
    write_summary(tmp_path / "summary.json", evaluation.summary())
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["num_pairs"] == 2
    assert "csim" in summary["not_measured"]
    assert "csim" not in summary["means"]["perfect"]["all"]
    assert set(summary["means"]["perfect"]) == {"all", "cat", "human"}
    assert "copy source" in summary["perfect minus"]


def test_the_same_run_gives_the_same_numbers(puppet_set) -> None:
    def run():
        return evaluate(PuppetsCross()(puppet_set, "quick", 64, None), [CopySource()], MetricSuite())

    assert [row.metrics for row in run().rows] == [row.metrics for row in run().rows]


def test_examples_show_driver_truth_and_result(evaluation) -> None:
    assert len(evaluation.examples) == 2
    example = evaluation.examples[0]
    assert example.panels == ("source", "truth", "similarity warp", "perfect")
    assert sum(1 for _ in read_frames(example.video)) == 6
    assert example.still.exists()


def test_the_report_needs_no_other_file_and_names_every_metric(evaluation, tmp_path) -> None:
    path = write_report(tmp_path / "report.html", [evaluation], title="A <test>", before=["<p>first</p>"])
    page = path.read_text()
    assert "src='http" not in page
    assert 'src="http' not in page
    assert "href=" not in page
    assert "A &lt;test&gt;" in page
    assert "<p>first</p>" in page
    for metric in METRICS:
        assert metric.title in page
    assert "stand-in, not LPIPS" in page
    assert "Not measured:" in page
    assert page.count("data:video/mp4;base64,") == 2
    assert page.count("<svg") == 2


def test_tiny_weights_go_the_whole_way(puppet_set, tiny_weights) -> None:
    pairs = PuppetsCross()(puppet_set, "quick", 64, None)
    result = evaluate(pairs, [CopySource(), Network.from_pretrained("tiny", tiny_weights)], MetricSuite())
    assert result.methods["tiny"]["model"] == "tiny"
    assert np.isfinite(result.mean("tiny", "l1").mean)


def test_two_methods_of_one_name_are_refused(puppet_set) -> None:
    with pytest.raises(ValueError, match="equal names"):
        evaluate(PuppetsCross()(puppet_set, "quick", 64, None), [CopySource(), CopySource()], MetricSuite())
