import os
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from data_pipeline.detector_training import DetectorTrainer, DetectorTraining, TorchHeads, collate, read_dataset
from data_pipeline.head_augment import LabelledImage
from data_pipeline.head_labels import Head, HeadPhoto, write_dataset
from data_pipeline.yolo import UltralyticsDetector, load_weights, new_pose_model, quiet_ultralytics, save_weights


def a_photo(index: int, split: str = "train") -> tuple[HeadPhoto, np.ndarray]:
    points = np.array([[20, 30], [40, 30], [30, 40], [25, 50], [35, 50]], np.float32)
    head = Head(species="dog", box_xyxy=np.array([10, 20, 50, 60], np.float32), points_xy=points)
    photo = HeadPhoto(path=Path(f"x/{index}.jpg"), split=split, heads=(head,), identity=str(index))
    return photo, np.random.default_rng(index).integers(0, 256, (80, 96, 3), np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "random.pt"
    save_weights(new_pose_model(), path)
    return path


def test_ultralytics_is_kept_off_the_network() -> None:
    quiet_ultralytics()
    assert os.environ["YOLO_OFFLINE"] == "true"
    assert os.environ["YOLO_AUTOINSTALL"] == "false"
    assert Path(os.environ["YOLO_CONFIG_DIR"]).is_dir()


def test_ultralytics_leaves_pillow_as_it_was(tmp_path: Path) -> None:
    quiet_ultralytics()
    path = tmp_path / "film.mp4"
    path.write_bytes(b"no picture" * 9)
    with pytest.raises(UnidentifiedImageError):
        Image.open(path)


def test_the_network_has_our_species_and_points_and_needs_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("building a network must not look anything up")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    model = new_pose_model()
    head = model.model[-1]
    assert (head.nc, tuple(head.kpt_shape)) == (4, (5, 3))
    assert sum(p.numel() for p in model.parameters()) < 3e6
    with pytest.raises(ValueError, match="choose one of n, s, m"):
        new_pose_model("huge")


def test_weights_come_back_as_they_were_saved(weights: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.pt"
    save_weights(load_weights(weights), again)
    first, second = load_weights(weights).state_dict(), load_weights(again).state_dict()
    assert all((first[name] == second[name]).all() for name in first)


def test_files_that_are_no_weights_are_named(tmp_path: Path) -> None:
    import torch

    with pytest.raises(ValueError, match=r"none\.pt do not exist"):
        load_weights(tmp_path / "none.pt")
    torch.save({"a": 1}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="not a head detector"):
        load_weights(tmp_path / "other.pt")
    torch.save(new_pose_model(), tmp_path / "pickled.pt")
    with pytest.raises(ValueError, match="not a head detector"):
        load_weights(tmp_path / "pickled.pt")


def test_a_batch_holds_fractions_and_the_square_of_each_head() -> None:
    box = np.array([[16, 16, 48, 32]], np.float32)
    points = np.full((1, 5, 3), 32, np.float32)
    points[..., 2] = 2
    head = LabelledImage(np.full((64, 64, 3), 255, np.uint8), np.array([3]), box, points)
    none = LabelledImage(head.image, head.classes[:0], box[:0], points[:0])
    batch = collate([none, head])
    assert batch["img"].shape == (2, 3, 64, 64)
    assert batch["img"].max() == 1
    assert batch["batch_idx"].tolist() == [1]
    assert batch["cls"].tolist() == [[3]]
    assert batch["bboxes"].tolist() == [[0.5, 0.375, 0.5, 0.25]]
    assert batch["keypoints"][0, 0].tolist() == [0.5, 0.5, 2]


def test_a_dataset_folder_is_read_as_pixels_and_puppets_apart(tmp_path: Path) -> None:
    puppet, image = a_photo(7)
    as_puppet = HeadPhoto(path=Path("puppets/p.jpg"), split="train", heads=puppet.heads, identity="p")
    write_dataset(tmp_path, [a_photo(0), (as_puppet, image)])
    (photo,) = read_dataset(tmp_path, "train")
    np.testing.assert_allclose(photo.boxes, [[10, 20, 50, 60]], atol=1e-3)
    np.testing.assert_allclose(photo.points[0, 0], [20, 30, 2], atol=1e-3)
    assert len(read_dataset(tmp_path, "train", puppets=True)) == 1
    with pytest.raises(ValueError, match="holds no jpg"):
        read_dataset(tmp_path, "val")


def test_a_random_network_gives_well_formed_detections() -> None:
    frames = [np.zeros((40, 60, 3), np.uint8), np.zeros((64, 32, 3), np.uint8)]
    found = TorchHeads(model=new_pose_model().eval(), side_px=64, threshold=0.0)(frames, first_frame=2)
    assert [{d.frame for d in heads} for heads in found] == [{2}, {3}]
    assert all(0 <= d.score <= 1 for heads in found for d in heads)


def test_missing_yolo_weights_are_never_downloaded() -> None:
    with pytest.raises(ValueError, match=r"yolo11n\.pt do not exist"):
        UltralyticsDetector(weights="yolo11n.pt")([np.zeros((32, 32, 3), np.uint8)])


@pytest.mark.slow
def test_training_lowers_the_loss_stops_and_goes_on(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", [a_photo(i) for i in range(8)])
    short = {"batch_size": 4, "sides_px": (64,), "stage_ends": (1.0,), "threads": 1, "validate_every_min": 60.0}
    first = DetectorTrainer(DetectorTraining(epochs=2, **short), tmp_path / "data", tmp_path / "out")
    assert first.run() == tmp_path / "out" / "best.pt"
    assert first.step == 4
    second = DetectorTrainer(DetectorTraining(epochs=3, **short), tmp_path / "data", tmp_path / "out")
    assert second.step == 4
    second.run()
    assert second.step == 6
    assert len((tmp_path / "out" / "log.jsonl").read_text().splitlines()) == 2


@pytest.mark.slow
def test_the_exported_file_reads_frames_like_the_network(weights: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxslim", reason="lp-detector export needs the onnx extra")
    from data_pipeline.detect import OnnxHeadDetector
    from data_pipeline.yolo import export_onnx

    out = export_onnx(weights, tmp_path / "x.onnx", 64, {"threshold": 0.0})
    frames = [np.random.default_rng(0).integers(0, 256, (50, 64, 3), np.uint8)]
    ours = OnnxHeadDetector(path=out)(frames)[0]
    theirs = TorchHeads(model=load_weights(weights), side_px=64, threshold=0.0, max_iou=0.5)(frames)[0]
    assert len(ours) > 0
    top, expected = ours[0], theirs[0]
    np.testing.assert_allclose(top.box_xyxy, expected.box_xyxy, atol=0.05)
    with pytest.raises(ValueError, match="multiple of 32"):
        export_onnx(weights, tmp_path / "y.onnx", 50, {})


@pytest.fixture
def coco_model(tmp_path: Path) -> Path:
    """A box model with random weights and COCO's names, as anybody's yolo11n.pt has them."""
    from data_pipeline.yolo import quiet_ultralytics

    quiet_ultralytics()
    import yaml
    from ultralytics import YOLO
    from ultralytics.utils import ROOT

    model = YOLO("yolo11n.yaml")
    model.model.names = yaml.safe_load((ROOT / "cfg/datasets/coco.yaml").read_text())["names"]
    model.save(tmp_path / "coco.pt")
    return tmp_path / "coco.pt"


def test_a_coco_model_is_mapped_by_name_or_number_and_asks_for_allow_boxes(coco_model: Path) -> None:
    frame = [np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)]
    with pytest.raises(ValueError, match=r"allow_boxes=true"):
        UltralyticsDetector(weights=coco_model, side_px=64, threshold=0.0)(frame)
    by_name = UltralyticsDetector(weights=coco_model, side_px=64, threshold=0.0, max_iou=1.0, allow_boxes=True)
    by_number = UltralyticsDetector(
        weights=coco_model, species={15: "cat", "16": "dog"}, side_px=64, threshold=0.0, max_iou=1.0, allow_boxes=True
    )
    assert all(d.point_scores.max() == 0 for d in by_name(frame)[0])
    by_number(frame)
    assert by_name._species_of == {0: "human", 15: "cat", 16: "dog"}
    assert by_number._species_of == {15: "cat", 16: "dog"}


def test_classes_are_told_when_none_fits() -> None:
    from data_pipeline.yolo import classes_of

    with pytest.raises(ValueError, match=r"it has 0 wolf, 1 fox: set them by name or number"):
        classes_of({0: "wolf", 1: "fox"}, {"cat": "cat"}, Path("w.pt"))
    unchecked = getattr(classes_of, "__wrapped__", classes_of)  # without the types that tests check first
    with pytest.raises(ValueError, match="names lion; choose from"):
        unchecked({0: "wolf"}, {"wolf": "lion"}, Path("w.pt"))
    assert classes_of({0: "1", 1: "0"}, {0: "cat", 1: "dog"}, Path("w.pt")) == {0: "dog", 1: "cat"}
