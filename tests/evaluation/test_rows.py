import csv
from pathlib import Path

import pytest

from evaluation.rows import (
    Failure,
    PairRow,
    read_failures,
    read_rows,
    table_of,
    write_curves,
    write_failures,
    write_rows,
)


def row(method: str = "a", **more) -> PairRow:
    usual = {
        "pair_id": "p, 1", "protocol": "self", "species": "cat", "driver_species": "human", "method": method,
        "num_frames": 3, "seconds": 0.5, "metrics": {"l1": 0.123456789},
    }  # fmt: skip
    return PairRow(**usual | more)


def test_a_number_that_was_not_measured_is_an_empty_cell_never_zero(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.csv", [row(), row("b", metrics={})])
    first, second = csv.DictReader((tmp_path / "rows.csv").read_text().splitlines())
    assert first["l1"] == "0.123457"
    assert second["l1"] == ""
    assert first["lpips"] == ""


def test_rows_come_back(tmp_path: Path) -> None:
    made = [row(metrics={"l1": 0.25}, tags={"level": "occlusion"}, source_identity="cat-7", worst_frame=2), row("b")]
    write_rows(tmp_path / "rows.csv", made)
    back = read_rows(tmp_path / "rows.csv")
    assert back[0] == made[0]
    assert back[1].tags == {}
    assert back[1].metrics == pytest.approx({"l1": 0.123457})


def test_the_parquet_file_holds_the_same_with_nulls(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    written = write_rows(tmp_path / "rows.csv", [row(), row("b", metrics={})])
    assert [path.name for path in written] == ["rows.csv", "rows.parquet"]
    table = parquet.read_table(tmp_path / "rows.parquet").to_pydict()
    assert table["l1"] == [0.123456789, None]
    assert table["method"] == ["a", "b"]
    assert list(table) == table_of([row()])[0]


def test_failures_are_told_and_forgotten_when_there_are_none(tmp_path: Path) -> None:
    path = tmp_path / "failures.csv"
    failures = [Failure(pair_id="p, 1", method="", reason='it said "no"')]
    assert write_failures(path, failures) == path
    assert read_failures(path) == failures
    assert write_failures(path, []) is None
    assert not path.exists()
    assert read_failures(path) == []


def test_without_sweeps_there_is_no_file_of_curves(tmp_path: Path) -> None:
    assert write_curves(tmp_path / "curves.json", [row()]) is None
    assert not (tmp_path / "curves.json").exists()
