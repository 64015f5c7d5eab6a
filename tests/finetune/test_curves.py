"""Curves of runs that follow each other: what is read, what is refused, what is drawn."""

from pathlib import Path

import numpy as np
import pytest

from finetune.curves import Curve, CurvePlan, chosen_terms, draw, read_curves
from finetune.metrics_file import MetricsFile


def a_run(folder: Path, rows: list[dict[str, float]]) -> Path:
    for row in rows:
        MetricsFile(path=folder / "metrics.csv").append(row)
    return folder


def test_a_column_is_read_where_it_was_logged(tmp_path: Path) -> None:
    run = a_run(tmp_path / "a", [{"step": 10, "guide": 0.5}, {"step": 20, "guide": 0.25, "spans": 0.125}])
    curves = read_curves(run)
    assert curves["guide"].steps.tolist() == [10, 20]
    assert curves["spans"].steps.tolist() == [20]
    assert curves["spans"].values.tolist() == [0.125]


def test_smoothing_keeps_a_constant_and_halves_a_jump() -> None:
    steps = np.arange(3.0)
    assert Curve(steps=steps, values=np.ones(3)).smoothed(0.9).tolist() == [1, 1, 1]
    assert Curve(steps=steps, values=np.array([0.0, 1, 1])).smoothed(0.5).tolist() == [0, 0.5, 0.75]
    assert Curve(steps=steps, values=np.array([0.0, 1, 2])).smoothed(0.0).tolist() == [0, 1, 2]


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_picture_appears_whole(tmp_path: Path, suffix: str) -> None:
    first = a_run(tmp_path / "people", [{"step": s, "guide": 1 / s, "total": 2.0} for s in (1, 2, 3)])
    second = a_run(tmp_path / "animals", [{"step": s, "spans": 1 / s} for s in (1, 2)])
    out = tmp_path / f"curves{suffix}"
    terms = draw(CurvePlan(runs=f"{first},{second}", out=str(out)))
    assert terms == ["guide", "spans", "total"]
    head = out.read_bytes()[:8]
    assert head == b"\x89PNG\r\n\x1a\n" if suffix == ".png" else b"<?xml" in head
    assert not list(tmp_path.glob("*.part"))


def test_bad_runs_and_terms_are_refused(tmp_path: Path) -> None:
    run = a_run(tmp_path / "a", [{"step": 1, "guide": 1.0}])
    with pytest.raises(ValueError, match=r"no metrics\.csv"):
        read_curves(tmp_path)
    with pytest.raises(ValueError, match="terms: giude is in none of the runs; there are guide"):
        chosen_terms([read_curves(run)], "giude")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "metrics.csv").write_text("step,guide\n1,many\n")
    with pytest.raises(ValueError, match="no table of numbers"):
        read_curves(tmp_path / "b")
    with pytest.raises(ValueError, match="runs names no folder"):
        CurvePlan(runs="", out="a.png")
    with pytest.raises(ValueError, match="neither"):
        CurvePlan(runs="a", out="a.jpg")
