"""Made frames, driver and source -> what flickers, boils or drifts though it should not."""

import math
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from evaluation.metrics.metric import Metric
from evaluation.metrics.recent import Recent
from evaluation.metrics.regions import Surroundings, surroundings_from_labels, surroundings_from_points
from evaluation.protocols.pairs import PairFrames

FLOW_SIDE_PX = 128
"""Flow is read at this side: a quarter of the time, and still finer than any motion of a talking head."""
STEADINESS_METRICS = (
    Metric(
        name="flicker", title="flicker", unit="0-1", better="down", source="ours",
        definition="mean absolute change between neighbouring frames of the error (result - truth)",
    ),
    Metric(
        name="flicker_excess", title="flicker beyond the driver", unit="0-1", better="down",
        source="VBench's temporal flickering (arXiv 2311.17982), made relative",
        definition="mean absolute change between neighbouring frames of the result, minus the same of the driver; "
        "grows with jitter. A frozen picture is the lowest, and an animal whose head is smaller than the driver's is "
        "below 0 though it is right: compare methods on the same pairs, beside motion gain",
    ),
    Metric(
        name="warp_error", title="flow-warp error beyond the driver", unit="0-1", better="down",
        source="Lai 2018 (arXiv 1808.00449), made relative",
        definition="mean absolute difference (luma in 0-1, 128 px) between a frame and the frame before it carried "
        "along by optical flow (OpenCV's DIS), where flows there and back agree; minus the same of the driver. Sees "
        "texture that boils or blinks; a shake is a flow and hardly seen, and a frozen picture is the lowest",
    ),
    Metric(
        name="background_drift", title="background drift", unit="0-1", better="down", source="ours",
        definition="mean absolute difference of RGB between the result and the source, over pixels that are background "
        "in the true first frame and in the true frame; without masks, outside a disc around the source's head and "
        "above its chin",
    ),
    Metric(
        name="shoulder_drift", title="shoulder drift", unit="0-1", better="down", source="ours",
        definition="as background drift, over shoulders and chest; without masks, below the chin. Real shoulders sway: "
        "the truth itself is not at 0",
    ),
)  # fmt: skip


class Unsteadiness(NamedTuple):
    """Of one video; NaN for a single frame."""

    change: float
    warp_error: float


class Steadiness:
    """The measures that need no truth; exact masks are used where the truth has them."""

    names = ("flicker_excess", "warp_error", "background_drift", "shoulder_drift")

    def __init__(self) -> None:
        self._recent = Recent[Unsteadiness]()

    def missing(self) -> dict[str, str]:
        """Nothing: no network is needed."""
        return {}

    def __call__(self, result: UInt8[np.ndarray, "T S S 3"], pair: PairFrames) -> dict[str, float]:
        """Steadiness of one result, relative to its driver and its source."""
        own, driver = unsteadiness(result), self._recent.of(lambda: unsteadiness(pair.driving), pair.driving)
        values = {
            "flicker_excess": own.change - driver.change,
            "warp_error": own.warp_error - driver.warp_error,
        }
        return values | drifts(result, pair)


def unsteadiness(frames: UInt8[np.ndarray, "T S S 3"]) -> Unsteadiness:
    """Mean change and mean flow-warp error from frame to frame."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    changes, errors, last = [], [], _luma(frames[0])
    for before, now in pairwise(frames):
        luma = _luma(now)
        changes.append(sum(cv2.mean(cv2.absdiff(now, before))[:3]) / 3 / 255)
        errors.append(_warp_error(flow, last, luma))
        last = luma
    return Unsteadiness(_mean(changes), _mean(errors))


def drifts(result: UInt8[np.ndarray, "T S S 3"], pair: PairFrames) -> dict[str, float]:
    """How far background and shoulders are from the source; empty where nobody knows where the head is."""
    found: dict[str, list[float]] = {"background_drift": [], "shoulder_drift": []}
    for i, frame in enumerate(result):
        around = _surroundings(pair, i)
        if around is None:
            return {}
        gap = cv2.absdiff(frame, pair.source)
        for name, mask in zip(found, around, strict=True):
            if mask.any():
                found[name].append(sum(cv2.mean(gap, mask)[:3]) / 3 / 255)
    return {name: _mean(values) for name, values in found.items()}


def _surroundings(pair: PairFrames, i: int) -> Surroundings | None:
    truth = pair.truth
    if truth is not None and truth.labels is not None:
        return surroundings_from_labels(truth.labels[0], truth.labels[i])
    if pair.source_points is not None:
        return surroundings_from_points(pair.source_points, pair.source.shape[0])
    return None


def _luma(frame: UInt8[np.ndarray, "S S 3"]) -> UInt8[np.ndarray, "F F"]:
    small = frame
    if frame.shape[0] > FLOW_SIDE_PX:
        small = cv2.resize(frame, (FLOW_SIDE_PX, FLOW_SIDE_PX), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)


def _warp_error(flow: cv2.DISOpticalFlow, before: np.ndarray, now: np.ndarray) -> float:
    """Mean absolute difference in 0-1 of `now` and `before` carried to it, over pixels that both frames show."""
    if min(now.shape) < 16:
        return math.nan  # DIS needs a pyramid
    back, forth = flow.calc(now, before, None), flow.calc(before, now, None)  # pyright: ignore[reportCallIssue, reportArgumentType]
    rows, columns = np.indices(now.shape, np.float32)
    at_x, at_y = columns + back[..., 0], rows + back[..., 1]
    carried = cv2.remap(before, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    returned = cv2.remap(forth, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    gap = _squared(back + returned)
    # The usual test of both flows (Sundaram 2010): they cancel where nothing is hidden.
    seen = (gap < 0.01 * (_squared(back) + _squared(returned)) + 0.5).view(np.uint8)
    return cv2.mean(cv2.absdiff(now, carried), seen)[0] / 255 if seen.any() else math.nan


def _squared(flow: Float32[np.ndarray, "F F 2"]) -> Float32[np.ndarray, "F F"]:
    return flow[..., 0] ** 2 + flow[..., 1] ** 2


def _mean(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan
