"""Result and pair -> all numbers of one pair, and the shape that every measure has."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from data_pipeline.records import Detection
from evaluation.metrics import image, perceptual
from evaluation.metrics.catalog import METRICS
from evaluation.metrics.points import point_errors
from evaluation.metrics.regions import regions_of
from evaluation.metrics.steadiness import Steadiness
from evaluation.protocols.pairs import PairFrames, Truth

Detector = Callable[..., list[list[Detection]]]


@runtime_checkable
class Measure(Protocol):
    """Numbers of one pair. State may be kept for speed only: any order of pairs gives the same numbers."""

    def missing(self) -> dict[str, str]:
        """Metric name -> why this measure never gives it."""
        ...

    def __call__(self, result: UInt8[np.ndarray, "T S S 3"], pair: PairFrames) -> dict[str, float]:
        """Numbers; what this pair does not allow is absent or NaN, never zero."""
        ...


@runtime_checkable
class SetMeasure(Protocol):
    """Numbers of all pairs of a method together; what is kept of a pair is small and has a bound."""

    name: str
    """Under which the features are kept."""

    def missing(self) -> dict[str, str]:
        """Metric name -> why this measure never gives it."""
        ...

    def features(self, pair: PairFrames, result: UInt8[np.ndarray, "T S S 3"]) -> dict[str, np.ndarray]:
        """What one pair contributes; empty when it contributes nothing."""
        ...

    def values(self, collected: Sequence[tuple[str, Mapping[str, np.ndarray]]]) -> dict[str, float]:
        """(pair id, its features) of one method -> numbers; what cannot be measured is absent.

        The sequence may read each entry from a file when it is asked for: hold no more of it than has a bound.
        """
        ...


class Made(NamedTuple):
    """What a method returned, in a form that can be measured."""

    frames: UInt8[np.ndarray, "T S S 3"]
    num_broken: int
    """Frames that held NaN or infinity; they are black now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSuite:
    """Measures one pair; what cannot be measured is absent from the answer, never zero."""

    lpips: Callable[[Tensor, Tensor], Tensor] | None = None
    detector: Detector | None = None
    extra: Sequence[Measure] = ()
    """Identity, motion, experts: whatever a run asks for."""
    batch_frames: int = 8
    """Frames that a network sees at once: bounds the memory."""
    detector_every: int = 2
    """The detector looks at every n-th frame: it costs more than all other numbers together."""
    not_measured: Mapping[str, str] = field(default_factory=dict)
    """Metric -> why it is missing, where the caller knows better."""
    steadiness: Steadiness = field(default_factory=Steadiness)

    def missing(self) -> dict[str, str]:
        """Which metrics this suite never measures, and why; names that a row holds nevertheless are measured."""
        reasons = {metric.name: metric.needs for metric in METRICS if metric.needs}
        if self.lpips is not None:
            del reasons["lpips"]
        if self.detector is None:
            reasons |= dict.fromkeys(("point_error", "detected"), "no head detector given")
        for measure in self.extra:
            reasons = {name: why for name, why in reasons.items() if name not in getattr(measure, "names", ())}
            reasons |= measure.missing()
        return reasons | dict(self.not_measured)

    def __call__(self, result: np.ndarray, pair: PairFrames) -> dict[str, float]:
        """Mean of each metric over the frames of a pair.

        Raises:
            ValueError: the frames do not match in number or size, or are no pictures.
        """
        made, num_broken = as_frames(result, pair)
        values = {"broken": 100 * num_broken / len(made)}
        if pair.truth is not None:
            values |= self._against_truth(made, pair.truth)
        values |= self._heads(made, pair)
        for measure in (self.steadiness, *self.extra):
            values |= measure(made, pair)
        return {name: value for name, value in values.items() if math.isfinite(value)}

    def _against_truth(self, made: np.ndarray, truth: Truth) -> dict[str, float]:
        columns: dict[str, list[float]] = {}
        for i, (frame, true) in enumerate(zip(made, truth.frames, strict=True)):
            numbers = image.frame_numbers(frame, true, regions_of(truth, i))
            numbers["grad_distance"] = perceptual.gradient_distance(frame, true)
            for name, value in numbers.items():
                columns.setdefault(name, []).append(value)
        if self.lpips is not None:
            columns["lpips"] = [
                float(value)
                for part in self._parts(len(made))
                for value in self.lpips(to_float(made[part]), to_float(truth.frames[part]))
            ]
        values = {name: _mean_of_known(column) for name, column in columns.items()}
        return values | {"flicker": flicker(made, truth.frames), "motion_gain": motion_gain(made, truth.frames)}

    def _heads(self, made: np.ndarray, pair: PairFrames) -> dict[str, float]:
        if self.detector is None:
            return {}
        looked = made[:: self.detector_every]
        found = [one for part in self._parts(len(looked)) for one in self.detector(list(looked[part]), part.start)]
        known = None if pair.truth is None else pair.truth.points
        errors = point_errors(found, None if known is None else known[:: self.detector_every], pair.species)
        return {"point_error": errors.error_percent, "detected": errors.found_percent}

    def _parts(self, count: int) -> Iterator[slice]:
        return (slice(start, min(count, start + self.batch_frames)) for start in range(0, count, self.batch_frames))


