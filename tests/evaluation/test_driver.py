from collections.abc import Iterator
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
import torch

from data_pipeline.photo import encode_jpeg
from data_pipeline.video import DEFAULT_FPS
from evaluation.driver import Footage, at_rate, driving_square, frames_in, has_audio, open_driver, shortened
from evaluation.driving import PosedMotion
from evaluation.templates import MotionTemplate, write_template


def footage_of(driving, *options) -> Footage:
    driver = open_driver(driving, *options)
    assert isinstance(driver, Footage)
    return driver


def template(count: int, fps: Fraction = Fraction(10)) -> MotionTemplate:
    motion = PosedMotion(
        torch.eye(3).expand(count, 3, 3), torch.rand(count, 21, 3), torch.ones(count, 1), torch.rand(count, 3)
    )
    return MotionTemplate(motion=motion, fps=fps, eye_ratios=torch.rand(count, 2), lip_ratios=torch.rand(count, 1))


def test_a_video_knows_its_exact_rate_and_sound(driving_video) -> None:
    footage = footage_of(driving_video(5))
    assert footage.fps == Fraction(30000, 1001)
    assert footage.has_audio
    assert not footage.is_still
    assert footage.num_frames == 5 == sum(1 for _ in footage.frames())
    assert not has_audio(driving_video(3, sound=False))


def test_a_photo_or_one_frame_is_still(tmp_path, picture, ball_video) -> None:
    (tmp_path / "me.jpg").write_bytes(encode_jpeg(picture(130, 100)))
    for driving in (tmp_path / "me.jpg", ball_video("one.mp4", [(130, 100)]), picture(130, 100)[None]):
        footage = footage_of(driving)
        assert footage.is_still
        assert not footage.has_audio
        assert footage.num_frames == 1 == sum(1 for _ in footage.frames(Fraction(60)))
    assert footage_of(tmp_path / "me.jpg").fps == DEFAULT_FPS
    assert not has_audio(tmp_path / "me.jpg")


def test_only_the_seconds_that_are_asked_for_are_used(driving_video, picture) -> None:
    path = driving_video(11)
    for seconds, count in ((0.1, 3), (0.001, 1), (2, 11)):
        footage = footage_of(path, None, seconds)
        assert footage.num_frames == count == sum(1 for _ in footage.frames())
    frames = np.stack([picture(130, 100, height=20, width=20)] * 12)
    footage = footage_of(frames, Fraction(10), 1.1)
    assert footage.num_frames == 11 == sum(1 for _ in footage.frames())
    assert not footage.is_still
    assert frames_in(1.1, Fraction(10)) == 11  # 1.1 is a little more than that in binary


def test_a_shorter_template_is_cut_in_all_its_parts(tmp_path) -> None:
    write_template(tmp_path / "me.npz", template(12))
    whole = open_driver(tmp_path / "me.npz")
    cut = open_driver(str(tmp_path / "me.npz"), None, 0.5)
    assert isinstance(whole, MotionTemplate)
    assert isinstance(cut, MotionTemplate)
    assert (whole.num_frames, cut.num_frames) == (12, 5)
    assert torch.equal(cut.motion.delta, whole.motion.delta[:5])
    assert cut.eye_ratios is not None
    assert cut.lip_ratios is not None
    assert (len(cut.eye_ratios), len(cut.lip_ratios), cut.canonical, cut.fps) == (5, 5, None, Fraction(10))
    assert shortened(whole, 0.001).num_frames == 1
    assert shortened(whole, 99.0).num_frames == 12


def test_frames_are_repeated_and_dropped_by_their_times() -> None:
    frames = [np.full(1, i) for i in range(6)]

    def played(own: int, wanted: int) -> list[int]:
        return [int(frame[0]) for frame in at_rate(frames, Fraction(own), Fraction(wanted))]

    assert played(10, 10) == [0, 1, 2, 3, 4, 5]
    assert played(10, 30) == [i for i in range(6) for _ in range(3)]
    assert played(30, 10) == [0, 3]
    assert played(30, 24) == [0, 1, 2, 3, 5]
    assert played(30, 1) == [0]
    assert list(at_rate([], Fraction(10), Fraction(30))) == []


