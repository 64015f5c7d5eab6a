from fractions import Fraction

import numpy as np
import pytest

from evaluation.driver import driving_square, open_footage


def test_a_video_knows_its_exact_rate_and_sound(driving_video) -> None:
    footage = open_footage(driving_video(5))
    assert footage.fps == Fraction(30000, 1001)
    assert footage.has_audio
    assert not footage.is_still
    assert sum(1 for _ in footage.frames()) == 5


def test_one_square_is_laid_around_the_mean_head(picture, find_head) -> None:
    frames = np.stack([picture(110, 100), picture(150, 100)])
    matrix = driving_square(open_footage(frames, Fraction(5)), 64, find_head)
    alone = driving_square(open_footage(np.stack([picture(130, 100)] * 2), Fraction(5)), 64, find_head)
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

    matrix = driving_square(open_footage(picture(130, 100)[None]), 64, tilted)
    assert matrix[0, 1] == matrix[1, 0] == 0


def test_no_head_in_the_driver_is_said(find_head) -> None:
    dark = open_footage(np.zeros((3, 64, 64, 3), np.uint8))
    with pytest.raises(ValueError, match="no head found in any frame; give driving_box"):
        driving_square(dark, 64, find_head)


def test_frames_of_another_kind_are_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"give u8\[T,H,W,3\]"):
        open_footage(np.zeros((3, 64, 64), np.uint8))
    with pytest.raises(ValueError, match="is not a file"):
        open_footage(tmp_path / "none.mp4")
