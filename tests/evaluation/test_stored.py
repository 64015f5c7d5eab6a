from pathlib import Path

import pytest

from data_pipeline.photo import encode_jpeg
from evaluation.evaluate import Evaluation, PairRow, write_rows, write_summary
from evaluation.stored import read_evaluation


def example(folder: Path) -> Evaluation:
    rows = [
        PairRow(
            pair_id=f"cat-{pair} <- p{pair}",
            protocol="puppets_cross",
            species="cat",
            driver_species="human",
            method=method,
            num_frames=4,
            seconds=0.5,
            metrics={"l1": round(0.1 * pair + offset, 3)},
        )
        for pair in (1, 2)
        for method, offset in (("copy source", 0.3), ("after", 0.1))
    ]
    return Evaluation(
        protocol="puppets_cross",
        rows=rows,
        methods={"copy source": {}, "after": {"weights": "here"}},
        not_measured={"lpips": "no weights"},
        about={"data": str(folder)},
    )


def test_an_evaluation_comes_back_as_it_was_written(tmp_path: Path) -> None:
    import numpy as np

    made = example(tmp_path)
    write_rows(tmp_path / "rows.csv", made.rows)
    write_summary(tmp_path / "summary.json", made.summary())
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "cat-1---p1.jpg").write_bytes(encode_jpeg(np.zeros((8, 8, 3), np.uint8)))
    back = read_evaluation(tmp_path)
    assert back.rows == made.rows
    assert back.summary() == made.summary()
    assert [(e.pair_id, e.panels) for e in back.examples] == [("cat-1 <- p1", ("source", "driver", "truth", "after"))]


def test_a_folder_without_results_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lp-evaluate"):
        read_evaluation(tmp_path)