def as_frames(result: np.ndarray, pair: PairFrames) -> Made:
    """Check what a method returned. u8 frames stay what they are; float frames are taken as 0-1.

    Raises:
        ValueError: it is not one square RGB frame for each driving frame.
    """
    wanted = (len(pair.driving), *pair.source.shape)
    if result.shape != wanted:
        raise ValueError(f"the result is {_shape(result.shape)}, but {_shape(wanted)} are needed; return those")
    if result.dtype == np.uint8:
        return Made(result, 0)
    if not np.issubdtype(result.dtype, np.floating):
        raise ValueError(f"the result holds {result.dtype} values; give u8 frames in 0-255 or float frames in 0-1")
    frames, num_broken = np.zeros(wanted, np.uint8), 0
    for i, frame in enumerate(result):
        if np.isfinite(frame).all():
            frames[i] = np.round(np.clip(frame, 0, 1) * 255)
        else:
            num_broken += 1
    return Made(frames, num_broken)


def flicker(made: UInt8[np.ndarray, "T S S 3"], true: UInt8[np.ndarray, "T S S 3"]) -> float:
    """Mean absolute change of the error between neighbouring frames, in 0-1; NaN for a single frame."""
    changes, last = [], None
    for frame, wanted in zip(made, true, strict=True):
        error = cv2.subtract(frame, wanted, dtype=cv2.CV_16S)
        if last is not None:
            changes.append(sum(cv2.mean(cv2.absdiff(error, last))[:3]) / 3 / 255)
        last = error
    return _mean_of_known(changes)


def motion_gain(made: UInt8[np.ndarray, "T S S 3"], true: UInt8[np.ndarray, "T S S 3"]) -> float:
    """Share of the true change since the first frame that the result makes since its own; NaN if the truth is still."""
    along = energy = 0.0
    for frame, wanted in zip(made, true, strict=True):
        moved = cv2.subtract(wanted, true[0], dtype=cv2.CV_32F).ravel()
        along += float(moved @ cv2.subtract(frame, made[0], dtype=cv2.CV_32F).ravel())
        energy += float(moved @ moved)
    return along / energy if energy > 0 else math.nan


def to_float(frames: UInt8[np.ndarray, "T H W 3"]) -> Float[Tensor, "T 3 H W"]:
    """u8 frames -> network form, 0-1."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255


def _mean_of_known(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def _shape(shape: tuple[int, ...]) -> str:
    if len(shape) != 4 or shape[3] != 3:
        return f"an array of shape {shape}"
    return f"{shape[0]} frames of {shape[2]}x{shape[1]} px"
