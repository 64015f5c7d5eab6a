from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.media import probe
from data_pipeline.video import read_frames
from evaluation.source import SourceVideo
from evaluation.source_video import open_source_video
from tests.evaluation.stand_ins import ball_picture

SIDE = 64


def middles(video: SourceVideo) -> np.ndarray:
    return video.source_from_crop @ [SIDE / 2, SIDE / 2, 1]


def opened(path: Path, detector, **options) -> SourceVideo:
    return open_source_video(probe(path), SIDE, detector, **options)


def test_the_square_follows_the_head_smoothly(ball_video, find_balls) -> None:
    places = [(80 + 3 * i, 100 + 10 * np.sin(i / 15)) for i in range(36)]
    video = opened(ball_video("cat.mp4", places, Fraction(30000, 1001)), find_balls)
    assert video.num_frames == 36 == sum(1 for _ in video.frames())
    assert (video.fps, video.species, video.num_heads, video.has_audio) == (Fraction(30000, 1001), "cat", 1, False)
    path = middles(video)
    offset = path - places
    assert np.abs(offset - offset.mean(axis=0)).max() < 6  # the head stays where it is in the square
    assert np.abs(np.diff(path, n=2, axis=0)).max() < 1.5  # nothing jumps
    size = np.hypot(video.source_from_crop[:, 0, 0], video.source_from_crop[:, 1, 0])
    assert np.ptp(size) / size.mean() < 0.05


def test_before_and_after_the_head_is_seen_the_square_is_held(ball_video, find_balls, tmp_path) -> None:
    hidden = [(-500.0, 0.0)]
    path = ball_video("cat.mp4", hidden * 12 + [(90 + 4 * i, 100) for i in range(18)] + hidden * 15)
    video = opened(path, find_balls)
    assert video.num_frames == 45
    squares = video.source_from_crop
    assert np.array_equal(squares[0], squares[6])
    assert np.array_equal(squares[36], squares[-1])
    assert middles(video)[-1, 0] - middles(video)[0, 0] > 35


def test_the_largest_head_or_a_number_from_the_left_is_followed(tmp_path, find_balls) -> None:
    from data_pipeline.video import write_video

    def frames():
        for i in range(16):
            image = ball_picture(60, 100, 25)
            image[:, 130:] = ball_picture(190, 90 + i, 40)[:, 130:]
            yield image

    write_video(tmp_path / "two.mp4", frames(), Fraction(30))
    largest, left, right = (opened(tmp_path / "two.mp4", find_balls, head=head) for head in ("largest", 0, 1))
    assert np.array_equal(largest.source_from_crop, right.source_from_crop)
    assert abs(middles(left)[:, 0].mean() - 60) < 5
    assert abs(middles(right)[:, 0].mean() - 190) < 5
    assert left.num_heads == 2
    with pytest.raises(ValueError, match="head=2, but 2 heads were followed; give largest or 0 to 1"):
        opened(tmp_path / "two.mp4", find_balls, head=2)


def test_a_tilted_head_is_turned_upright(ball_video, find_balls) -> None:
    from dataclasses import replace

    turn = np.deg2rad(170 + np.arange(12) * 3)  # past half a turn: the angle must not jump there

    def tilted(frames, first_frame=0):
        nonlocal at
        found = find_balls(frames, first_frame)
        for heads in found:
            head = heads[0]
            rotation = np.array([[np.cos(turn[at]), -np.sin(turn[at])], [np.sin(turn[at]), np.cos(turn[at])]])
            middle = head.points_xy.mean(axis=0)
            points = ((head.points_xy - middle) @ rotation.T + middle).astype(np.float32)
            heads[0] = replace(head, points_xy=points)
            at += 1
        return found

    at = 0
    video = opened(ball_video("cat.mp4", [(130, 100)] * 12, Fraction(6)), tilted)
    angle = np.unwrap(np.arctan2(video.source_from_crop[:, 1, 0], video.source_from_crop[:, 0, 0]))
    assert np.rad2deg(np.ptp(angle)) == pytest.approx(33, abs=5)
    assert np.abs(np.diff(angle)).max() < 0.1


def test_a_box_or_the_whole_frame_needs_no_detector(ball_video) -> None:
    path = ball_video("cat.mp4", [(130, 100)] * 5)
    boxed = opened(path, None, box=[90, 60, 170, 140])
    assert boxed.num_frames == 5
    assert boxed.species is None
    assert np.linalg.norm(middles(boxed)[0] - [130, 100]) < 40
    whole = opened(path, None, crop=False)
    assert np.allclose(whole.source_from_crop @ [31.5, 31.5, 1], [129.5, 99.5])
    assert (boxed.source_from_crop == boxed.source_from_crop[:1]).all()


def test_frames_come_as_they_are(ball_video, find_balls) -> None:
    path = ball_video("cat.mp4", [(100 + 5 * i, 100) for i in range(4)])
    for ours, plain in zip(opened(path, find_balls).frames(), read_frames(path), strict=True):
        assert np.array_equal(ours, plain)


def test_mistakes_are_told(ball_video, find_balls) -> None:
    path = ball_video("cat.mp4", [(-500.0, 0.0)] * 4)
    for options, message in (
        ({"detector": find_balls}, r"cat\.mp4: no head found in any frame; give source_box=\[x0,y0,x1,y1\]"),
        ({"detector": None}, r"cat\.mp4: there is no head detector; give source_box="),
        ({"detector": find_balls, "head": "all"}, r"cat\.mp4: head=all moves the heads of a photo; give largest or a"),
        ({"detector": None, "box": [900, 0, 999, 9]}, r"cat\.mp4: the box .* lies outside the 260x200 px"),
    ):
        with pytest.raises(ValueError, match=message):
            opened(path, **options)


def test_one_frame_is_a_video_too(ball_video, find_balls) -> None:
    video = opened(ball_video("cat.mp4", [(130, 100)]), find_balls)
    assert video.num_frames == 1
    assert np.linalg.norm(middles(video)[0] - [130, 100]) < 40
