from pathlib import Path

import pytest

from data_pipeline.photo import encode_jpeg
from evaluation.evaluate import write_evaluation
from evaluation.results import Evaluation, Example
from evaluation.rows import Failure, PairRow
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
            source_identity=f"cat-{pair}",
            tags={"level": "large pose"},
            pair_hash="ab12",
            method_hash="cd34",
            worst_frame=3,
            curve={"commanded": [0.0, 0.5], "eyes": [0.1, None]},
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
        examples=[
            Example(
                pair_id="cat-1 <- p1",
                species="cat",
                panels=("source", "after"),
                still=folder / "examples" / "cat-1.jpg",
                video=folder / "examples" / "gone.mp4",
            )
        ],
        failures=[Failure(pair_id="cat-3", method="after", reason="it, too, failed")],
        set_values={"after": {"gallery_rank": 0.5}},
        reference="copy source",
    )


def test_an_evaluation_comes_back_as_it_was_written(tmp_path: Path) -> None:
    import numpy as np

    made = example(tmp_path)
    write_evaluation(tmp_path, made)
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "cat-1.jpg").write_bytes(encode_jpeg(np.zeros((8, 8, 3), np.uint8)))
    back = read_evaluation(tmp_path)
    assert back.rows == made.rows
    assert back.failures == made.failures
    assert back.set_values == made.set_values
    assert back.reference == "copy source"
    assert [(e.pair_id, e.panels, e.still, e.video) for e in back.examples] == [
        ("cat-1 <- p1", ("source", "after"), tmp_path / "examples" / "cat-1.jpg", None)
    ]


def test_a_folder_without_results_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lp-evaluate"):
        read_evaluation(tmp_path)
