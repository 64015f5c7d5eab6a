import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_pipeline.adapters.folder import SourceError
from data_pipeline.adapters.landmark_sets import AnimalWebSource, CatFlwSource, CatSetSource, DogFlwSource
from data_pipeline.adapters.points import CATFLW, DOGFLW

FIVE = np.array([[30.0, 40], [70, 40], [50, 60], [40, 75], [60, 75]], np.float32)
"""Right eye, left eye, nose, mouth right, mouth left of an upright face."""


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (100, 100), (len(path.name), 0, 0)).save(path)


def write_pts(path: Path, points: np.ndarray) -> None:
    body = "\n".join(f"{x} {y}" for x, y in points)
    path.write_text(f"version: 1\nn_points: {len(points)}\n{{\n{body}\n}}\n")


def animalweb_points() -> np.ndarray:
    eyes = [[25, 40], [35, 40], [65, 40], [75, 40]]
    return np.array([*eyes, FIVE[2], FIVE[3], FIVE[4], [50, 70], [50, 80]], np.float32)


def test_animalweb(tmp_path: Path) -> None:
    for name in ("domesticcat_1", "domesticdog_2", "giantpanda_3", "lion_4", "domesticcat_5", "domesticcat_6"):
        photo(tmp_path / f"{name}.jpg")
    (tmp_path / "points").mkdir()
    write_pts(tmp_path / "points" / "domesticcat_1.pts", animalweb_points())
    (tmp_path / "domesticcat_5.pts").write_text("version: 1\nn_points: 9\n{\n1 2\n}")
    write_pts(tmp_path / "domesticcat_6.pts", animalweb_points()[:8])
    write_pts(tmp_path / "domesticcat_7.pts", animalweb_points())
    files = {f.path.name: f for f in AnimalWebSource(path=str(tmp_path))()}
    (head,) = files["domesticcat_1.jpg"].heads
    np.testing.assert_allclose(np.array(head.points_xy), FIVE)
    np.testing.assert_allclose(np.array(head.landmarks_xy), animalweb_points())
    assert (head.scheme, head.species, head.box_xyxy) == ("animalweb9", "cat", None)
    assert [files[f"{name}.jpg"].species for name in ("domesticdog_2", "giantpanda_3")] == ["dog", "panda"]
    assert {name: f.problem for name, f in files.items() if f.problem} == {
        "lion_4.jpg": "species not mapped",
        "domesticcat_5.jpg": "annotation damaged",
        "domesticcat_6.jpg": "annotation damaged",
        "domesticcat_7.pts": "listed but absent",
    }


def test_a_cat_of_the_cat_set_has_anchors_and_no_points(tmp_path: Path) -> None:
    for name in ("a", "b c", "d"):
        photo(tmp_path / "CAT_00" / f"{name}.jpg")
    (tmp_path / "CAT_00" / "a.jpg.cat").write_text("9 30 40 70 40 50 75 20 20 15 5 30 15 70 15 85 5 80 20 ")
    (tmp_path / "CAT_00" / "b c.jpg.cat").write_text("9 30 40 x 40 50 75 20 20 15 5 30 15 70 15 85 5 80 20")
    (tmp_path / "CAT_00" / "d.jpg.cat").write_text("")
    files = {f.path.name: f for f in CatSetSource(path=str(tmp_path))()}
    (head,) = files["a.jpg"].heads
    assert head.points_xy is None
    np.testing.assert_array_equal(np.array(head.anchors_xy), [[30, 40], [70, 40], [50, 75]])
    assert head.landmarks_xy is not None
    assert head.landmarks_xy.shape == (9, 2)
    assert files["b c.jpg"].problem == files["d.jpg"].problem == "annotation damaged"


def flw_label(path: Path, count: int, groups: dict[int, tuple[int, ...]], **changed: object) -> None:
    landmarks = np.full((count, 2), 50.0)
    for number, group in groups.items():
        landmarks[list(group)] = FIVE[number]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"labels": landmarks.tolist(), "bounding_boxes": [10, 5, 90, 95]} | changed))


