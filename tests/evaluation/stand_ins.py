"""What stands in for things that tests cannot have: a reader, a camera, a detector, heads that are red balls."""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch

from data_pipeline.records import Detection
from evaluation.openings import Openings

BOXES = ("source_box=[80,50,160,130]", "driving_box=[90,60,170,140]")
"""Where the heads of the fixtures `photo` and `driving_video` are."""


class Run(NamedTuple):
    """How a program ended, and what it printed."""

    code: int
    out: str
    err: str


def called(
    main: Callable[[], None], words: Sequence[object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> Run:
    """Run a program's entry with these words, the first its name, as its console script does."""
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    printed = capsys.readouterr()
    return Run(code, printed.out, printed.err)


class FakeReader:
    """A reader of openings that sees how red the middle of a frame is; it counts frames and finds no face in the dark.

    With `answers`, the frames get those, one after the other.
    """

    def __init__(self, answers: Iterable[tuple[float, float] | None] | None = None) -> None:
        self.answers = None if answers is None else list(answers)
        self.num_read = 0

    def __call__(self, frames):
        found = []
        for frame in frames:
            red = float(frame[frame.shape[0] // 2, frame.shape[1] // 2, 0]) / 510
            answer = (red, red / 2) if self.answers is None else self.answers[self.num_read]
            self.num_read += 1
            eyes, lips = answer or (0.0, 0.0)
            found.append(Openings(torch.tensor([[eyes, eyes + 0.1]]), torch.tensor([[lips]])) if answer else None)
        return found


class FakeCapture:
    """What OpenCV gives for a camera: pictures in BGR, as long as there are some, and a rate."""

    def __init__(self, pictures: Iterable[np.ndarray], fps: float) -> None:
        self.pictures, self.fps = iter(pictures), fps
        self.num_read, self.num_released = 0, 0

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def get(self, what: int) -> float:
        assert what == cv2.CAP_PROP_FPS
        return self.fps

    def read(self):
        picture = next(self.pictures, None)
        self.num_read += picture is not None
        return picture is not None, None if picture is None else picture[..., ::-1]

    def release(self) -> None:
        self.num_released += 1


def balls_as_heads(frames: list[np.ndarray], first_frame: int = 0) -> list[list[Detection]]:
    """A stub detector that finds every red ball of a frame as a cat's head."""
    found = []
    for number, frame in enumerate(frames, start=first_frame):
        red = (frame[:, :, 0].astype(int) - frame[:, :, 2] > 60).astype(np.uint8)
        count, _, stats, centres = cv2.connectedComponentsWithStats(red)
        heads = []
        for i in range(1, count):
            r = stats[i, cv2.CC_STAT_WIDTH] / 2
            if r < 4:
                continue
            (x, y), shape = centres[i], np.array([[-0.4, -0.3], [0.4, -0.3], [0, 0], [-0.3, 0.4], [0.3, 0.4]])
            heads.append(
                Detection(
                    frame=number, species="cat", box_xyxy=np.array([x - r, y - r, x + r, y + r], np.float32),
                    points_xy=(shape * r + (x, y)).astype(np.float32), point_scores=np.ones(5, np.float32),
                    score=0.9,
                )
            )  # fmt: skip
        found.append(heads)
    return found


def ball_picture(x: float, y: float, radius: float = 40, height: int = 200, width: int = 260) -> np.ndarray:
    """A red ball on a blue-grey gradient."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack((60 + 0 * rows, rows * 0.4 + 30, 120 + columns * 0.4), axis=2)
    inside = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
    image[inside] = (230, 90, 40)
    return image.astype(np.uint8)


def small_driver(count: int, side: int = 64) -> np.ndarray:
    """A ball that moves and grows, u8[T,64,64,3]: whole frames for the tiny networks."""
    return np.stack([
        ball_picture(side / 2 + 4 * np.sin(i / 2), side / 2 + 2 * np.cos(i), 18 + i % 7, side, side)
        for i in range(count)
    ])  # fmt: skip
