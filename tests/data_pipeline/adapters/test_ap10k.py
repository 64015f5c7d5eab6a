import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_pipeline.adapters.ap10k import Ap10kSource
from data_pipeline.adapters.folder import SourceError


def keypoints(*visible: int) -> list[float]:
    return [value for i in range(17) for value in (10 + i, 20 + i, 2 if i in visible else 0)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "annotations").mkdir()
    names = {1: "001.jpg", 2: "002.jpg", 3: "003.jpg", 4: "gone.jpg", 5: "../secret.jpg", 6: "006.jpg"}
    for name in ("001.jpg", "002.jpg", "003.jpg", "006.jpg", "../secret.jpg"):
        Image.new("RGB", (40, 40)).save(tmp_path / "data" / name)
    entries = [
        {"image_id": 1, "category_id": 7, "keypoints": keypoints(0, 1, 2, 5), "bbox": [0, 0, 9, 9]},
        {"image_id": 1, "category_id": 9, "keypoints": keypoints(1, 2)},
        {"image_id": 2, "category_id": 8, "keypoints": keypoints(0, 1, 2)},
        {"image_id": 3, "category_id": 7, "keypoints": keypoints(9)},
        {"image_id": 6, "category_id": 7, "keypoints": [1, 2, 3]},
    ]
    record = {
        "categories": [{"id": 7, "name": "cat"}, {"id": 8, "name": "wolf"}, {"id": 9, "name": "Dog"}],
        "images": [{"id": i, "file_name": n} for i, n in names.items()],
        "annotations": entries,
    }
    (tmp_path / "annotations" / "ap10k-train-split1.json").write_text(json.dumps(record))
    return tmp_path


def test_eyes_and_nose_tell_the_heads(root: Path) -> None:
    files = {f.path.name: f for f in Ap10kSource(path=str(root))()}
    cat, dog = files["001.jpg"].heads
    assert (cat.species, dog.species, files["001.jpg"].species) == ("cat", "dog", None)
    np.testing.assert_array_equal(np.array(cat.anchors_xy), [[10, 20], [11, 21], [12, 22]])
    np.testing.assert_array_equal(np.array(dog.anchors_xy), [[11, 21], [12, 22]])
    assert cat.landmarks_xy is not None
    assert np.flatnonzero(np.isfinite(cat.landmarks_xy).all(axis=1)).tolist() == [0, 1, 2, 5]
    assert {n: f.problem for n, f in files.items() if f.problem} == {
        "002.jpg": "species not mapped",
        "003.jpg": "no head labelled",
        "006.jpg": "annotation damaged",
        "gone.jpg": "listed but absent",
        "secret.jpg": "annotation damaged",
    }
    mapped = {f.path.name: f for f in Ap10kSource(path=str(root), classes={"wolf": "dog"})()}
    assert mapped["002.jpg"].heads[0].species == "dog"


def test_wrong_files_are_told(root: Path) -> None:
    with pytest.raises(SourceError, match=r"does not look like AP-10K: no annotations/ap10k-\*-split2\.json"):
        Ap10kSource(path=str(root), split=2)()
    (root / "annotations" / "ap10k-train-split1.json").write_text('{"images": []')
    with pytest.raises(SourceError, match="no COCO keypoint file"):
        Ap10kSource(path=str(root))()
