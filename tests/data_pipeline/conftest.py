"""Small media made on the spot, and a detector that knows where the head is."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_pipeline.records import Detection, Species
from data_pipeline.video import write_video

BALL = np.array([[-0.3, -0.25], [0.3, -0.25], [0.0, 0.1], [-0.2, 0.4], [0.2, 0.4]])
"""The five points of a drawn head, in radii."""


def head_picture(
    height: int = 160, width: int = 200, centre: tuple[float, float] = (100, 80), radius: int = 45, seed: int = 0
) -> np.ndarray:
    """A textured picture with a bright round head and five dark points."""
    rng = np.random.default_rng(seed)
    picture = cv2.resize(rng.integers(30, 140, (height // 8, width // 8, 3), np.uint8), (width, height))
    spot = (round(centre[0]), round(centre[1]))
    cv2.circle(picture, spot, radius, (250, 200, 160), -1)
    for x, y in BALL * radius:
        cv2.circle(picture, (round(centre[0] + x), round(centre[1] + y)), max(2, radius // 9), (20, 10, 60), -1)
    return picture


@dataclass(frozen=True, slots=True, kw_only=True)
class BallDetector:
    """Finds the bright round head of `head_picture`."""

    species: Species = "cat"

    def __call__(self, frames: list[np.ndarray], first_frame: int = 0) -> list[list[Detection]]:
        return [self._find(frame, first_frame + i) for i, frame in enumerate(frames)]

    def _find(self, frame: np.ndarray, number: int) -> list[Detection]:
        mask = (frame[..., 0] > 235) & (frame[..., 2] > 140) & (frame[..., 2] < 180)
        if mask.sum() < 100:
            return []
        ys, xs = np.nonzero(mask)
        box = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32)
        centre, radius = (box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max()) / 2
        return [
            Detection(
                frame=number,
                species=self.species,
                box_xyxy=box,
                points_xy=(centre + BALL * radius).astype(np.float32),
                point_scores=np.ones(5, np.float32),
                score=0.9,
            )
        ]


@pytest.fixture
def ball_clip(tmp_path: Path) -> Path:
    """24 frames in which the head moves a little to the right."""
    path = tmp_path / "media" / "ball.mp4"
    write_video(path, [head_picture(centre=(90 + i / 2, 80)) for i in range(24)], Fraction(25))
    return path


@pytest.fixture(name="head_picture")
def _head_picture():
    return head_picture


@pytest.fixture
def ball_detector() -> BallDetector:
    return BallDetector()
