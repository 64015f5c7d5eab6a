"""Two motions over time -> how well one follows the other: correlation, lag, errors."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from data_pipeline.puppets.landmarks import five_points
from evaluation.metrics.regions import head_sizes_px
from evaluation.metrics.signals import Signals, both_eyes

LARGEST_LAG_FRAMES = 5
FEWEST_FRAMES = 8
"""Fewer frames give no correlation."""
SUREST_LAG = 0.5
"""A lag is told only where the correlation at it reaches this: elsewhere the best lag is chance."""
SHARPEST_FRAMES, LEAST_DROP = 2, 0.03
"""And only where it is lower by this so many frames to either side: slow motion fits at many lags."""
LEAST_MOTION = {"yaw": 1.5, "pitch": 1.5, "roll": 1.5, "eyes": 0.03, "lips": 0.03}
"""Standard deviation over time, degrees or ratio, that a signal must have in the driver; about the reader's noise."""
_FROZEN = 1e-6


def driver_correlations(driver: Signals, made: Signals) -> dict[str, float]:
    """`yaw_corr`, `yaw_lag` and so on for each signal that moves enough in the driver; others are NaN."""
    values = {}
    for name, wanted in _named(driver).items():
        got = _named(made)[name]
        is_known = np.isfinite(wanted).all() and len(wanted) >= FEWEST_FRAMES
        if not is_known or wanted.std() < LEAST_MOTION[name]:
            values |= {f"{name}_corr": math.nan, f"{name}_lag": math.nan}
            continue
        got = at_rest_where_unknown(got)
        values |= {f"{name}_corr": pearson(wanted, got), f"{name}_lag": best_lag(wanted, got).told}
    return values


def _named(signals: Signals) -> dict[str, np.ndarray]:
    return {
        "yaw": signals.yaw_deg, "pitch": signals.pitch_deg, "roll": signals.roll_deg,
        "eyes": both_eyes(signals), "lips": signals.lips,
    }  # fmt: skip


def at_rest_where_unknown(values: Float[np.ndarray, " T"]) -> Float[np.ndarray, " T"]:
    """NaN becomes the mean of the known values; all NaN becomes 0."""
    known = np.isfinite(values)
    return np.where(known, values, values[known].mean() if known.any() else 0.0).astype(values.dtype)


def pearson(wanted: Float[np.ndarray, " T"], got: Float[np.ndarray, " T"]) -> float:
    """Correlation over time; 0 when the result is frozen, NaN when there is nothing to follow."""
    a, b = (x.astype(np.float64) - x.mean(dtype=np.float64) for x in (wanted, got))
    if np.sqrt((a * a).mean()) < _FROZEN:
        return math.nan
    if np.sqrt((b * b).mean()) < _FROZEN:
        return 0.0
    return float((a @ b) / np.sqrt((a @ a) * (b @ b)))


class Lag(NamedTuple):
    """Where a result fits its driver best."""

    frames: float
    """Positive: the result is late."""
    correlation: float
    drop: float
    """How much lower the correlation is `SHARPEST_FRAMES` beside it, where it falls less; NaN when unknown."""

    @property
    def told(self) -> float:
        """The lag in frames; NaN where it is chance."""
        return self.frames if self.correlation >= SUREST_LAG and self.drop >= LEAST_DROP else math.nan


def correlation_at(wanted: Float[np.ndarray, " T"], got: Float[np.ndarray, " T"], lag: int) -> float:
    """Correlation with a result that is `lag` frames late, over the frames that both have."""
    count = len(wanted) - abs(lag)
    if count < FEWEST_FRAMES:
        return math.nan
    return pearson(wanted[max(0, -lag) :][:count], got[max(0, lag) :][:count])


def best_lag(wanted: Float[np.ndarray, " T"], got: Float[np.ndarray, " T"], largest: int = LARGEST_LAG_FRAMES) -> Lag:
    """The lag of at most `largest` frames at which the result correlates best; of equal ones the smallest."""
    found, best = 0, -math.inf
    for lag in sorted(range(-largest, largest + 1), key=abs):
        r = correlation_at(wanted, got, lag)
        if r > best + 1e-9:
            found, best = lag, r
    beside = [correlation_at(wanted, got, found + step) for step in (-SHARPEST_FRAMES, SHARPEST_FRAMES)]
    return Lag(float(found), best, best - max(beside) if all(map(math.isfinite, beside)) else math.nan)


def motion_errors(made: Signals, true: Signals) -> dict[str, float]:
    """Mean absolute errors of the change since the first frame; what the truth does not know is NaN.

    Counted from the first frame, because the protocols are relative, and because a reader's constant error about
    one head then does not count.
    """

    def error(*names: str) -> float:
        parts = []
        for name in names:
            got, right = at_rest_where_unknown(getattr(made, name)), getattr(true, name)
            parts.append(np.abs((got - got[0]) - (right - right[0]))[1:])
        return float(np.mean(parts)) if len(true.yaw_deg) > 1 else math.nan

    return {
        "pose_error_deg": error("pitch_deg", "yaw_deg", "roll_deg"),
        "eye_error": error("right_eye", "left_eye"),
        "lip_error": error("lips"),
    }


def commanded_values(read: Float[np.ndarray, " T"], commanded: Float[np.ndarray, " T"]) -> dict[str, float]:
    """How the opening that is read follows the one that was asked for."""
    got = at_rest_where_unknown(read)
    return {
        "commanded_corr": pearson(commanded, got),
        "commanded_error": float(np.abs(got - commanded).mean()) if len(got) else math.nan,
    }


def landmark_error_percent(made: Float[np.ndarray, "T L 2"], true: Float[np.ndarray, "T L 2"]) -> float:
    """Mean distance in percent of the face size (mean of eye distance and eye-to-mouth distance), over seen frames."""
    sizes = np.maximum(1e-6, head_sizes_px(five_points(true)))
    off = np.linalg.norm(made - true, axis=-1).mean(axis=-1) / sizes
    seen = off[np.isfinite(off)]
    return 100 * float(seen.mean()) if len(seen) else math.nan


def pooled_correlation(wanted: Float[np.ndarray, "T N"], got: Float[np.ndarray, "T N"]) -> float:
    """Correlation over time of N series together, each around its own mean: those that move more count more."""
    a, b = (x.astype(np.float64) - x.mean(axis=0, dtype=np.float64) for x in (wanted, got))
    return pearson(a.ravel(), b.ravel())
