import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.head_augment import HeadAugmenter, LabelledImage, flipped, transformed_boxes
from data_pipeline.head_labels import (
    Head,
    HeadPhoto,
    LabelError,
    flip_head,
    identity_split,
    read_labels,
    read_people,
    read_photo,
    read_puppets,
    write_dataset,
    yolo_lines,
)

COLUMNS = "split,path,species,x0,y0,x1,y1,reye_x,reye_y,leye_x,leye_y,nose_x,nose_y,mouthl_x,mouthl_y,mouthr_x,mouthr_y"
TABLE = f"""{COLUMNS},visibility,source
train,ox_a.jpg,cat,10,20,50,60,20,30,40,30,30,40,25,50,35,50,2,oxford
train,ox_a.jpg,cat,60,20,90,60,,,,,,,,,,,,oxford
train,dogs_b.jpg,dog,0,0,50,50,10,10,30,10,20,20,20,30,20,30,1,animals3k
val,none.jpg,none,,,,,,,,,,,,,,,,oxford
val,class.jpg,panda,,,,,,,,,,,,,,,,animals3k
"""


def a_head(**changes: object) -> Head:
    points = np.array([[20, 30], [40, 30], [30, 40], [25, 50], [35, 50]], np.float32)
    box = np.array([10, 20, 50, 60], np.float32)
    return Head(**{"species": "cat", "box_xyxy": box, "points_xy": points, **changes})  # type: ignore[arg-type]


def test_a_table_becomes_one_entry_per_photo(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(TABLE)
    cat, dog, none, panda = read_labels(tmp_path, "labels.csv")
    assert len(cat.heads) == 2
    assert cat.path == tmp_path / "ox_a.jpg"
    assert (cat.subset, dog.subset) == ("oxford", "varied")
    np.testing.assert_allclose(cat.heads[0].points_xy[3], [25, 50])
    assert np.isnan(cat.heads[1].points_xy).all()
    assert dog.heads[0].mouth_is_centre
    assert none.is_negative
    assert not panda.complete
    assert not panda.is_negative
    assert [p.path.name for p in read_labels(tmp_path, "labels.csv", "val")] == ["none.jpg", "class.jpg"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("path,species\n", "lacks the columns x0, x1, y0, y1"),
        ("path,species,x0,y0,x1,y1\na.jpg,cow,0,0,1,1\n", "row 2 .*unknown species 'cow'"),
        ("path,species,x0,y0,x1,y1\na.jpg,cat,5,0,1,1\n", "row 2 .*empty"),
        ("path,species,x0,y0,x1,y1\na.jpg,cat,5,zero,9,9\n", "row 2 .*zero"),
    ],
)
def test_a_wrong_table_names_the_row(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "labels.csv").write_text(table)
    with pytest.raises(LabelError, match=message):
        read_labels(tmp_path, "labels.csv")


