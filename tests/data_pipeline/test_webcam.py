from fractions import Fraction

import numpy as np
import pytest

from data_pipeline.frame_rate import constant_rate
from data_pipeline.webcam import MEASURED_FRAMES, WebcamError, WebcamFrames


class FakeCamera:
    """Stands in for cv2.VideoCapture: frame n is blue n; every read takes a while on its clock."""

    def __init__(self, *, stated_fps: float = 0.0, real_fps: float = 20.0, count: int | None = None) -> None:
        self.stated_fps, self.real_fps, self.count = stated_fps, real_fps, count
        self.is_open, self.made, self.now = True, 0, 100.0
        self.buffer = np.zeros((24, 32, 3), np.uint8)

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return self.is_open

    def get(self, prop: int) -> float:
        return self.stated_fps

    def read(self) -> tuple[bool, np.ndarray | None]:
        if not self.is_open or self.made == self.count:
            return False, None
        self.buffer[:] = (self.made % 256, 7, 9)  # BGR, and the same memory again, as a camera does
        self.made += 1
        self.now += 1 / self.real_fps
        return True, self.buffer

    def release(self) -> None:
        self.is_open = False

    def clock(self) -> float:
        return self.now


def film(camera: FakeCamera, seconds: float | None = None) -> WebcamFrames:
    return WebcamFrames(3, seconds, open_capture=lambda index: camera, clock=camera.clock)


def test_frames_are_rgb_in_order_and_none_is_lost_to_measuring() -> None:
    camera = FakeCamera(count=30)
    with film(camera) as frames:
        assert (frames.height_px, frames.width_px) == (24, 32)
        seen = list(frames)
    assert [int(frame[0, 0, 2]) for frame in seen] == list(range(30))
    assert all((frame[..., 0] == 9).all() and frame.flags.c_contiguous for frame in seen)
    assert not camera.is_open


@pytest.mark.parametrize(
    ("stated", "expected"),
    [(30.0, Fraction(30)), (29.97002997, Fraction(30000, 1001)), (0.0, 20), (-1.0, 20), (1e6, 20)],
)
def test_the_rate_is_what_the_camera_says_or_what_it_does(stated: float, expected: Fraction) -> None:
    camera = FakeCamera(stated_fps=stated)
    with film(camera) as frames:
        assert frames.fps == pytest.approx(expected)
        assert camera.made == (1 if stated in (30.0, 29.97002997) else 1 + MEASURED_FRAMES)


def test_it_ends_when_the_time_is_up() -> None:
    camera = FakeCamera(stated_fps=20)
    assert len(list(film(camera, seconds=2))) == pytest.approx(40, abs=1)
    assert not camera.is_open
    with pytest.raises(WebcamError, match="more than 0"):
        film(FakeCamera(), seconds=0)


def test_it_ends_when_it_is_closed() -> None:
    camera = FakeCamera(stated_fps=20)
    frames = film(camera)
    seen = 0
    for _ in frames:
        seen += 1
        if seen == 5:
            frames.close()
    assert seen == 5
    assert not camera.is_open


def test_the_times_make_a_steady_film_of_a_camera_that_lies() -> None:
    camera = FakeCamera(stated_fps=30, real_fps=15, count=30)
    frames = film(camera)
    steady = list(constant_rate(frames.timed_frames(), frames.fps))
    assert len(steady) == pytest.approx(60, abs=2)  # two seconds are two seconds


@pytest.mark.parametrize("is_open", [False, True])
def test_a_camera_without_pictures_is_told_in_one_sentence(is_open: bool) -> None:
    camera = FakeCamera(count=0)
    camera.is_open = is_open
    with pytest.raises(WebcamError, match="camera 3") as caught:
        film(camera)
    assert "\n" not in str(caught.value)
    assert not camera.is_open


def test_a_number_without_a_camera_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    """With OpenCV itself, which would otherwise write lines of its own."""
    with pytest.raises(WebcamError, match="camera 97 cannot be opened"):
        WebcamFrames(97)
    assert capfd.readouterr().err == ""
