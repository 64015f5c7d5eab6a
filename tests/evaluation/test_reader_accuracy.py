from pathlib import Path

import numpy as np
import pytest

from data_pipeline.records import Species
from evaluation.metrics.reader import FaceReader
from evaluation.metrics.signals import Signals
from evaluation.reader_accuracy import measured, nose_of_points, scored, shown_table
from evaluation.reader_lessons import TruthFile, find_truth, read_clip, roll_of_eyes


class Knowing(FaceReader):
    """Knows the truth of a puppet set, and adds a constant to the yaw."""

    def __init__(self, files: list[TruthFile]) -> None:
        super().__init__()
        self.clips = {file.species: read_clip(file, 256, 1.0) for file in files}

    def with_landmarks(self, frames: np.ndarray, species: Species) -> tuple[Signals, np.ndarray]:
        clip = self.clips[species]
        pose, openings = clip.pose_deg, clip.openings
        pitch, yaw, roll = (np.ascontiguousarray(column) for column in pose.T)
        return Signals(pitch, yaw + np.float32(3), roll, *np.ascontiguousarray(openings.T)), clip.landmarks


def test_a_reader_that_knows_has_only_its_constant_error(puppet_set: Path) -> None:
    files = find_truth([puppet_set])
    table = measured(Knowing(files), files)[puppet_set.name]
    assert list(table) == ["human", "cat"]
    for scores in table.values():
        assert scores["yaw"].mean_error == pytest.approx(3, abs=1e-4)
        assert scores["yaw"].change_error == pytest.approx(0, abs=1e-4)
        assert scores["yaw"].correlation == pytest.approx(1)
        assert scores["pitch"].mean_error == scores["landmarks"].mean_error == 0
        assert scores["lips"].frames == 6
    assert "| human | yaw | 3.000 | 1.000 |" in shown_table({"puppets": table})


def test_correlation_in_time_ignores_clips_that_do_not_move() -> None:
    t = np.arange(30, dtype=np.float32)
    moving, still = (10 * np.sin(t), 10 * np.sin(t)), (np.cos(t), 0.1 * np.sin(t))
    assert scored("yaw", [moving, still]).in_time == pytest.approx(1)
    assert np.isnan(scored("yaw", [still]).in_time)


def test_roll_and_yaw_show_in_five_points() -> None:
    face = np.array([[-20, -20], [20, -20], [0, 0], [-15, 20], [15, 20]], np.float32)
    turn = np.radians(20)
    turned = face @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]], np.float32)
    assert roll_of_eyes(face[None])[0] == pytest.approx(0)
    assert roll_of_eyes(turned[None])[0] == pytest.approx(20, abs=1e-4), "clockwise on the screen is positive"
    face[2] = [-8, 0]
    assert nose_of_points(face) == pytest.approx(0.2)