def test_a_missing_table_or_photo_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"labels\.csv does not exist"):
        read_labels(tmp_path, "labels.csv")
    with pytest.raises(LabelError, match=r"a\.jpg does not exist"):
        read_photo(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_text("no image")
    with pytest.raises(LabelError, match="not a readable image"):
        read_photo(tmp_path / "a.jpg")


def test_yolo_lines_are_fractions_with_visibilities() -> None:
    photo = HeadPhoto(path=Path("a.jpg"), split="train", heads=(a_head(),))
    numbers = [float(v) for v in yolo_lines(photo, 100, 200)[0].split()]
    assert numbers[:5] == [1, 0.15, 0.4, 0.2, 0.4]
    assert numbers[5:8] == [0.1, 0.3, 2]
    assert len(numbers) == 20


def test_unlabelled_points_and_a_mouth_centre_are_not_taught() -> None:
    points = a_head().points_xy.copy()
    points[0] = np.nan
    photo = HeadPhoto(path=Path("a.jpg"), split="train", heads=(a_head(points_xy=points, mouth_is_centre=True),))
    seen = [float(v) for v in yolo_lines(photo, 100, 200)[0].split()][7::3]
    assert seen == [0, 2, 2, 0, 0]


@given(st.integers(60, 500))
def test_flipping_twice_changes_nothing(width: int) -> None:
    head = a_head()
    twice = flip_head(flip_head(head, width), width)
    np.testing.assert_allclose(twice.box_xyxy, head.box_xyxy)
    np.testing.assert_allclose(twice.points_xy, head.points_xy)


def test_a_flip_swaps_left_and_right_points_and_keeps_the_viewers_left_first() -> None:
    flip = flip_head(a_head(), 100)
    np.testing.assert_allclose(flip.box_xyxy, [50, 20, 90, 60])
    np.testing.assert_allclose(flip.points_xy[0], [60, 30])
    assert flip.points_xy[0, 0] < flip.points_xy[1, 0]
    assert flip.points_xy[3, 0] < flip.points_xy[4, 0]


def test_the_split_of_an_identity_is_fixed_and_about_one_fifth_is_val() -> None:
    names = [f"person-{i}" for i in range(1000)]
    splits = [identity_split(name) for name in names]
    assert splits == [identity_split(name) for name in names]
    assert 150 < splits.count("val") < 250
    assert identity_split("lp_d0") == identity_split("lp_d0")


def test_a_dataset_can_be_read_back_as_it_was_written(tmp_path: Path) -> None:
    photo = HeadPhoto(path=Path("heads/a.png"), split="train", heads=(a_head(),), subset="varied", identity="a")
    empty = HeadPhoto(path=Path("none/b.png"), split="val", heads=(), identity="b")
    image = np.full((100, 200, 3), 90, np.uint8)
    counts = write_dataset(tmp_path, [(photo, image), (empty, image)])
    assert counts == {"train/cat": 1, "val/none": 1}
    back, none = read_labels(tmp_path, "labels.csv")
    np.testing.assert_allclose(back.heads[0].box_xyxy, photo.heads[0].box_xyxy)
    np.testing.assert_allclose(back.heads[0].points_xy, photo.heads[0].points_xy)
    assert (back.subset, back.identity, none.is_negative) == ("varied", "a", True)
    np.testing.assert_allclose(read_photo(back.path), image, atol=2)
    assert "flip_idx: [1, 0, 2, 4, 3]" in (tmp_path / "data.yaml").read_text()
    assert (tmp_path / "labels/val/none-b.txt").read_text().strip() == ""


def test_an_identity_in_two_splits_is_refused(tmp_path: Path) -> None:
    image = np.zeros((10, 10, 3), np.uint8)
    pair = [HeadPhoto(path=Path(f"x/{s}.jpg"), split=s, heads=(), identity="same") for s in ("train", "val")]
    with pytest.raises(LabelError, match="two splits"):
        write_dataset(tmp_path, [(photo, image) for photo in pair])


def test_puppet_stills_bring_their_exact_labels(tmp_path: Path) -> None:
    folder = tmp_path / "cat" / "cat-0001"
    folder.mkdir(parents=True)
    (tmp_path / "manifest.json").write_text(json.dumps({}))
    cv2.imwrite(str(folder / "still-0.jpg"), np.full((64, 64, 3), 50, np.uint8))
    points, box = np.random.default_rng(0).uniform(5, 60, (1, 5, 2)), np.array([[4, 4, 60, 60]])
    truth = {"points": points.astype(np.float32), "head_box": box.astype(np.float32)}
    np.savez(folder / "still-0.truth.npz", species="cat", identity="cat-0001", **truth)
    ((photo, image),) = read_puppets(tmp_path)
    assert image.shape == (64, 64, 3)
    assert (photo.heads[0].species, photo.split, photo.subset) == ("cat", "train", "puppet")
    np.testing.assert_allclose(photo.heads[0].points_xy, truth["points"][0])
    with pytest.raises(LabelError, match="lp-puppets"):
        next(read_puppets(tmp_path / "cat"))


def test_people_are_split_by_identity(shared_data: Path) -> None:
    with (shared_data / "corpus/manifest.csv").open(newline="") as lines:
        people = [row for row in csv.DictReader(lines) if row["species"] == "human"]
    by_identity = {row["identity"]: identity_split(row["identity"]) for row in people}
    assert set(by_identity.values()) == {"train", "val"}
    photo, image = next(read_people(shared_data / "corpus"))
    assert photo.split == by_identity[photo.identity]
    assert image.shape == (256, 256, 3)
    x0, y0, x1, y1 = photo.heads[0].box_xyxy
    assert ((photo.heads[0].points_xy >= [x0, y0]) & (photo.heads[0].points_xy <= [x1, y1])).all()


def labelled(points_seen: float = 2) -> LabelledImage:
    image = np.zeros((120, 160, 3), np.uint8)
    cv2.ellipse(image, (80, 60), (40, 30), 0, 0, 360, (255, 255, 255), -1)
    points = np.array([[60, 50], [100, 50], [80, 60], [70, 75], [90, 75]], np.float32)
    seen = np.full((5, 1), points_seen, np.float32)
    box = np.array([[40, 30, 120, 90]], np.float32)
    return LabelledImage(image, np.array([1]), box, np.concatenate([points, seen], axis=1)[None].astype(np.float32))


def test_boxes_move_with_an_upright_map_exactly_and_grow_little_when_turned() -> None:
    boxes = np.array([[40, 30, 120, 90]], np.float32)
    upright = np.array([[2, 0, 5], [0, 0.5, -3]], np.float32)
    np.testing.assert_allclose(transformed_boxes(boxes, upright), [[85, 12, 245, 42]], atol=1e-4)
    turn = np.float32(np.deg2rad(45))
    square = np.array([[-10, -10, 10, 10]], np.float32)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0]], np.float32)
    side = np.diff(transformed_boxes(square, rotation)[0, [0, 2]])[0]
    assert 20 < side < 20 * 2**0.5


def test_flipping_a_labelled_image_twice_changes_nothing() -> None:
    sample = labelled()
    for before, after in zip(sample, flipped(flipped(sample)), strict=True):
        np.testing.assert_array_equal(before, after)


def test_training_squares_keep_labels_on_the_heads() -> None:
    augmenter = HeadAugmenter(photos=[labelled()], puppets=[labelled()], seed=3)
    count = 0
    for _ in range(60):
        square = augmenter.square(96)
        assert square.image.shape == (96, 96, 3)
        assert (square.boxes >= 0).all()
        assert (square.boxes <= 96).all()
        assert len(square.classes) == len(square.boxes) == len(square.points)
        for box, points in zip(square.boxes, square.points, strict=True):
            count += 1
            seen = points[points[:, 2] > 0, :2]
            assert ((seen >= box[:2] - 1) & (seen <= box[2:] + 1)).all()
    assert count > 30


def test_the_same_seed_draws_the_same_squares_and_another_does_not() -> None:
    first, same, other = (HeadAugmenter(photos=[labelled()], seed=seed).square(64).image for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_a_training_set_without_heads_is_refused() -> None:
    none = LabelledImage(
        np.zeros((9, 9, 3), np.uint8), np.zeros(0, int), np.zeros((0, 4), np.float32), labelled().points[:0]
    )
    with pytest.raises(ValueError, match="no head"):
        HeadAugmenter(photos=[none])
