from pathlib import Path

import numpy as np
import pytest

from data_pipeline.crop import move_points
from evaluation.metrics.reader import SIDE_PX
from evaluation.reader_lessons import (
    CACHE_PX,
    MARGIN,
    Lessons,
    drawn,
    find_truth,
    parted,
    read_clip,
    read_lessons,
    widened,
)


def spots() -> Lessons:
    """One grey picture with a white spot at the nose and a red one at the right eye's outer corner."""
    image = np.full((1, CACHE_PX, CACHE_PX, 3), 110, np.uint8)
    marks = np.full((1, 70, 2), CACHE_PX / 2, np.float32)
    marks[0, 30], marks[0, 36], marks[0, 45] = (CACHE_PX / 2, CACHE_PX / 2 + 12), (64, 66), (112, 66)
    for x, y, level in ((*marks[0, 30], (255, 255, 255)), (*marks[0, 36], (255, 0, 0))):
        image[0, int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4] = level
    points = marks[:, [36, 45, 30, 48, 54]]
    pose = np.array([[5, 10, 0]], np.float32)
    return Lessons(image, np.array([0]), pose, np.array([[0.1, 0.2, 0.3]], np.float32), marks, points)


def place_of(wanted: np.ndarray) -> np.ndarray:
    """Middle of the pixels that are wanted, x and y."""
    rows, columns = np.nonzero(wanted)
    return np.array([columns.mean(), rows.mean()])


def test_landmarks_move_with_the_pixels_and_mirrors_swap_the_sides(monkeypatch) -> None:
    monkeypatch.setattr("evaluation.reader_lessons.spoilt", lambda image, rng: image)
    some = drawn(spots(), [0] * 40, np.random.default_rng(0))
    assert some.image.shape == (40, SIDE_PX, SIDE_PX, 3)
    mirrored = some.pose_deg[:, 1] < 0
    assert 5 < mirrored.sum() < 35
    for image, marks, is_mirrored in zip(some.image, some.landmarks, mirrored, strict=True):
        grey = image.mean(axis=2)
        assert place_of(grey > 200) == pytest.approx(marks[30], abs=0.7)
        redness = image[:, :, 0].astype(int) - image[:, :, 2]
        assert place_of(redness > 120) == pytest.approx(marks[45 if is_mirrored else 36], abs=0.7)
    assert np.allclose(some.openings[mirrored], [0.2, 0.1, 0.3])
    assert np.allclose(some.openings[~mirrored], [0.1, 0.2, 0.3])
    assert np.allclose(some.pose_deg[:, 0], 5)


def test_roll_is_the_turn_of_the_picture() -> None:
    some = drawn(spots(), [0] * 20, np.random.default_rng(1))
    across = some.landmarks[:, 45] - some.landmarks[:, 36]
    assert np.allclose(np.degrees(np.arctan2(across[:, 1], across[:, 0])), some.pose_deg[:, 2], atol=0.1)
    assert np.ptp(some.pose_deg[:, 2]) > 10


def test_pictures_are_spoilt_anew_but_the_same_seed_repeats_them() -> None:
    one, two = (drawn(spots(), [0, 0], np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one.image, two.image)
    assert not np.array_equal(one.image[0], one.image[1])


def test_a_wider_square_has_the_same_middle() -> None:
    square = np.array([[0.5, -0.2, 30], [0.2, 0.5, 40]], np.float32)
    wide = widened(square, 100, 1.5)
    middle = np.full((1, 2), 50, np.float32)
    assert move_points(wide, middle) == pytest.approx(move_points(square, middle), abs=1e-4)
    assert np.allclose(wide[:, :2], square[:, :2] * 1.5)


def test_puppets_become_lessons_with_all_that_is_known(puppet_set: Path) -> None:
    files = find_truth([puppet_set])
    assert {file.species for file in files} == {"human", "cat"}
    lessons = read_lessons(files, 2, "reading")
    assert lessons.image.shape == (6, CACHE_PX, CACHE_PX, 3)
    assert all(np.isfinite(part).all() for part in lessons[2:])
    eyes = lessons.points[:, :2].mean(axis=(0, 1)) / CACHE_PX
    assert eyes == pytest.approx([0.5, 0.5], abs=0.12), "the face is in the middle"
    plain = read_clip(files[0], 100, 1.0)
    wide = read_clip(files[0], 100, MARGIN)
    middle = np.float32(49.5)
    assert np.allclose(wide.landmarks - middle, (plain.landmarks - middle) / MARGIN, atol=1.0)


def test_the_last_identities_of_each_folder_and_species_are_held_out(tmp_path: Path) -> None:
    from data_pipeline.puppets.make import PuppetSet

    PuppetSet(out=tmp_path / "p", identities=3, clips=0, stills=1, species=("cat", "dog"), size_px=32, workers=1)()
    files = find_truth([tmp_path / "p"])
    learnt, others = parted(files, 1)
    assert {file.identity for file in others} == {"p/cat-0002", "p/dog-0002"}
    assert len(learnt) == 4
    assert len(parted(files, 9)[0]) == 2, "somebody is always learnt from"


def test_a_folder_without_truth_is_a_clear_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no media with"):
        find_truth([tmp_path])


def test_real_media_know_their_roll_by_the_line_of_the_eyes_and_edges_do_not_give_it_away(tmp_path: Path) -> None:
    from data_pipeline.photo import encode_jpeg

    points = np.array([[[50, 60], [70, 66], [58, 74], [48, 80], [62, 84]]], np.float32)
    (tmp_path / "cat.jpg").write_bytes(encode_jpeg(np.full((110, 110, 3), 200, np.uint8)))
    facts = {"species": np.array("cat"), "identity": np.array("one"), "performance": np.array("")}
    np.savez(tmp_path / "cat.truth.npz", points=points, **facts)
    (file,) = find_truth([tmp_path])
    upright, plain = read_clip(file, CACHE_PX, MARGIN), read_clip(file, CACHE_PX, 1.0)
    assert plain.pose_deg[0, 2] == pytest.approx(np.degrees(np.arctan2(6, 20)), abs=1e-3)
    across = upright.points[0, 1] - upright.points[0, 0]
    assert upright.pose_deg[0, 2] == pytest.approx(np.degrees(np.arctan2(across[1], across[0])), abs=1e-3)
    assert np.isnan(upright.pose_deg[0, :2]).all()
    assert np.isnan(upright.openings).all()
    assert upright.image.min() > 150, "the picture goes on beyond its edge"
    assert plain.image.min() == 0, "what is measured has the edge of real crops"
