import csv
import json
import pickle
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.detect import (
    STARTER,
    BoxesDetector,
    DetectorError,
    HeadDetector,
    Heads,
    OnnxHeadDetector,
    box_iou,
    decode,
    letterbox,
    merged,
    mirrored,
    suppress,
)
from data_pipeline.records import FLIPPED_POINTS


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from([64, 160, 320]))
def test_letterbox_and_back_is_the_identity(height: int, width: int, side: int) -> None:
    box = letterbox(np.zeros((height, width, 3), np.uint8), side)
    assert box.square.shape == (side, side, 3)
    points = np.random.default_rng(0).uniform(0, [width, height], (7, 2)).astype(np.float32)
    np.testing.assert_allclose(box.to_source(box.from_source(points)), points, atol=1e-3)


def test_letterbox_keeps_the_picture_whole_and_centred() -> None:
    frame = np.full((50, 100, 3), 255, np.uint8)
    box = letterbox(frame, 64)
    assert (box.square[16:48] == 255).all()
    assert (box.square[:16] == 114).all()
    assert (box.square[48:] == 114).all()
    np.testing.assert_allclose(box.from_source(np.array([[0, 0], [100, 50]], np.float32)), [[0, 16], [64, 48]])


def test_an_empty_frame_is_refused() -> None:
    with pytest.raises(DetectorError, match="nothing to detect"):
        letterbox(np.zeros((0, 5, 3), np.uint8), 64)


def test_iou_of_known_boxes() -> None:
    a = np.array([[0, 0, 2, 2], [0, 0, 0, 0]], np.float32)
    b = np.array([[1, 0, 3, 2], [0, 0, 2, 2], [5, 5, 6, 6]], np.float32)
    np.testing.assert_allclose(box_iou(a, b), [[1 / 3, 1, 0], [0, 0, 0]], atol=1e-6)


def test_suppression_keeps_the_best_of_overlapping_boxes() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30]], np.float32)
    assert suppress(boxes, np.array([0.5, 0.9, 0.7], np.float32), 0.5) == [1, 2]
    assert suppress(boxes, np.array([0.5, 0.9, 0.7], np.float32), 0.9) == [1, 2, 0]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 30), st.integers(0, 1000))
def test_suppressed_boxes_never_overlap_more_than_allowed(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 50, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 40, (count, 2))], axis=1).astype(np.float32)
    kept = suppress(boxes, rng.uniform(size=count).astype(np.float32), 0.4)
    overlap = box_iou(boxes[kept], boxes[kept]) - np.eye(len(kept), dtype=np.float32)
    assert overlap.max(initial=0) <= 0.4
    # nothing may vanish: every box is kept or overlaps a kept one
    assert count == 0 or (box_iou(boxes, boxes[kept]).max(axis=1) > 0.4).all()


def raw_output(rows: list[tuple[float, ...]]) -> np.ndarray:
    """Network output for two classes: each row is cx, cy, w, h, two scores; the points are 0…14."""
    return np.array([[*row, *range(15)] for row in rows], np.float32).T


def test_decode_reads_boxes_scores_and_points() -> None:
    output = raw_output([(10, 20, 4, 8, 0.1, 0.6), (50, 50, 10, 10, 0.9, 0.2), (50, 51, 10, 10, 0.3, 0.8)])
    heads = decode(output, num_classes=2, threshold=0.5, max_iou=0.5)
    np.testing.assert_allclose(heads.boxes, [[45, 45, 55, 55], [8, 16, 12, 24]])
    np.testing.assert_allclose(heads.scores.argmax(axis=1), [0, 1])
    np.testing.assert_allclose(heads.points[0], [[0, 1], [3, 4], [6, 7], [9, 10], [12, 13]])
    np.testing.assert_allclose(heads.point_scores[0], [2, 5, 8, 11, 14])


def test_decode_of_nothing_is_empty() -> None:
    heads = decode(raw_output([(10, 20, 4, 8, 0.1, 0.2)]), num_classes=2, threshold=0.5, max_iou=0.5)
    assert heads.boxes.shape == (0, 4)
    assert heads.points.shape == (0, 5, 2)


def some_heads() -> Heads:
    rng = np.random.default_rng(1)
    boxes = np.array([[10, 10, 40, 50], [60, 10, 90, 40]], np.float32)
    scores = np.array([[0.1, 0.8], [0.6, 0.2]], np.float32)
    points = rng.uniform(10, 50, (2, 5, 2)).astype(np.float32)
    return Heads(boxes, scores, points, rng.uniform(size=(2, 5)).astype(np.float32))


def test_mirroring_twice_changes_nothing_and_once_swaps_the_sides() -> None:
    heads = some_heads()
    once = mirrored(heads, 100)
    for before, after in zip(heads, mirrored(once, 100), strict=True):
        np.testing.assert_allclose(before, after, atol=1e-4)
    np.testing.assert_allclose(once.points[0, 0, 0], 100 - heads.points[0, 1, 0])
    np.testing.assert_allclose(once.point_scores[0], heads.point_scores[0, list(FLIPPED_POINTS)])


def test_merging_equal_readings_changes_nothing_and_a_lone_head_loses_half_its_score() -> None:
    heads = some_heads()
    for before, after in zip(heads, merged(heads, heads, 0.5), strict=True):
        np.testing.assert_allclose(before, after)
    lone = merged(heads, Heads(*(part[:1] for part in heads)), 0.5)
    np.testing.assert_allclose(lone.scores.max(axis=1), [0.8, 0.3])
    none = Heads(*(part[:0] for part in heads))
    np.testing.assert_allclose(merged(none, heads, 0.5).scores.max(axis=1), [0.4, 0.3])
    assert len(merged(none, none, 0.5).boxes) == 0


