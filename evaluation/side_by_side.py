"""Pictures of one step -> one picture: driver | source | result."""

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

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
