"""The detector's other heads in the frames of a crop -> how much of an animal's crop people fill."""

from collections.abc import Sequence

import numpy as np

from data_pipeline.crop import invert, move_points
from data_pipeline.detect import box_iou
from data_pipeline.records import CropPlan, Detection

_SURE_SCORE = 0.5
_SAME_HEAD_IOU = 0.3


def people_frac(plan: CropPlan, detections: Sequence[Sequence[Detection]]) -> float:
    """Share of the crop under human heads, in the looked-at frame where it is largest.

    Source: the detector. Heads below a score of 0.5 and those on the animal's own head (IoU above 0.3: the same
    head, called human) do not count.

    Args:
        plan: the crop of an animal; people's crops give 0.
        detections: heads of each looked-at frame of the file.

    Returns:
        0 to 1.
    """
    track = plan.track
    if track.species == "human" or not len(track.frames):
        return 0.0
    first, last = int(track.frames[0]), int(track.frames[-1])
    shares = [0.0]
    for found in detections:
        for head in found:
            if head.species != "human" or head.score < _SURE_SCORE or not first <= head.frame <= last:
                continue
            at = head.frame - first
            if box_iou(track.boxes[at : at + 1], head.box_xyxy[None])[0, 0] <= _SAME_HEAD_IOU:
                shares.append(_share(head.box_xyxy, plan.source_from_crop[at], plan.side_px))
    return max(shares)


def _share(box: np.ndarray, source_from_crop: np.ndarray, side_px: int) -> float:
    corners = box[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2)
    inside = np.clip(move_points(invert(source_from_crop), corners), 0, side_px).astype(np.float64)
    # The clipped corners span the overlap of the square with the box turned upright; exact without roll.
    return float(np.prod(np.ptp(inside, axis=0)) / side_px**2)