def test_a_file_plays_at_another_rate(ball_video) -> None:
    footage = footage_of(ball_video("me.mp4", [(60 + 20 * i, 100) for i in range(5)], Fraction(10)))
    own = list(footage.frames())
    faster = list(footage.frames(Fraction(20)))
    assert len(faster) == 10
    assert all(np.array_equal(faster[i], own[i // 2]) for i in range(10))
    assert [len(list(footage.frames(fps))) for fps in (None, Fraction(10), Fraction(5))] == [5, 5, 3]


def test_one_square_is_laid_around_the_mean_head(picture, find_head) -> None:
    frames = np.stack([picture(110, 100), picture(150, 100)])
    matrix = driving_square(footage_of(frames, Fraction(5)), 64, find_head)
    alone = driving_square(footage_of(np.stack([picture(130, 100)] * 2), Fraction(5)), 64, find_head)
    assert np.allclose(matrix, alone, atol=0.5)
    assert matrix[0, 1] == matrix[1, 0] == 0


def test_a_tilted_head_keeps_its_tilt(picture) -> None:
    def tilted(frames, first_frame=0):
        from data_pipeline.records import Detection

        angle = np.deg2rad(30)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = np.array([[-16, -12], [16, -12], [0, 0], [-12, 16], [12, 16]]) @ turn.T + (130, 100)
        box = np.array([90, 60, 170, 140], np.float32)
        one = Detection(
            frame=0, species="human", box_xyxy=box, points_xy=points.astype(np.float32),
            point_scores=np.ones(5, np.float32), score=1.0,
        )  # fmt: skip
        return [[one] for _ in frames]

    matrix = driving_square(footage_of(picture(130, 100)[None]), 64, tilted)
    assert matrix[0, 1] == matrix[1, 0] == 0


def test_a_box_or_the_whole_frame_needs_no_detector(picture) -> None:
    footage = footage_of(picture(130, 100)[None])
    boxed = driving_square(footage, 64, None, box=[90, 60, 170, 140])
    assert np.linalg.norm(boxed @ [32, 32, 1] - [130, 100]) < 40
    assert np.allclose(driving_square(footage, 64, None, crop=False) @ [31.5, 31.5, 1], [129.5, 99.5])
    wide = driving_square(footage, 64, None, box=[90, 60, 170, 140], scale=9.0)
    assert wide[0, 0] > boxed[0, 0]
    with pytest.raises(ValueError, match=r"there is no detector; give driving_box=\[x0,y0,x1,y1\]"):
        driving_square(footage, 64, None)


def test_no_head_in_the_driver_is_said(find_head) -> None:
    dark = footage_of(np.zeros((3, 64, 64, 3), np.uint8))
    with pytest.raises(ValueError, match="no head found in any frame; give driving_box"):
        driving_square(dark, 64, find_head)


def test_frames_of_another_kind_are_refused(tmp_path) -> None:
    for frames in (np.zeros((3, 64, 64), np.uint8), np.zeros((3, 64, 64, 3)), np.zeros((0, 64, 64, 3), np.uint8)):
        with pytest.raises(ValueError, match=r"give u8\[T,H,W,3\]"):
            open_driver(frames)
    with pytest.raises(ValueError, match=r"is not a file; give a video, a photo, a template or webcam:0"):
        open_driver(tmp_path / "none.mp4")
    with pytest.raises(ValueError, match=r"driving=webcam:one: give the camera's number, such as webcam:0"):
        open_driver("webcam:one")


def counted_pictures(picture, count: int) -> Iterator[np.ndarray]:
    for i in range(count):
        yield picture(130 + i, 100)


@pytest.mark.parametrize("driving", ["webcam:3", "3", 3])
def test_a_camera_is_opened_by_its_number(picture, monkeypatch, fake_capture, driving) -> None:
    opened = []

    def capture(index: int):
        opened.append(index)
        return fake_capture(counted_pictures(picture, 9), 30.0)

    monkeypatch.setattr("data_pipeline.webcam._opencv_capture", capture)
    footage = footage_of(driving, None, 2)
    assert opened == [3]
    assert (footage.name, footage.fps, footage.num_frames, footage.seconds) == ("camera 3", Fraction(30), 0, 2.0)
    assert (footage.height_px, footage.width_px) == (200, 260)
    assert footage.camera is not None
    footage.camera.live.close()


def test_a_file_called_like_a_number_is_a_file(driving_video, monkeypatch, tmp_path) -> None:
    driving_video(2).rename(tmp_path / "7")
    monkeypatch.chdir(tmp_path)
    assert footage_of("7").path is not None


def test_what_was_looked_at_is_played_too(picture, camera, find_head) -> None:
    footage, capture = camera(counted_pictures(picture, 40), fps=10.0)
    matrix = driving_square(footage, 64, find_head)
    assert 10 <= capture.num_read <= 12  # the first second
    assert abs((matrix @ [32, 32, 1])[0] - 134) < 8
    played = list(footage.frames())
    assert len(played) == 40
    assert np.array_equal(played[0], picture(130, 100))
    assert np.array_equal(played[-1], picture(169, 100))
    assert capture.num_released == 1


def test_a_camera_films_for_its_time_or_until_it_is_stopped(picture, camera) -> None:
    footage, capture = camera(counted_pictures(picture, 900), fps=10.0, seconds=1.5)
    assert len(list(footage.frames())) == 15
    assert capture.num_released == 1
    footage, capture = camera(counted_pictures(picture, 900), fps=10.0)
    assert footage.camera is not None
    frames = footage.frames()
    assert len(list(islice(frames, 5))) == 5
    footage.camera.stop()
    assert len(list(frames)) <= 1  # the one that was held back
    assert capture.num_released == 1


def test_a_camera_is_given_back_when_the_frames_are_left(picture, camera) -> None:
    footage, capture = camera(counted_pictures(picture, 900), fps=10.0)
    frames = footage.frames()
    next(frames)
    del frames
    assert capture.num_released == 1