CAT_GROUPS = {
    0: CATFLW.right_eye,
    1: CATFLW.left_eye,
    2: CATFLW.nose,
    3: CATFLW.mouth_right,
    4: CATFLW.mouth_left,
}


def test_catflw(tmp_path: Path) -> None:
    for name in ("00000001_000", "00000001_001", "CAT_01_00000184_024", "x_1"):
        photo(tmp_path / "images" / f"{name}.png")
    labels = tmp_path / "labels"
    flw_label(labels / "00000001_000.json", 48, CAT_GROUPS)
    # The sides the other way round: the viewer's left is still the right side.
    flw_label(labels / "00000001_001.json", 48, CAT_GROUPS | {0: CATFLW.left_eye, 1: CATFLW.right_eye})
    flw_label(labels / "CAT_01_00000184_024.json", 47, {})
    (labels / "x_1.json").write_text('{"labels": [[1, 2')
    flw_label(labels / "gone_1.json", 48, CAT_GROUPS)
    files = {f.path.name: f for f in CatFlwSource(path=str(tmp_path))()}
    for name in ("00000001_000.png", "00000001_001.png"):
        (head,) = files[name].heads
        np.testing.assert_allclose(np.array(head.points_xy), FIVE)
        np.testing.assert_array_equal(np.array(head.box_xyxy), [10, 5, 90, 95])
        assert files[name].identity == "catflw/00000001"
        assert head.landmarks_xy is not None
        assert head.landmarks_xy.shape == (48, 2)
    assert {n: f.problem for n, f in files.items() if f.problem} == {
        "CAT_01_00000184_024.png": "annotation damaged",
        "x_1.png": "annotation damaged",
        "gone_1.json": "listed but absent",
    }


def test_landmarks_that_make_no_face_leave_the_box(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a_1.png")
    flw_label(tmp_path / "labels" / "a_1.json", 48, CAT_GROUPS | {2: CATFLW.right_eye + CATFLW.left_eye})
    label = json.loads((tmp_path / "labels" / "a_1.json").read_text())
    label["labels"][42] = label["labels"][43] = [50, 5]  # the nose above the eyes
    (tmp_path / "labels" / "a_1.json").write_text(json.dumps(label))
    (file,) = CatFlwSource(path=str(tmp_path))()
    assert file.heads[0].points_xy is None
    assert file.heads[0].box_xyxy is not None


def test_dogflw_has_boxes_until_the_landmarks_are_named(tmp_path: Path) -> None:
    groups = {0: DOGFLW.right_eye, 1: DOGFLW.left_eye, 2: (33,), 3: (36,), 4: (37,)}
    for part in ("train", "test"):
        photo(tmp_path / part / "images" / f"{part}.png")
        flw_label(tmp_path / part / "labels" / f"{part}.json", 46, groups)
    files = DogFlwSource(path=str(tmp_path))()
    assert [f.path.stem for f in files] == ["test", "train"]
    assert [f.heads[0].points_xy for f in files] == [None, None]
    named = {"nose": [33], "mouth_right": [36], "mouth_left": [37]}
    (head,) = DogFlwSource(path=str(tmp_path), five_from=named, limit=1)()[0].heads
    np.testing.assert_allclose(np.array(head.points_xy), FIVE)
    with pytest.raises(SourceError, match="landmark 46; dogflw46 has 0-45"):
        DogFlwSource(path=str(tmp_path), five_from={"nose": [46]})()
    with pytest.raises(SourceError, match="snout"):
        DogFlwSource(path=str(tmp_path), five_from={"snout": [4]})()


@pytest.mark.parametrize("source", [AnimalWebSource, CatSetSource, CatFlwSource, DogFlwSource])
def test_another_folder_is_told(tmp_path: Path, source: type[AnimalWebSource]) -> None:
    photo(tmp_path / "a.jpg")
    with pytest.raises(SourceError, match="does not look like"):
        source(path=str(tmp_path))()
