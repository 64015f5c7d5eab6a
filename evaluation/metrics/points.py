"""Result frames -> whether the detector sees a head of the right species, and where its five points are."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from data_pipeline.records import Detection, Species
from evaluation.metrics.metric import Metric
from evaluation.metrics.regions import head_size_px

POINT_METRICS = (
    Metric(
        name="point_error", title="point error", unit="% of face", better="down", digits=2, source="ours",
        definition="distance of the detector's five points on the result from the true ones, in percent of the true "
        "face size (mean of eye distance and eye-to-mouth distance), over the looked-at frames in which a head is "
        "found; every second frame is looked at",
    ),
    Metric(
        name="detected", title="head found", unit="% of frames", better="up", digits=1, source="ours",
        definition="share of the looked-at result frames in which the detector finds a head of the right species",
    ),
)  # fmt: skip


class PointErrors(NamedTuple):
    """Means over the frames of one pair."""

    error_percent: float
    """NaN when no head was found in any frame, or the true points are unknown."""
    found_percent: float


def best_detection(found: Sequence[Detection], species: Species | None) -> Detection | None:
    """The surest head of the species (of any, for None); None when there is none."""
    fitting = [one for one in found if species is None or one.species == species]
    return max(fitting, key=lambda one: one.score, default=None)


def point_errors(
    detections: Sequence[Sequence[Detection]], truth: Float[np.ndarray, "T 5 2"] | None, species: Species
) -> PointErrors:
    """Compare the surest head of the right species in each frame with the true points.

    A head found as another species is not found: the result no longer looks like the animal it is.
    """
    errors, num_found = [], 0
    for i, found in enumerate(detections):
        best = best_detection(found, species)
        if best is None:
            continue
        num_found += 1
        if truth is not None:
            size = max(1e-6, head_size_px(truth[i]))
            errors.append(100 * float(np.linalg.norm(best.points_xy - truth[i], axis=1).mean()) / size)
    return PointErrors(float(np.mean(errors)) if errors else math.nan, 100 * num_found / max(1, len(detections)))
