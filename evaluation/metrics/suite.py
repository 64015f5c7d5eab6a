"""Result, truth and what is known about the truth -> all numbers of one pair."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from data_pipeline.records import Detection, Species
from evaluation.metrics import image, perceptual
from evaluation.metrics.points import point_errors
from evaluation.metrics.regions import Regions, regions_from_labels, regions_from_points

Detector = Callable[..., list[list[Detection]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The frames a method should have made, and exact knowledge of them."""

    frames: UInt8[np.ndarray, "T S S 3"]
    species: Species
    points: Float[np.ndarray, "T 5 2"] | None = None
    """Pixels of the square; None when unknown."""
    labels: UInt8[np.ndarray, "T S S"] | None = None
    """0 background, 1 body, 2 head, 3 eyes, 4 mouth; None on real media."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSuite:
    """Measures one pair; what cannot be measured is absent from the answer, never zero."""

    lpips: Callable[[Tensor, Tensor], Tensor] | None = None
    detector: Detector | None = None
    batch_frames: int = 8
    """Frames measured at once: bounds the memory."""
    not_measured: dict[str, str] = field(default_factory=dict)
    """Metric -> why it is missing; filled by `missing`."""

    def missing(self) -> dict[str, str]:
        """Which metrics this suite never measures, and why."""
        reasons = {
            "csim": "no identity network given",
            "eye_error": "no dense landmark network given",
            "lip_error": "no dense landmark network given",
        }
        if self.lpips is None:
            reasons["lpips"] = "no AlexNet weights given (metrics.lpips_weights); see the stand-in beside it"
        if self.detector is None:
            reasons |= dict.fromkeys(("point_error", "detected"), "no head detector given")
        return reasons | self.not_measured

    def __call__(self, result: UInt8[np.ndarray, "T S S 3"], truth: Truth) -> dict[str, float]:
        """Mean of each metric over the frames of a pair.

        Raises:
            ValueError: the frames do not match in number or size.
        """
        if result.shape != truth.frames.shape:
            raise ValueError(
                f"the result is {_shape(result)} and the truth {_shape(truth.frames)}; both must have one size"
            )
        columns: dict[str, list[Tensor]] = {}
        sums = np.zeros(4)
        last_error: Tensor | None = None
        first_made, first_true = to_float(result[:1]), to_float(truth.frames[:1])
        for start in range(0, len(result), self.batch_frames):
            part = slice(start, start + self.batch_frames)
            made, true = to_float(result[part]), to_float(truth.frames[part])
            for name, values in self._per_frame(made, true, _regions(truth, part)).items():
                columns.setdefault(name, []).append(values)
            error = made - true
            joined = error if last_error is None else torch.cat((last_error, error))
            changes, moved = joined.diff(dim=0).abs(), true - first_true
            sums += (
                float(changes.sum(dtype=torch.float64)),
                changes.numel(),
                float((moved * (made - first_made)).sum(dtype=torch.float64)),
                float(moved.square().sum(dtype=torch.float64)),
            )
            last_error = error[-1:]
        values = {name: float(torch.cat(parts).nanmean()) for name, parts in columns.items()}
        values["flicker"] = sums[0] / sums[1] if sums[1] else math.nan
        values["motion_gain"] = sums[2] / sums[3] if sums[3] else math.nan
        values |= self._points(result, truth)
        return {name: value for name, value in values.items() if math.isfinite(value)}

    def _per_frame(self, made: Tensor, true: Tensor, regions: Regions | None) -> dict[str, Tensor]:
        values = {
            "l1": image.l1(made, true),
            "psnr": image.psnr(made, true),
            "ssim": image.ssim(made, true),
            "grad_distance": perceptual.gradient_distance(made, true),
        }
        if self.lpips is not None:
            values["lpips"] = self.lpips(made, true)
        if regions is not None:
            for name, mask in zip(Regions._fields, regions, strict=True):
                values[f"l1_{name}"] = image.masked_l1(made, true, mask)
        return values

    def _points(self, result: np.ndarray, truth: Truth) -> dict[str, float]:
        if self.detector is None or truth.points is None:
            return {}
        found = [one for i in range(0, len(result), self.batch_frames)
                 for one in self.detector(list(result[i : i + self.batch_frames]), i)]  # fmt: skip
        errors = point_errors(found, truth.points, truth.species)
        return {"point_error": errors.error_percent, "detected": errors.found_percent}


def to_float(frames: UInt8[np.ndarray, "T H W 3"]) -> Float[Tensor, "T 3 H W"]:
    """u8 frames -> network form, 0-1."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255


def mean_of(rows: Sequence[dict[str, float]], name: str) -> float | None:
    """Mean over the rows that have the metric; None when none has."""
    values = [row[name] for row in rows if name in row]
    return float(np.mean(values)) if values else None


def _regions(truth: Truth, part: slice) -> Regions | None:
    if truth.labels is not None:
        return regions_from_labels(torch.from_numpy(np.ascontiguousarray(truth.labels[part])))
    if truth.points is not None:
        points = torch.from_numpy(np.ascontiguousarray(truth.points[part], dtype=np.float32))
        return regions_from_points(points, truth.frames.shape[1])
    return None


def _shape(frames: np.ndarray) -> str:
    return f"{len(frames)} frames of {frames.shape[2]}x{frames.shape[1]} px"
