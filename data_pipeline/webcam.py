"""A camera -> RGB frames with their times, until the time is up or it is closed."""

import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import UInt8

from data_pipeline.frame_rate import TimedFrame

MEASURED_FRAMES = 10
"""Frames over which the rate is measured where the camera states none."""
PLAUSIBLE_FPS = (1.0, 240.0)


class WebcamError(ValueError):
    """A camera that gives no pictures; the message says which and what to do."""


class WebcamFrames:
    """Frames of a camera, live. Iterate it once; use it with `with`, or `close` it.

    The frames read while the rate is measured are given too. Iteration ends when the time is up, when the camera gives
    no more pictures, or after `close`, which may be called from another thread.
    """

    def __init__(
        self,
        index: int = 0,
        seconds: float | int | None = None,
        *,
        open_capture: Callable[[int], Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the camera and see how fast it is.

        Args:
            index: number of the camera, counted from 0.
            seconds: how long to film, from the first frame on; None for until it is closed.
            open_capture: makes what reads the camera; None for OpenCV's.
            clock: seconds that pass.

        Raises:
            WebcamError: no such camera, or it gives no picture.
        """
        if seconds is not None and seconds <= 0:
            raise WebcamError(f"seconds={seconds}: a camera films for more than 0 seconds; leave it out to film on")
        self._index, self._seconds, self._clock = index, seconds, clock
        self._capture = (open_capture or _opencv_capture)(index)
        self._is_open = True
        self._early: list[tuple[float, np.ndarray]] = []
        try:
            if not self._capture.isOpened():
                raise WebcamError(
                    f"camera {index} cannot be opened; check that it is connected, that no other program uses it, "
                    "and that you may read it, or give another number"
                )
            self._keep_one()
            if not self._early:
                raise WebcamError(
                    f"camera {index} gives no picture; is it covered, asleep, or used by another program?"
                )
            self.height_px, self.width_px = self._early[0][1].shape[:2]
            self.fps = self._stated_fps() or self._measured_fps()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "WebcamFrames":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """RGB frames as they come."""
        return (timed.frame for timed in self.timed_frames())

    def timed_frames(self) -> Iterator[TimedFrame]:
        """RGB frames as they come, with the times since the first one; `constant_rate` makes a steady film of them."""
        start: float | None = None
        while self._is_open:
            if not self._early:
                self._keep_one()
            if not self._early:
                break
            taken, frame = self._early.pop(0)
            start = taken if start is None else start
            if self._seconds is not None and taken - start >= self._seconds:
                break
            yield TimedFrame(Fraction(taken - start).limit_denominator(1_000_000), frame)
        self.close()

    def close(self) -> None:
        """Give the camera back; once is enough."""
        if self._is_open:
            self._is_open = False
            self._capture.release()

    def _keep_one(self) -> None:
        is_read, picture = self._capture.read()
        if is_read and picture is not None:
            # OpenCV gives BGR; the copy is ours, the camera's buffer is not.
            self._early.append((self._clock(), np.ascontiguousarray(picture[..., ::-1])))

    def _stated_fps(self) -> Fraction | None:
        import cv2

        stated = float(self._capture.get(cv2.CAP_PROP_FPS))
        low, high = PLAUSIBLE_FPS
        return Fraction(stated).limit_denominator(1001) if low <= stated <= high else None

    def _measured_fps(self) -> Fraction:
        """From the time that some frames take; they are kept for the iteration."""
        for _ in range(MEASURED_FRAMES):
            self._keep_one()
        took_s = self._early[-1][0] - self._early[0][0]
        low, high = PLAUSIBLE_FPS
        rate = (len(self._early) - 1) / took_s if took_s > 0 else 0.0
        return Fraction(min(high, max(low, rate))).limit_denominator(100)


def _opencv_capture(index: int) -> Any:  # noqa: ANN401
    """Open a camera with OpenCV, which otherwise writes several lines of its own when there is none."""
    import cv2

    log: Any = cv2.utils.logging
    level = log.getLogLevel()
    log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(index)
    finally:
        log.setLogLevel(level)
