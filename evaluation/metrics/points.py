"""Result frames -> where the detector sees the five points, against where they truly are."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from data_pipeline.records import Detection, Species


class PointErrors(NamedTuple):
    """Means over the frames of one pair."""

    error_percent: float
    """NaN when no head was found in any frame."""
    found_percent: float


def best_detection(found: Sequence[Detection], species: Species | None) -> Detection | None:
    """The surest head of the species (of any, for None); None when there is none."""
    fitting = [one for one in found if species is None or one.species == species]
    return max(fitting, key=lambda one: one.score, default=None)


def point_errors(
    detections: Sequence[Sequence[Detection]], truth: Float[np.ndarray, "T 5 2"], species: Species
) -> PointErrors:
    """Compare the surest head of the right species in each frame with the true points.

    A head found as another species is not found: the result no longer looks like the animal it is.
    """
    errors = []
    for found, points in zip(detections, truth, strict=True):
        best = best_detection(found, species)
        if best is None:
            continue
        eyes = np.linalg.norm(points[0] - points[1])
        height = np.linalg.norm((points[0] + points[1]) / 2 - (points[3] + points[4]) / 2)
        size = max(1e-6, float(eyes + height) / 2)
        errors.append(100 * float(np.linalg.norm(best.points_xy - points, axis=1).mean()) / size)
    return PointErrors(float(np.mean(errors)) if errors else float("nan"), 100 * len(errors) / max(1, len(truth)))
