"""Result, driver and what is known about the right motion -> how faithfully the driver's motion arrived."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from data_pipeline.records import Species
from evaluation.metrics.following import (
    LARGEST_LAG_FRAMES,
    LEAST_DROP,
    LEAST_MOTION,
    SHARPEST_FRAMES,
    SUREST_LAG,
    commanded_values,
    driver_correlations,
    landmark_error_percent,
    motion_errors,
    pooled_correlation,
)
from evaluation.metrics.metric import Metric
from evaluation.metrics.recent import Recent
from evaluation.metrics.signals import Signals, opening_of
from evaluation.protocols.pairs import PairFrames

_FOLLOWS = (
    "Pearson correlation over the frames between {} in the driver and in the result, both read by the face reader; "
)
_STILL = (
    "0 for a frozen result, below 0 if opposite; not measured where the driver's spreads over time (standard "
    "deviation) less than {}"
)


def _correlations() -> tuple[Metric, ...]:
    found = []
    for name, least in LEAST_MOTION.items():
        what = f"the opening of the {name}" if name in ("eyes", "lips") else name
        unit = "" if name in ("eyes", "lips") else " degrees"
        found += [
            Metric(
                name=f"{name}_corr", title=f"{name} correlation", unit="-1 to 1", better="up", digits=3,
                source="ours; Pearson's r",
                definition=_FOLLOWS.format(what) + _STILL.format(f"{least}{unit}"),
            ),
            Metric(
                name=f"{name}_lag", title=f"{name} lag", unit="frames", better="zero", digits=2,
                source="ours; Pearson's r",
                definition=f"shift in -{LARGEST_LAG_FRAMES} to {LARGEST_LAG_FRAMES} compared frames at which that "
                f"correlation is best, positive when the result is late; only where it then reaches {SUREST_LAG} "
                f"and is lower by {LEAST_DROP} {SHARPEST_FRAMES} frames to either side: slow motion has no clear lag",
            ),
        ]  # fmt: skip
    return tuple(found)


MOTION_METRICS: tuple[Metric, ...] = (
    *_correlations(),
    Metric(
        name="pose_error_deg", title="pose error", unit="degrees", better="down", digits=2, source="ours",
        definition="mean absolute error of pitch, yaw and roll read in the result against the puppets' exact ones, "
        "each counted from its first frame, as motion is relative; the reader's own error is in it "
        "(docs/face_reader.md)",
    ),
    Metric(
        name="eye_error", title="eye-open error", unit="ratio", better="down",
        source="ours, with LivePortrait's ratios",
        definition="mean absolute error of both eyes' opening ratios read in the result against the puppets' exact "
        "ones, each counted from its first frame; the reader's own error is in it",
    ),
    Metric(
        name="lip_error", title="lip-open error", unit="ratio", better="down",
        source="ours, with LivePortrait's ratios",
        definition="mean absolute error of the lips' opening ratio read in the result against the puppets' exact one, "
        "each counted from its first frame; the reader's own error is in it",
    ),
    Metric(
        name="nme", title="landmark error", unit="% of face", better="down", digits=2,
        source="normalised mean error, as in face alignment; landmarks and face size are ours",
        definition="mean distance of 70 landmarks read in the result from the same ones read in the true frames, in "
        "percent of the face size (mean of eye distance and eye-to-mouth distance); the reader's noise is in it twice",
    ),
    Metric(
        name="delta_corr", title="delta correlation", unit="-1 to 1", better="up", digits=3,
        source="ours; Pearson's r, pooled",
        definition="correlation over time, pooled over keypoints and axes, of the expression deltas that one "
        "motion network (option judge) sees in driver and result: a diagnostic, biased to what that network encodes",
    ),
    Metric(
        name="commanded_corr", title="sweep correlation", unit="-1 to 1", better="up", digits=3,
        source="ours, after the retargeting curves of LivePortrait's page",
        definition="correlation over a sweep between the opening that was asked for and the one read in the result; 0 "
        "for a frozen result",
    ),
    Metric(
        name="commanded_error", title="sweep error", unit="ratio", better="down",
        source="ours, after the retargeting curves of LivePortrait's page",
        definition="mean absolute difference over a sweep between the opening that was asked for and the one read in "
        "the result; the reader's own error is in it",
    ),
)  # fmt: skip


@runtime_checkable
class SignalReader(Protocol):
    """What reads the motion of a head; `with_landmarks` and `missing` of `FaceReader` are used where they exist.

    Several methods ask about one driver, and a sweep's curve about the result that was measured: what is slow should
    remember the clips that it read last, as `FaceReader` does.
    """

    def __call__(self, frames: UInt8[np.ndarray, "T S S 3"], species: Species) -> Signals:
        """Crops of one head in time -> its motion."""
        ...


class Readings:
    """Signals and, where the reader knows them, landmarks of the same frames."""

    def __init__(self, reader: SignalReader, frames: UInt8[np.ndarray, "T S S 3"], species: Species) -> None:
        both = getattr(reader, "with_landmarks", None)
        self.landmarks: Float32[np.ndarray, "T 70 2"] | None = None
        if both is None:
            self.signals = reader(frames, species)
        else:
            self.signals, self.landmarks = both(frames, species)


@dataclass(kw_only=True)
class MotionFidelity:
    """Compares the motion that a reader sees in the result with the driver's, and with the exact one on puppets.

    Frames in which the reader sees nothing count as frames at rest (the mean of the others): they lower the
    correlation instead of vanishing.

    Args:
        reader: sees motion, such as `FaceReader()`; None measures nothing.
    """

    reader: SignalReader | None

    def missing(self) -> dict[str, str]:
        """Which of the metrics are never measured, and why."""
        names = [metric.name for metric in MOTION_METRICS if metric.name != "delta_corr"]
        reason = "no face reader given" if self.reader is None else getattr(self.reader, "missing", str)()
        if reason:
            return dict.fromkeys(names, reason)
        if not hasattr(self.reader, "with_landmarks"):
            return {"nme": "the face reader reads no dense landmarks"}
        return {}

    def __call__(self, result: UInt8[np.ndarray, "T S S 3"], pair: PairFrames) -> dict[str, float]:
        """Metric name -> value; absent where nothing can be said.

        Raises:
            ValueError: the result has another number of frames than the driver.
        """
        if self.reader is None or getattr(self.reader, "missing", str)():
            return {}
        if len(result) != len(pair.driving):
            raise ValueError(
                f"the result has {len(result)} frames and the driver {len(pair.driving)}; give equal numbers"
            )
        made = Readings(self.reader, result, pair.species)
        values = driver_correlations(self.reader(pair.driving, pair.driver_species), made.signals)
        if pair.signals is not None:
            values |= motion_errors(made.signals, pair.signals)
        if pair.commanded is not None:
            values |= commanded_values(opening_of(made.signals, pair.sweep), pair.commanded)
        if pair.truth is not None and made.landmarks is not None:
            true = Readings(self.reader, pair.truth.frames, pair.species).landmarks
            assert true is not None
            values["nme"] = landmark_error_percent(made.landmarks, true)
        return {name: value for name, value in values.items() if math.isfinite(value)}


@dataclass(kw_only=True)
class KeypointDeltas:
    """Correlates the expression deltas that a motion network sees in driver and result.

    A diagnostic only: the network that made the result judges it, so it is blind to what it does not encode itself.

    Args:
        read_motion: crops [T,S,S,3] -> expression deltas [T,K,3]; None measures nothing.
    """

    read_motion: Callable[[np.ndarray], np.ndarray] | None
    _recent: Recent[np.ndarray] = field(default_factory=lambda: Recent[np.ndarray](), init=False, repr=False)

    def missing(self) -> dict[str, str]:
        """Why delta_corr is never measured."""
        return {} if self.read_motion is not None else {"delta_corr": "no motion network given"}

    def __call__(self, result: UInt8[np.ndarray, "T S S 3"], pair: PairFrames) -> dict[str, float]:
        """delta_corr, or nothing where the driver's expression does not change."""
        read = self.read_motion
        if read is None:
            return {}
        driver = self._recent.of(lambda: read(pair.driving), pair.driving)
        value = pooled_correlation(driver.reshape(len(driver), -1), read(result).reshape(len(result), -1))
        return {"delta_corr": value} if math.isfinite(value) else {}
