"""Numbers of a gallery: identity among all photos, shares that reach a goal, and which pairs went worst."""

import math

import numpy as np
import pytest

from evaluation.gallery_cast import Animal
from evaluation.gallery_rows import BASE, COPY, METHODS, TUNED
from evaluation.gallery_scores import (
    FAULTS,
    IDENTITY,
    LOOK,
    POSE,
    PairScore,
    mean,
    share,
    with_identity,
    worst_cases,
)
from evaluation.metrics.identity import GalleryRank, stand_in_reader


def animal(name: str) -> Animal:
    return Animal(name=name, file=f"{name}.jpg", species="cat", origin="here", licence="CC0")


def pair(name: str, driver: str = "nod", copy: dict | None = None, **tuned: float) -> PairScore:
    return PairScore(animal=animal(name), driver=driver, values={COPY: copy or {}, BASE: {}, TUNED: tuned})


def looks(source: int, *result: int) -> dict[str, np.ndarray]:
    """Embeddings that are unit vectors; a result of -1 has no head."""
    unit = np.eye(3, dtype=np.float32)
    frames = [unit[i] if i >= 0 else np.zeros(3, np.float32) for i in result]
    return {"result": np.stack(frames), "source": unit[source], "species": np.array(1)}


def test_identity_is_the_share_of_frames_that_are_nearest_to_their_own_photo() -> None:
    features = {
        "a / nod": dict.fromkeys(METHODS, looks(0, 0, 0, 0, 1)),
        "b / nod": dict.fromkeys(METHODS, looks(1, -1, 1)),
        "c / nod": {COPY: looks(2, 2), BASE: {}, TUNED: {**looks(2, 2), "result": np.zeros((4, 1), np.float32)}},
    }
    found = with_identity([pair("a"), pair("b"), pair("c")], features, GalleryRank(stand_in_reader()))
    assert [one.value(IDENTITY) for one in found] == [0.75, 0.5, 0.0]
    assert found[2].value(IDENTITY, COPY) == 1.0
    assert math.isnan(found[2].value(IDENTITY, BASE))


def test_one_photo_alone_has_no_identity_to_lose() -> None:
    features = {"a / nod": dict.fromkeys(METHODS, looks(0, 0)), "a / shake": dict.fromkeys(METHODS, looks(0, 1))}
    found = with_identity([pair("a"), pair("a", "shake")], features, GalleryRank(stand_in_reader()))
    assert all(math.isnan(one.value(IDENTITY)) for one in found)


def test_the_pose_is_the_mean_of_what_moves() -> None:
    pairs = [pair("a", yaw_corr=0.9, roll_corr=0.5, eyes_corr=-1.0), pair("b", eyes_corr=0.3)]
    found = with_identity(
        pairs, {one.name: {key: {} for key in METHODS} for one in pairs}, GalleryRank(stand_in_reader())
    )
    assert found[0].value(POSE) == pytest.approx(0.7)
    assert math.isnan(found[1].value(POSE))


def test_shares_and_means_leave_out_what_was_not_measured() -> None:
    pairs = [pair("a", **{POSE: 0.9}), pair("b", **{POSE: 0.5}), pair("c")]
    assert share(pairs, POSE, TUNED, 0.7) == (1, 2)
    assert share(pairs, POSE, TUNED, 0.7).percent == 50
    assert mean(pairs, POSE, TUNED) == pytest.approx(0.7)
    assert math.isnan(mean(pairs, POSE, BASE))
    assert math.isnan(share(pairs, POSE, BASE, 0.7).percent)


def test_the_worst_of_each_kind_come_first() -> None:
    pairs = [
        pair("a", **{IDENTITY: 1.0, POSE: 0.9, LOOK: 0.9, "warp_error": 0.01}),
        pair("b", **{IDENTITY: 0.5, POSE: 0.1, LOOK: 0.8, "warp_error": 0.03}),
        pair("c", **{IDENTITY: 0.5, POSE: 0.2, LOOK: 0.7, "warp_error": 0.02}),
    ]
    found = worst_cases(pairs, 2)
    named = {fault.metric: [one.pair.animal.name for one in found if one.fault == fault] for fault in FAULTS}
    assert named[IDENTITY] == ["c", "b"]  # equally bad: the look decides
    assert named[POSE] == ["b", "c"]
    assert named["warp_error"] == ["b", "c"]
    assert named["flicker_excess"] == []


def test_what_reaches_its_goal_is_no_fault() -> None:
    found = worst_cases([pair("a", **{IDENTITY: 1.0, POSE: 0.95})])
    assert found == []


def test_a_head_that_the_photo_does_not_have_is_not_lost() -> None:
    pairs = [
        pair("hidden", copy={"detected": 0.0}, detected=0.0),
        pair("lost", copy={"detected": 100.0}, detected=60.0),
    ]
    assert [one.pair.animal.name for one in worst_cases(pairs)] == ["lost"]
