from pathlib import Path

import numpy as np
import pytest

from data_pipeline.detector_metrics import judge, match, point_errors, summarise, sweep
from data_pipeline.head_labels import Head, HeadPhoto
from data_pipeline.records import Detection

POINTS = np.array([[30, 40], [70, 40], [50, 60], [40, 80], [60, 80]], np.float32)


def head(species: str = "cat", box: tuple[float, ...] = (0, 0, 100, 100), centre: bool = False) -> Head:
    points = POINTS.copy()
    if centre:
        points[3:] = [50, 80]
    return Head(species=species, box_xyxy=np.array(box, np.float32), points_xy=points, mouth_is_centre=centre)


def found(species: str, box: tuple[float, ...], score: float = 0.9, shift: float = 0.0) -> Detection:
    return Detection(
        frame=0,
        species=species,
        box_xyxy=np.array(box, np.float32),
        points_xy=POINTS + np.float32(shift),
        point_scores=np.ones(5, np.float32),
        score=score,
    )


def photo(*heads: Head, complete: bool = True, subset: str = "s") -> HeadPhoto:
    return HeadPhoto(path=Path("x.jpg"), split="val", heads=heads, complete=complete, subset=subset)


def test_the_best_scored_detection_takes_a_head_and_a_second_one_is_wrong() -> None:
    boxes = np.array([[0, 0, 90, 100], [0, 0, 100, 100]], np.float32)
    assert match(boxes, [0.9, 0.5], np.array([[0, 0, 100, 100]], np.float32)) == {0: 0}
    outcome = judge(photo(head()), [found("cat", (0, 0, 90, 100)), found("cat", (0, 0, 100, 100), 0.5)])
    assert sorted(right for _, right in outcome.detections) == [False, True]


def test_a_box_below_half_overlap_does_not_count() -> None:
    outcome = judge(photo(head()), [found("cat", (0, 0, 49, 100))])
    assert not outcome.heads[0].found
    assert not outcome.heads[0].found_any
    assert judge(photo(head()), [found("cat", (0, 0, 51, 100))]).heads[0].found


def test_the_wrong_species_counts_only_for_the_box() -> None:
    summary = summarise([judge(photo(head("cat")), [found("dog", (0, 0, 100, 100))])])
    cat = summary["species"]["cat"]
    assert (cat["recall50"], cat["recall50_any_species"], cat["species_accuracy"]) == (0, 1, 0)
    assert summary["overall"]["precision50"] == 0
    assert summary["confusion"] == {"cat": {"dog": 1}}
    assert cat["point_error_frac"] is None


def test_a_weaker_detection_of_the_right_species_beats_a_stronger_wrong_one() -> None:
    both = [found("dog", (0, 0, 100, 100), 0.9), found("cat", (0, 0, 95, 100), 0.4)]
    outcome = judge(photo(head("cat")), both)
    assert outcome.heads[0].found
    assert outcome.heads[0].named == "cat"
    assert dict(outcome.detections) == {"dog": False, "cat": True}


def test_point_error_is_the_distance_over_the_side_of_the_box() -> None:
    assert point_errors(head(), found("cat", (0, 0, 100, 100), shift=3)) == pytest.approx([0.03 * 2**0.5] * 5, abs=1e-6)


def test_only_labelled_points_count_and_a_mouth_centre_is_one_point() -> None:
    partly = head()
    partly.points_xy[2:] = np.nan
    assert len(point_errors(partly, found("cat", (0, 0, 100, 100)))) == 2
    assert point_errors(head(centre=True), found("cat", (0, 0, 100, 100))) == pytest.approx([0, 0, 0, 0])


def test_false_heads_are_counted_on_negative_photos_alone() -> None:
    box = (0, 0, 100, 100)
    photos = [photo(), photo(), photo(head()), photo(complete=False)]
    detections = [[found("cat", box)], [], [found("cat", box), found("dog", (200, 0, 300, 90))], [found("cat", box)]]
    summary = summarise(judge(p, d) for p, d in zip(photos, detections, strict=True))
    assert summary["negative_photos"] == 2
    assert summary["false_heads_count"] == 1
    assert summary["false_heads"] == 5.0
    # the photo with unboxed heads says nothing about precision: 1 of 3 detections on the others is right
    assert summary["overall"]["detections"] == 3
    assert summary["overall"]["precision50"] == pytest.approx(1 / 3, abs=1e-4)


def test_numbers_are_given_by_species_and_subset() -> None:
    photos = [photo(head("cat"), subset="a"), photo(head("cat"), subset="b"), photo(head("dog"), subset="a")]
    detections = [[found("cat", (0, 0, 100, 100))], [], [found("dog", (0, 0, 100, 100))]]
    summary = summarise(judge(p, d) for p, d in zip(photos, detections, strict=True))
    assert summary["overall"]["recall50"] == pytest.approx(2 / 3, abs=1e-4)
    assert summary["species"]["cat"]["recall50"] == 0.5
    assert summary["subsets"]["cat/a"]["recall50"] == 1
    assert summary["subsets"]["cat/b"]["recall50"] == 0
    assert summary["species"].keys() == {"cat", "dog"}


def test_recall_falls_and_precision_is_defined_along_the_sweep() -> None:
    photos = [photo(head()), photo()]
    detections = [[found("cat", (0, 0, 100, 100), 0.6)], [found("cat", (0, 0, 9, 9), 0.3)]]
    rows = sweep(photos, detections, [0.1, 0.5, 0.9])
    assert [row["recall50"] for row in rows] == [1, 1, 0]
    assert [row["false_heads"] for row in rows] == [10, 0, 0]
    assert rows[2]["precision50"] is None


def test_nothing_to_judge_gives_empty_numbers() -> None:
    summary = summarise([])
    assert summary["overall"]["heads"] == 0
    assert summary["overall"]["recall50"] is None
    assert summary["false_heads"] is None