def test_the_shipped_model_fits_its_card_and_its_size_limit() -> None:
    detector: HeadDetector = OnnxHeadDetector()
    assert isinstance(detector, OnnxHeadDetector)
    assert detector.card["species"] == ["human", "cat", "dog", "panda"]
    assert 0 < detector.used_threshold < 1
    assert STARTER.stat().st_size <= 12e6
    assert STARTER.with_suffix(".md").is_file()


def test_grey_frames_of_any_shape_hold_no_head() -> None:
    frames = [np.full((h, w, 3), 128, np.uint8) for h, w in ((40, 300), (300, 40), (160, 160), (1, 1))]
    assert OnnxHeadDetector(batch_size=3)(frames) == [[], [], [], []]
    assert OnnxHeadDetector()([]) == []


def test_detections_do_not_depend_on_the_batch_and_count_from_the_first_frame() -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (60, 80, 3), np.uint8) for _ in range(3)]
    low = {"threshold": 1e-4, "max_iou": 0.3}
    together = OnnxHeadDetector(**low)(frames, first_frame=7)
    alone = [OnnxHeadDetector(batch_size=1, **low)([frame], first_frame=7 + i)[0] for i, frame in enumerate(frames)]
    assert any(together)
    for found, expected in zip(together, alone, strict=True):
        assert [d.frame for d in found] == [d.frame for d in expected]
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a.box_xyxy, b.box_xyxy, atol=0.1)
            assert (a.box_xyxy >= 0).all()
            assert (a.box_xyxy <= [80, 60, 80, 60]).all()
    assert {d.frame for d in together[0]} == {7}
    assert all(a.score >= b.score for found in together for a, b in pairwise(found))


def test_a_used_detector_can_travel_to_another_process() -> None:
    detector = OnnxHeadDetector()
    detector([np.zeros((8, 8, 3), np.uint8)])
    assert pickle.loads(pickle.dumps(detector)).used_threshold == detector.used_threshold


def broken_copy(folder: Path) -> Path:
    for suffix in (".onnx", ".json"):
        shutil.copy(STARTER.with_suffix(suffix), folder / f"x{suffix}")
    return folder / "x.onnx"


def test_a_missing_or_damaged_model_is_one_clear_sentence(tmp_path: Path) -> None:
    frame = [np.zeros((8, 8, 3), np.uint8)]
    with pytest.raises(DetectorError, match="does not exist"):
        OnnxHeadDetector(path=tmp_path / "none.onnx")(frame)
    model = broken_copy(tmp_path)
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(DetectorError, match="damaged"):
        OnnxHeadDetector(path=model)(frame)
    broken_copy(tmp_path).with_suffix(".json").write_text("{}")
    with pytest.raises(DetectorError, match="not a detector card"):
        OnnxHeadDetector(path=model)(frame)
    card = json.loads(STARTER.with_suffix(".json").read_text())
    model.with_suffix(".json").write_text(json.dumps({**card, "side_px": 64}))
    with pytest.raises(DetectorError, match="does not fit"):
        OnnxHeadDetector(path=model)(frame)
    model.with_suffix(".json").write_text(json.dumps({**card, "species": ["unicorn"]}))
    with pytest.raises(DetectorError, match="unicorn"):
        OnnxHeadDetector(path=model)(frame)


ROWS = [
    {"frame": 3, "species": "cat", "x0": 1, "y0": 2, "x1": 11, "y1": 22},
    {"frame": 4, "species": "dog", "x0": 0, "y0": 0, "x1": 5, "y1": 5, "score": 0.5, "reye_x": 1, "reye_y": 2},
]


def test_given_boxes_come_back_frame_by_frame_from_json_and_csv(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(ROWS))
    with (tmp_path / "a.csv").open("w", newline="") as lines:
        writer = csv.DictWriter(lines, list(ROWS[1]))
        writer.writeheader()
        writer.writerows(ROWS)
    frame = np.zeros((30, 30, 3), np.uint8)
    for name in ("a.json", "a.csv"):
        found = BoxesDetector(path=tmp_path / name)([frame] * 3, first_frame=2)
        assert [[d.species for d in heads] for heads in found] == [[], ["cat"], ["dog"]]
        cat, dog = found[1][0], found[2][0]
        assert cat.score == 1.0
        assert cat.point_scores.sum() == 0
        assert (cat.points_xy >= [1, 2]).all()
        assert (cat.points_xy <= [11, 22]).all()
        assert dog.score == 0.5
        np.testing.assert_allclose(dog.points_xy[0], [1, 2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "neither CSV nor JSON"),
        ('[{"frame": 0, "species": "cow", "x0": 0, "y0": 0, "x1": 1, "y1": 1}]', "species must be"),
        ('[{"frame": 0, "species": "cat", "x0": 5, "y0": 0, "x1": 1, "y1": 1}]', "empty"),
        ('[{"frame": 0, "species": "cat"}]', "x0"),
    ],
)
def test_wrong_boxes_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(text)
    with pytest.raises(DetectorError, match=message):
        BoxesDetector(path=path)([np.zeros((8, 8, 3), np.uint8)])


def test_a_missing_boxes_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match="does not exist"):
        BoxesDetector(path=tmp_path / "none.csv")([np.zeros((8, 8, 3), np.uint8)])
