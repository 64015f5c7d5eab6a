import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_pipeline.detect import BoxesDetector, OnnxHeadDetector
from data_pipeline.head_labels import read_labels

# beartype objects to a base class of omegaconf's DictConfig; hence the programs are imported inside the tests as well
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated by PEP 585")

HEADER = "split,path,species,x0,y0,x1,y1,reye_x,reye_y,leye_x,leye_y,nose_x,nose_y,mouthl_x,mouthl_y,mouthr_x,mouthr_y"
ROWS = (
    "val,a.jpg,cat,10,20,50,60,20,30,40,30,30,40,25,50,35,50,2",
    "val,b.jpg,none,,,,,,,,,,,,,,,",
    "val,c.jpg,panda,,,,,,,,,,,,,,,",
    "train,d.jpg,dog,0,0,40,40,,,,,,,,,,,",
)


def miniature(folder: Path) -> Path:
    """Four photos, of which three are in val: one head, one without any, one that cannot be judged."""
    (folder / "labels.csv").write_text("\n".join([f"{HEADER},visibility", *ROWS]) + "\n")
    rng = np.random.default_rng(0)
    for name in "abcd":
        cv2.imwrite(str(folder / f"{name}.jpg"), rng.integers(0, 256, (80, 96, 3), np.uint8))
    return folder


def run_main(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    from data_pipeline import detector_cli

    monkeypatch.setattr(sys, "argv", ["lp-detector", *words])
    try:
        detector_cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_evaluate_writes_the_promised_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, out = miniature(tmp_path), tmp_path / "made" / "metrics.json"
    words = (f"data.root={root}", "data.labels=labels.csv", "split=val", f"out={out}")
    assert run_main(monkeypatch, "evaluate", *words) == 0
    metrics = json.loads(out.read_text())
    for name in ("recall50", "precision50", "point_error_frac", "false_heads", "threshold", "species", "overall"):
        assert name in metrics
    assert {"recall50", "recall50_any_species", "precision50", "point_error_frac"} <= metrics["species"]["cat"].keys()
    assert (metrics["photos"], metrics["photos_not_judged"], metrics["negative_photos"]) == (2, 1, 1)
    assert (tmp_path / "made" / "metrics.config.yaml").is_file()


def test_perfect_boxes_score_perfectly_and_meet_the_goals(tmp_path: Path) -> None:
    from data_pipeline.detector_cli import evaluated, goals_met, table

    photos = [p for p in read_labels(miniature(tmp_path), "labels.csv", "val") if p.heads]
    head = {"frame": 0, "species": "cat", "x0": 10, "y0": 20, "x1": 50, "y1": 60}
    for name, (x, y) in zip(("reye", "leye", "nose", "mouthl", "mouthr"), photos[0].heads[0].points_xy, strict=True):
        head |= {f"{name}_x": float(x), f"{name}_y": float(y)}
    (tmp_path / "boxes.json").write_text(json.dumps([head]))
    numbers = evaluated(BoxesDetector(path=tmp_path / "boxes.json"), photos)
    assert (numbers["recall50"], numbers["precision50"], numbers["point_error_frac"]) == (1, 1, 0)
    assert numbers["threshold"] is None
    assert goals_met(numbers) == {
        "overall": {"recall50": True, "point_error_frac": True},
        "cat": {"recall50": True, "point_error_frac": True},
    }
    assert "cat" in table(numbers)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("evaluate", "data.root=/none", "out=m.json"), "/none/labels.csv does not exist"),
        (("evaluate", "out=m.json"), "option data.root is required"),
        (("evaluate", "data.root=ROOT", "split=test", "out=ROOT/m.json"), "no row with split=test"),
        (("evaluate", "data.root=ROOT", "out=ROOT/m.json", "detector.path=/none.onnx"), "/none.onnx, which does not"),
        (("evaluate", "data.root=ROOT", "out=ROOT/m.json", "detector=boxes"), "option detector.path is required"),
        (("export", "data.root=ROOT", "weights=/none.pt", "out=ROOT/x.pt"), "must end with .onnx"),
        (("export", "data.root=ROOT", "weights=/none.pt", "out=ROOT/x.onnx"), "/none.pt do not exist"),
        (("export", "data.root=ROOT", "out=ROOT/x.onnx"), "weights=FILE"),
        (("command=dance", "data.root=ROOT", "out=ROOT/x"), "unknown command 'dance'"),
    ],
)
def test_a_users_mistake_is_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    message: str,
) -> None:
    root = miniature(tmp_path)
    assert run_main(monkeypatch, *(word.replace("ROOT", str(root)) for word in words)) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_a_missing_photo_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = miniature(tmp_path)
    (root / "a.jpg").unlink()
    assert run_main(monkeypatch, "evaluate", f"data.root={root}", f"out={root}/m.json") == 1
    assert "a.jpg does not exist" in capsys.readouterr().err


@pytest.mark.slow
def test_training_from_nothing_exports_a_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, out = miniature(tmp_path), tmp_path / "run"
    table_text = (root / "labels.csv").read_text()
    (root / "labels.csv").write_text(table_text + "".join(f"train,d{i}.jpg,cat,5,5,60,60\n" for i in range(7)))
    for i in range(7):
        cv2.imwrite(str(root / f"d{i}.jpg"), np.full((80, 96, 3), 20 * i, np.uint8))
    small = ("training.epochs=1", "training.batch_size=4", "training.sides_px=[64,64]", "training.threads=1")
    assert run_main(monkeypatch, "train", f"data.root={root}", f"out={out}", "side_px=64", *small) == 0
    assert (out / "log.jsonl").is_file()
    model = tmp_path / "x.onnx"
    words = (f"data.root={root}", f"weights={out}/best.pt", f"out={model}", "side_px=64")
    assert run_main(monkeypatch, "export", *words) == 0
    card = json.loads(model.with_suffix(".json").read_text())
    assert card["side_px"] == 64
    words = (f"data.root={root}", f"out={tmp_path}/m.json", f"detector.path={model}")
    assert run_main(monkeypatch, "evaluate", *words) == 0


def test_the_shipped_detector_finds_real_heads(shared_data: Path) -> None:
    """A floor well below the measured numbers: only a broken model, letterbox or channel order falls under it."""
    from data_pipeline.detector_cli import evaluated

    photos = read_labels(shared_data / "heads", "labels.csv", "val")
    numbers = evaluated(OnnxHeadDetector(), photos)
    assert numbers["recall50"] >= 0.85
    assert numbers["false_heads"] <= 2
    assert numbers["point_error_frac"] <= 0.08
