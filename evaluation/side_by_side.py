"""Frames made one after the other -> two videos written at once: the result, and driver | source | result."""

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

WAITING_FRAMES = 8
"""Frames that may wait for the second encoder: bounds the memory."""
GAP_PX = 4


def row_of(
    panels: Sequence[UInt8[np.ndarray, "_H _W 3"]], side_px: int, gap_px: int = GAP_PX
) -> UInt8[np.ndarray, "side_px W 3"]:
    """Pictures side by side in squares of one size, with a thin white gap; the width is even."""
    cells: list[np.ndarray] = []
    for panel in panels:
        cells += [_gap(side_px, gap_px)] if cells else []
        cells.append(resized(panel, side_px))
    row = np.concatenate(cells, axis=1)
    return row if row.shape[1] % 2 == 0 else np.concatenate((row, _gap(side_px, 1)), axis=1)


def row_picture(
    panels: Sequence[Callable[[Any], np.ndarray | None]], side_px: int
) -> Callable[[Any], UInt8[np.ndarray, "side_px W 3"]]:
    """What finds the panels in a step -> what makes the row of a step; panels that are None are left out.

    A driver that is a motion template has no picture, and its row is source | result.
    """

    def picture(step: Any) -> UInt8[np.ndarray, "side_px W 3"]:  # noqa: ANN401
        found = (panel(step) for panel in panels)
        return row_of([panel for panel in found if panel is not None], side_px)

    return picture


def resized(image: UInt8[np.ndarray, "_H _W 3"], side_px: int) -> UInt8[np.ndarray, "side_px side_px 3"]:
    """A square of another size: averaged when smaller, cubic when larger."""
    if image.shape[:2] == (side_px, side_px):
        return image
    method = cv2.INTER_AREA if image.shape[0] > side_px else cv2.INTER_CUBIC
    return cv2.resize(image, (side_px, side_px), interpolation=method)


def _gap(side_px: int, width_px: int) -> np.ndarray:
    return np.full((side_px, width_px, 3), 255, np.uint8)


class Branch:
    """A second consumer of a stream, in a thread of its own: `push` what it is to write, `close` when done."""

    _END = object()

    def __init__(self, write: Callable[[Iterator[np.ndarray]], Any]) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(WAITING_FRAMES)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(write,), daemon=True)
        self._thread.start()

    def _run(self, write: Callable[[Iterator[np.ndarray]], Any]) -> None:
        frames = self._frames()
        try:
            write(frames)
        except BaseException as error:
            self._error = error
        while self._queue.get() is not self._END:  # let the main stream go on to its end, where the error is raised
            pass

    def _frames(self) -> Iterator[np.ndarray]:
        while (item := self._queue.get()) is not self._END:
            if isinstance(item, BaseException):
                raise item
            yield item
        self._queue.put(self._END)  # for the drain that follows

    def push(self, frame: np.ndarray) -> None:
        """Hand over a frame; waits while too many are waiting."""
        self._queue.put(frame)

    def close(self) -> None:
        """Wait until everything is written.

        Raises:
            Whatever the writer raised.
        """
        self._queue.put(self._END)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def abort(self, error: BaseException) -> None:
        """End the writer with an error, so that no half-written file appears."""
        self._queue.put(error)
        self._queue.put(self._END)
        self._thread.join()


def beside(path: Path) -> Path:
    """out.mp4 -> out_side_by_side.mp4."""
    return path.with_name(f"{path.stem}_side_by_side{path.suffix}")


def branched(
    frames: Iterable[tuple[np.ndarray, np.ndarray]], write_second: Callable[[Iterator[np.ndarray]], Any]
) -> Generator[np.ndarray, None, None]:
    """Yield the first of each pair while the second goes to another writer; both end together."""
    branch = Branch(write_second)
    try:
        for first, second in frames:
            branch.push(second)
            yield first
    except BaseException as error:
        branch.abort(error)
        raise
    branch.close()
