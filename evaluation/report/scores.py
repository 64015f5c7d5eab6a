"""Means of metrics with different units -> scores that one radar can hold: 0 is a stated bad value, 1 is perfect."""

from collections.abc import Mapping
from typing import NamedTuple

from evaluation.metrics.catalog import BY_NAME
from evaluation.metrics.metric import Metric
from evaluation.results import COPY, Evaluation

AXES = (
    ("lpips", "grad_distance"), ("l1_face", "l1"), ("l1_eyes",), ("l1_mouth",), ("yaw_corr",), ("pitch_corr",),
    ("eyes_corr",), ("lips_corr",), ("commanded_corr",), ("commanded_error",), ("pose_error_deg", "point_error"),
    ("csim", "csim_stand_in"), ("detected",), ("flicker", "flicker_excess"), ("background_drift", "l1_background"),
)  # fmt: skip
"""Axes of the radar in order: the first of each that was measured."""
PERFECT = {"detected": 100.0, "gallery_rank": 1.0}
"""Best values that are not told by the direction and the unit."""
TINY = 1e-6
FEWEST_AXES = 4


class Axis(NamedTuple):
    """One axis of the radar and how it is normalised."""

    metric: Metric
    zero: float
    """Value that scores 0."""
    zero_says: str
    one: float
    """Value that scores 1."""

    def score(self, value: float) -> float:
        """A mean as a score; more than 1 or below 0 is possible."""
        return (value - self.zero) / (self.one - self.zero)


def axes_of(result: Evaluation) -> list[Axis]:
    """The axes that can be drawn for this evaluation; the others are left out."""
    measured = result.measured()
    found = []
    for names in AXES:
        for name in names:
            axis = _axis(result, BY_NAME[name]) if name in measured else None
            if axis:
                found.append(axis)
                break
    return found


def scores_of(result: Evaluation, axes: list[Axis]) -> dict[str, list[float | None]]:
    """Method -> a score for each axis; None where it was not measured."""
    return {
        method: [None if (value := _error(result, method, axis.metric)) is None else axis.score(value) for axis in axes]
        for method in result.methods
    }


def _axis(result: Evaluation, metric: Metric) -> Axis | None:
    values = {name: value for name in result.methods if (value := _error(result, name, metric)) is not None}
    if metric.better == "up":
        one = PERFECT.get(
            metric.name, 1.0 if metric.unit in ("0-1", "cosine", "correlation", "share", "-1..1") else 0.0
        )
        if metric.name.endswith("_corr"):
            one = 1.0
        return Axis(metric, 0.0, "0 by definition", one) if one else None
    if metric.better == "one":
        return Axis(metric, 1.0, "off by 1", 0.0)
    return _error_axis(metric, values)


def _error_axis(metric: Metric, values: Mapping[str, float]) -> Axis | None:
    copied = values.get(COPY, 0.0)
    if copied > TINY:
        return Axis(metric, copied, COPY, 0.0)
    worst = max(values.values(), default=0.0)
    return Axis(metric, worst, "the worst method shown", 0.0) if worst > TINY else None


def _error(result: Evaluation, method: str, metric: Metric) -> float | None:
    """The mean as it is, or its distance from the right value where either side of it is wrong."""
    value = result.value(method, metric)
    if value is None or metric.better in ("up", "down"):
        return value
    return abs(value - (1.0 if metric.better == "one" else 0.0))
