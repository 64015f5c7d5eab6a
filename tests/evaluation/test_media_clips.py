import logging

import numpy as np
import pytest
from PIL import Image

from evaluation.clips import find_clips
from evaluation.media_clips import listed_pairs, points_in


@pytest.fixture
def media(tmp_path, picture, ball_video):
    """A photo, a clip, a broken clip, and a clip without a head."""
    Image.fromarray(picture(120, 90)).save(tmp_path / "still.png")
    ball_video("moving.mp4", [(100 + 3 * i, 90) for i in range(6)])
    ball_video("empty.mp4", [(-500, -500)] * 5)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    return tmp_path


def test_what_cannot_be_used_is_left_out_by_name(media, find_head, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        clips = find_clips(media, side_px=64, detector=find_head, stills=True)
    assert [(clip.key, clip.num_frames) for clip in clips] == [("moving", 6), ("still", 1)]
    said = " ".join(record.getMessage() for record in caplog.records)
    assert "broken.mp4" in said
    assert "empty.mp4 shows no head" in said
    assert [clip.key for clip in find_clips(media, side_px=64, detector=find_head)] == ["moving"]


def test_points_of_real_media_come_from_the_detector(media, find_head) -> None:
    (clip,) = find_clips(media, side_px=64, detector=find_head)
    found = clip.load([0, 2, 5])
    assert found.frames.shape == (3, 64, 64, 3)
    assert found.signals is None
    middles = found.points.mean(axis=1)
    # The ball moves to the right by the same step in each frame.
    steps = np.diff(middles[:, 0]) / [2, 3]
    assert steps.min() > 0
    assert steps[0] == pytest.approx(steps[1], rel=0.2)


def test_a_photos_points_are_those_that_laid_its_square(media, find_head) -> None:
    still = find_clips(media, side_px=64, detector=find_head, stills=True)[1]
    points = still.load().points
    assert points.shape == (1, 5, 2)
    assert np.allclose(points[0], find_head(list(still.load().frames))[0][0].points_xy, atol=1)


def test_a_head_that_is_missed_now_and_then_is_filled_in_and_one_that_is_missed_often_unknown(moves, find_head) -> None:
    frames = moves(6)
    whole = points_in(frames, find_head, "cat")

    def forgets(*numbers):
        def detect(batch, first_frame=0):
            return [[] if i in numbers else heads for i, heads in enumerate(find_head(batch, first_frame))]

        return detect

    filled = points_in(frames, forgets(2), "cat")
    assert np.allclose(filled[2], (whole[1] + whole[3]) / 2, atol=1e-3)
    assert points_in(frames, forgets(0, 1, 2, 3), "cat") is None


def test_a_file_that_changes_has_another_hash(media, find_head) -> None:
    (clip,) = find_clips(media, side_px=64, detector=find_head)
    before = clip.hashed()
    assert len(before) == 16
    (media / "moving.mp4").write_bytes((media / "moving.mp4").read_bytes() + b"\0")
    assert clip.hashed() != before


def test_a_list_names_pairs_and_species(media, find_head) -> None:
    listed = media / "list.csv"
    listed.write_text("source,driver,species\nstill.png,moving.mp4,dog\nmoving.mp4,,\n")
    first, second = listed_pairs(listed, 64, find_head)
    assert (first.source.species, first.driver.species) == ("dog", "cat")
    assert second.driver is None
    assert [clip.key for clip in find_clips(listed, side_px=64, detector=find_head, stills=True)] == [
        "moving.mp4", "still.png",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "must be source,driver"),
        ("source,driver\n", "lists no pair"),
        ("source,driver\nnowhere.mp4,moving.mp4\n", "line 2: .*nowhere.mp4 cannot be read"),
        ("source,driver,species\nstill.png,moving.mp4,horse\n", "line 2: the species 'horse' is unknown"),
        ("source,driver\nempty.mp4,moving.mp4\n", "line 2: no head is found in empty.mp4"),
        ("source,driver\n,moving.mp4\n", "line 2: the source is empty"),
    ],
)
def test_a_mistake_in_a_list_is_one_sentence_with_its_line(media, find_head, text, message) -> None:
    listed = media / "list.csv"
    listed.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        listed_pairs(listed, 64, find_head)
    assert str(listed) in str(error.value)


def test_heads_are_not_guessed_without_a_detector(media) -> None:
    with pytest.raises(ValueError, match="give detector=starter"):
        find_clips(media, stills=True)
