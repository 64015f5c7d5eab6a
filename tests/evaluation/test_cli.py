import csv
import json
from dataclasses import replace

import pytest

from evaluation.cli import as_options, heading
from evaluation.results import Evaluation

# beartype warns of a type inside DictConfig, which is not ours.
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated by PEP 585")
FILES = {"rows.csv", "summary.json", "summary.md", "report.html", "config.yaml", "examples", "figures", "protocol.json",
         ".pairs"}  # fmt: skip


def test_a_report_is_called_after_its_networks() -> None:
    network, baseline = {"kind": "network"}, {"kind": "baseline"}
    methods = {"copy source": baseline, "a": network, "b": network}
    result = Evaluation(protocol="self", rows=[], methods=methods, not_measured={}, reference="a")
    assert heading(result) == "a beside b"
    assert heading(replace(result, reference="")) == "Evaluation of a, b"
    assert heading(replace(result, methods={"copy source": baseline})) == "Evaluation of copy source"


def test_evaluate_compares_before_and_after(run, tmp_path, puppet_set, tiny_weights) -> None:
    done = run("evaluate", f"data={puppet_set}", f"weights={tiny_weights}", f"baseline_weights={tiny_weights}",
               "out=eval", "side_px=64", "judge=null", "~detector", "methods.tps=false")  # fmt: skip
    assert done.code == 0, done.err
    made = {path.name for path in (tmp_path / "eval").iterdir()}
    assert made - {"rows.parquet", ".run.lock"} == FILES
    assert "after − before" in (tmp_path / "eval" / "report.html").read_text()
    assert "open " in done.out
    summary = json.loads((tmp_path / "eval" / "summary.json").read_text())
    assert list(summary["methods"]) == ["copy source", "similarity warp", "before", "after"]
    again = run("evaluate", f"data={puppet_set}", f"weights={tiny_weights}", "out=eval2",
                "side_px=64", "judge=null", "~detector",
                "methods.tps=false", "methods.affine=false")  # fmt: skip
    assert again.code == 0, again.err
    other = run("evaluate", f"data={puppet_set}", f"weights={tiny_weights}", "out=eval3",
                "side_px=64", "judge=null", "~detector",
                "methods.tps=false", "multiplier=2")  # fmt: skip
    assert other.code == 0, other.err
    both = run("evaluate", "compare", "eval2", "eval3", "out=both")
    assert both.code == 0, both.err
    # The copy counts once; weights with other options are another method.
    summary = json.loads((tmp_path / "both" / "summary.json").read_text())
    assert list(summary["methods"]) == ["copy source", "similarity warp", "eval2", "eval3"]
    assert summary["reference"] == "eval2"
    odd = run("evaluate", "compare", "eval2", "starter", "out=odd")
    assert "compare starter is not a finished run, but others are" in odd.err


def test_others_predictions_are_exported_scored_and_their_faults_counted(run, tmp_path, puppet_set) -> None:
    usual = [
        f"data={puppet_set}",
        "weights=null",
        "out=eval",
        "side_px=64",
        "judge=null",
        "~detector",
        "methods.tps=false",
    ]
    done = run("evaluate", *usual, "export=bench")
    assert done.code == 0, done.err
    entries = json.loads((tmp_path / "bench" / "pairs.json").read_text())["pairs"]
    (driver,) = (tmp_path / "bench").rglob("driver.mp4")
    (tmp_path / "bench" / "theirs").mkdir()
    wanted = tmp_path / "bench" / "theirs" / entries[0]["prediction"]
    wanted.write_bytes(driver.read_bytes())
    done = run("evaluate", *usual, "methods.external=bench")
    assert done.code == 0, done.err
    assert "theirs" in json.loads((tmp_path / "eval" / "summary.json").read_text())["methods"]
    wanted.write_bytes(b"no video")
    done = run("evaluate", *usual, "methods.external=bench")
    assert done.code == 1
    assert "1 of 3 results failed" in done.err
    failed = list(csv.DictReader((tmp_path / "eval" / "failures.csv").read_text().splitlines()))
    assert [(row["method"]) for row in failed] == ["theirs"]
    assert "What failed" in (tmp_path / "eval" / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["data=nowhere"], "data=nowhere is not a folder"),
        (["data={puppets}", "size=huge"], "size='huge' is unknown; choose quick or full"),
        (["protocol=self"], "protocol=self needs data=DIR"),
        (["data={puppets}", "workers=0"], "workers=0 is out of range"),
        (["data={puppets}", "stitching=sometimes"], "stitching=sometimes is unknown; choose false, true or both"),
        (["data={puppets}", "methods.external=nowhere"], "methods.external=nowhere is not a folder"),
        (["compare=[a]"], "compare needs two or more finished runs or weights"),
    ],
)
def test_a_mistake_in_evaluate_is_one_sentence(run, puppet_set, tiny_weights, options, message) -> None:
    options = [option.format(puppets=puppet_set) for option in options]
    done = run("evaluate", f"weights={tiny_weights}", "out=eval", "~detector", *options)
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert message in done.err


def test_what_people_type_becomes_options() -> None:
    assert as_options(["data=x", "--quick", "weights=y"]) == ["data.path=x", "size=quick", "weights=y"]
    assert as_options(["compare", "runs/a b", "runs/c", "out=d", "data=x"]) == [
        "compare=['runs/a b','runs/c']", "out=d", "data.path=x",
    ]  # fmt: skip
