import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_pipeline.adapters import tables
from data_pipeline.adapters.folder import SourceError
from data_pipeline.adapters.tables import TableSource


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a.png", "it's, b.png"):
        Image.new("RGB", (40, 40)).save(tmp_path / name)
    return tmp_path


def write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_rows_of_one_photo_are_its_heads(root: Path) -> None:
    box = {"x0": 1, "y0": 2, "x1": 30, "y1": 31}
    rows = [
        {"file": "a.png", "kind": "tabby", "ship": 1, **box},
        {"file": "a.png", "kind": "hound", "ship": 1, **box},
        {"file": "it's, b.png", "kind": "hound", "ship": 1, "x0": "", "y0": "", "x1": "", "y1": ""},
        {"file": "a.png", "kind": "hound", "ship": 0, **box},
    ]
    write_csv(root / "t.csv", rows)
    columns, classes = {"path": "file", "species": "kind"}, {"tabby": "cat", "hound": "dog"}
    one, other = TableSource(
        path=str(root), manifest="t.csv", columns=columns, classes=classes, only={"ship": "1"}, licence="MIT"
    )()
    assert [h.species for h in one.heads] == ["cat", "dog"]
    assert one.species is None
    np.testing.assert_array_equal(np.array(one.heads[0].box_xyxy), [1, 2, 30, 31])
    assert (other.species, other.heads, other.licence) == ("dog", (), "MIT")


def test_bad_rows_are_drops(root: Path) -> None:
    lines = ['{"path": "a.png", "x0": "left", "y0": 1, "x1": 2, "y1": 3}', "{broken", "[1]"]
    lines += ['{"path": "gone.png"}', '{"path": "it\'s, b.png"}', '{"path": "a.png", "start_s": 3, "stop_s": 1}']
    (root / "t.jsonl").write_text("\n".join(['{"path": "a.png"}', *lines]))
    files = TableSource(path=str(root), manifest=str(root / "t.jsonl"))()
    problems = sorted((f.path.name, f.problem) for f in files)
    assert ("gone.png", "listed but absent") in problems
    assert ("t.jsonl#row3", "row unreadable") in problems
    assert ("t.jsonl#row4", "row unreadable") in problems
    assert ("it's, b.png", "") in problems


def test_points_and_times(root: Path) -> None:
    points = dict(zip(tables.POINT_FIELDS, range(10), strict=True))
    (root / "t.jsonl").write_text(
        json.dumps({"path": "a.png", "species": "cat", **points, "start_s": 1, "stop_s": 2.5}) + "\n"
    )
    (file,) = TableSource(path=str(root), manifest="t.jsonl")()
    np.testing.assert_array_equal(np.array(file.heads[0].points_xy), np.arange(10).reshape(5, 2))
    assert file.span is not None
    assert (file.span.start, file.span.stop, file.span.unit) == (1.0, 2.5, "s")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.csv", "file\na.png\n", "no column path.*it has file"),
        ("t.csv", "path\n", "no rows"),
        ("t.xlsx", "x", "ends in none of"),
        ("t.csv", "path\ngone.png\n", "listed but absent"),
    ],
)
def test_a_wrong_table_is_told(root: Path, name: str, text: str, said: str) -> None:
    (root / name).write_text(text)
    with pytest.raises(SourceError, match=said):
        TableSource(path=str(root), manifest=name)()


def test_a_missing_table_and_an_unknown_field_are_told(root: Path) -> None:
    with pytest.raises(SourceError, match=r"gone\.csv cannot be read"):
        TableSource(path=str(root), manifest="gone.csv")()
    with pytest.raises(SourceError, match=r"unknown fields.*pfad"):
        TableSource(path=str(root), manifest="t.csv", columns={"pfad": "x"})()


def test_parquet_without_pyarrow_is_one_sentence(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "t.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(tables.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SourceError, match="needs pyarrow: pip install pyarrow"):
        TableSource(path=str(root), manifest="t.parquet")()


def test_parquet(root: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    parquet.write_table(pyarrow.table({"path": ["a.png"], "species": ["dog"], "x0": [None]}), root / "t.parquet")
    (file,) = TableSource(path=str(root), manifest="t.parquet")()
    assert (file.path.name, file.species) == ("a.png", "dog")
    (root / "bad.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(SourceError, match="as Parquet"):
        TableSource(path=str(root), manifest="bad.parquet")()
    assert "pyarrow" in sys.modules


def test_the_real_table_of_heads(shared_data: Path) -> None:
    # That table calls the viewer's left corner of the mouth mouthl; ours are the animal's own sides.
    columns = {"mouthr_x": "mouthl_x", "mouthr_y": "mouthl_y", "mouthl_x": "mouthr_x", "mouthl_y": "mouthr_y"}
    root = shared_data / "heads"
    files = TableSource(path=str(root), manifest="labels.csv", columns=columns)()
    heads = [h for f in files if not f.problem for h in f.heads]
    five = [h.points_xy for h in heads if h.points_xy is not None]
    assert len(heads) > 100
    assert len(five) > 100
    ordered = [p[0, 0] < p[1, 0] and p[3, 0] <= p[4, 0] for p in five]
    assert np.mean(ordered) > 0.9, "the right eye is on the viewer's left"
