from pathlib import Path

from finetune.metrics_file import MetricsFile


def test_rows_keep_their_names_and_steps_come_once(tmp_path: Path) -> None:
    file = MetricsFile(path=tmp_path / "run" / "metrics.csv")
    assert file.rows() == []
    file.append({"step": 2, "a": 1.0})
    file.append({"step": 4, "a": 2.0, "late": 0.5})
    assert file.path.read_text().splitlines() == ["step,a,late", "2,1.0,", "4,2.0,0.5"]
    file.cut_after(3)
    assert [row["step"] for row in file.rows()] == ["2"]
    file.cut_after(1)
    assert not file.path.exists()
    file.cut_after(1)
    assert list(file.path.parent.iterdir()) == []
