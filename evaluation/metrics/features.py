"""Features of made and of real frames -> FID and KID, of any feature network."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8

from evaluation.metrics.faces import spread
from evaluation.metrics.look import PICTURE_WEIGHTS, LookFeatures
from evaluation.metrics.metric import STAND_IN, Metric
from evaluation.metrics.recent import Recent
from evaluation.protocols.pairs import PairFrames

MAX_FRAMES = 8
"""Frames of a pair that are taken, evenly over the clip."""
MAX_PAIRS = 500
"""Pairs of a method that are compared, evenly over all: bounds time and memory."""
KERNEL_DEGREE = 3
KERNEL_ROWS = 256
"""Rows whose kernels with all others are held at once."""
_NEEDS = "no feature network given (Inception, DINOv2, ...)"
_SETS = (
    f"{MAX_FRAMES} frames of each pair, evenly over the clip, against as many true frames (without a truth: against "
    "the sources)"
)
_LOOK = "with an offline descriptor of colours and edge directions: a stand-in, only to rank with"
FEATURE_METRICS = (
    Metric(
        name="fid", title="FID", unit="", better="down", digits=2, of_set=True, needs=_NEEDS,
        source="Heusel 2017 (arXiv 1706.08500); equals torchmetrics and torch-fidelity",
        definition=f"Frechet distance of network features, {_SETS}. Biased upwards with few frames: compare only runs "
        "of one size, and prefer KID",
    ),
    Metric(
        name="kid", title="KID", unit="", better="down", of_set=True, needs=_NEEDS,
        source="Binkowski 2018 (arXiv 1801.01401); equals torchmetrics and torch-fidelity",
        definition="squared maximum mean discrepancy of network features, polynomial kernel of degree 3, unbiased "
        f"(may fall below 0), over all frames at once, {_SETS}",
    ),
    Metric(
        name=f"fid{STAND_IN}", title="FID of looks", unit="", better="down", of_set=True, source="ours",
        stands_for="FID", definition=f"as FID, {_LOOK}",
    ),
    Metric(
        name=f"kid{STAND_IN}", title="KID of looks", unit="", better="down", digits=6, of_set=True, source="ours",
        stands_for="KID", definition=f"as KID, {_LOOK}",
    ),
)  # fmt: skip


@runtime_checkable
class FeatureNetwork(Protocol):
    """Whole pictures -> vectors: a `NetworkFile`, or the stand-in."""

    def __call__(self, pictures: UInt8[np.ndarray, "N S S 3"]) -> Float32[np.ndarray, "N D"]:
        """Vectors of RGB pictures."""
        ...


class FeatureDistance:
    """FID and KID between what a method made and what is real.

    Args:
        network: gives the features; None: neither is measured.
        is_stand_in: the numbers get the stand-in's names.
    """

    def __init__(self, network: FeatureNetwork | None, *, is_stand_in: bool = False) -> None:
        self.network = network
        self.suffix = STAND_IN if is_stand_in else ""
        self.name = f"feature_distance{self.suffix}"
        self._recent = Recent[np.ndarray]()

    def missing(self) -> dict[str, str]:
        """Both, without a network."""
        return {} if self.network else dict.fromkeys((f"fid{self.suffix}", f"kid{self.suffix}"), _NEEDS)

    def features(self, pair: PairFrames, result: UInt8[np.ndarray, "T S S 3"]) -> dict[str, np.ndarray]:
        """Vectors of some made and some real frames."""
        network = self.network
        if network is None:
            return {}
        positions = spread(len(result), MAX_FRAMES)
        real = pair.source[None] if pair.truth is None else pair.truth.frames[positions]
        return {"made": network(result[positions]), "real": self._recent.of(lambda: network(real), real)}

    def values(self, collected: Sequence[tuple[str, Mapping[str, np.ndarray]]]) -> dict[str, float]:
        """Both distances over the pairs; absent with fewer than two frames on either side."""
        if not collected:
            return {}
        chosen = [collected[i][1] for i in spread(len(collected), MAX_PAIRS)]
        made, real = (np.concatenate([found[side] for found in chosen]) for side in ("made", "real"))
        if min(len(made), len(real)) < 2:
            return {}
        distance = frechet_distance(moments(made), moments(real))
        return {f"fid{self.suffix}": distance, f"kid{self.suffix}": kernel_distance(made, real)}


class Moments(NamedTuple):
    """Mean and covariance of a set of features."""

    mean: Float64[np.ndarray, " D"]
    covariance: Float64[np.ndarray, "D D"]


def stand_in_distance() -> FeatureDistance:
    """FID and KID of the offline descriptor."""
    return FeatureDistance(LookFeatures(PICTURE_WEIGHTS), is_stand_in=True)


def moments(rows: Float[np.ndarray, "N D"]) -> Moments:
    """Mean and unbiased covariance."""
    x = rows.astype(np.float64)
    return Moments(x.mean(axis=0), np.atleast_2d(np.cov(x, rowvar=False)))


def frechet_distance(a: Moments, b: Moments) -> float:
    """Squared distance of the means plus tr(A + B - 2 (AB)^(1/2)).

    The trace of the root is the sum of the roots of AB's eigenvalues; taken from the symmetric A^(1/2) B A^(1/2), so
    that sets with fewer rows than dimensions need no trick.
    """
    values, vectors = np.linalg.eigh(a.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    mixed = np.linalg.eigvalsh(root @ b.covariance @ root)
    gap = a.mean - b.mean
    total = gap @ gap + np.trace(a.covariance) + np.trace(b.covariance) - 2 * np.sqrt(np.maximum(mixed, 0)).sum()
    return max(0.0, float(total))


def kernel_distance(a: Float[np.ndarray, "N D"], b: Float[np.ndarray, "M D"]) -> float:
    """Unbiased squared MMD with the kernel (xy / D + 1)^3, over all rows at once."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    own_x, own_y = (
        (_kernel_sum(rows, rows) - _kernel_of_itself(rows)) / (len(rows) * (len(rows) - 1)) for rows in (x, y)
    )
    return own_x + own_y - 2 * _kernel_sum(x, y) / (len(x) * len(y))


def _kernel_sum(x: Float64[np.ndarray, "N D"], y: Float64[np.ndarray, "M D"]) -> float:
    """Over all couples of rows; memory holds those of a few."""
    parts = (x[start : start + KERNEL_ROWS] @ y.T for start in range(0, len(x), KERNEL_ROWS))
    return sum(float(((part / x.shape[1] + 1) ** KERNEL_DEGREE).sum()) for part in parts)


def _kernel_of_itself(x: Float64[np.ndarray, "N D"]) -> float:
    return float((((x * x).sum(axis=1) / x.shape[1] + 1) ** KERNEL_DEGREE).sum())
