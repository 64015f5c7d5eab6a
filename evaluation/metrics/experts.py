"""A network for expression, pose or gaze -> how far the result's vector is from the driver's: AED, APD, gaze error."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float32, UInt8

from data_pipeline.records import Species
from evaluation.metrics.faces import Detector, aligned, located, spread
from evaluation.metrics.identity import Embedder
from evaluation.metrics.metric import Metric
from evaluation.metrics.recent import Recent
from evaluation.protocols.pairs import PairFrames

ExpertName = Literal["aed", "apd", "gaze_mae"]
MAX_FRAMES = 16
"""Frames looked at, evenly over the clip."""
_HOW = f"of result and driver, over at most {MAX_FRAMES} frames in which a head is found in both"
EXPERT_METRICS = (
    Metric(
        name="aed", title="expression distance (AED)", unit="mean L1", better="down",
        source="LivePortrait, section 4 (SMIRK; whether jaw and lids are in it is unknown)",
        needs="no expression network given (SMIRK type, a vector of expression numbers)",
        definition=f"mean absolute difference of the expression vectors {_HOW}; not the FOMM family's AED, which is a "
        "distance of identities",
    ),
    Metric(
        name="apd", title="pose distance (APD)", unit="mean L1", better="down",
        source="LivePortrait, section 4 (SMIRK, three pose numbers in radians)",
        needs="no pose network given (SMIRK type, a vector of pose numbers)",
        definition=f"mean absolute difference of the pose vectors {_HOW}",
    ),
    Metric(
        name="gaze_mae", title="gaze error", unit="deg", better="down", digits=2,
        source="LivePortrait, section 4 (network unnamed there; L2CS-Net is the usual one)",
        needs="no gaze network given (pitch and yaw in radians, or a direction)",
        definition=f"mean angle between the gaze directions {_HOW}",
    ),
)  # fmt: skip


class ExpertDistance:
    """One number of one kind of network.

    Args:
        name: what the network's vector is, and so which distance is taken.
        networks: one per species; a pair is measured when source and driver both have one.
        detector: finds heads in result and driver; None: the known points are used for both.
    """

    def __init__(
        self, name: ExpertName, networks: Mapping[Species, Embedder], detector: Detector | None = None
    ) -> None:
        self.names = (name,)
        self.name: ExpertName = name
        self.networks = dict(networks)
        self.detector = detector
        self._recent = Recent[list[np.ndarray | None]]()

    def missing(self) -> dict[str, str]:
        """It, when there is no network for any species."""
        reason = next(metric.needs for metric in EXPERT_METRICS if metric.name == self.name)
        return {} if self.networks else {self.name: reason}

    def __call__(self, result: UInt8[np.ndarray, "T S S 3"], pair: PairFrames) -> dict[str, float]:
        """Mean distance from the driver; absent without a network for both, or when no frame shows both heads."""
        if pair.species not in self.networks or pair.driver_species not in self.networks:
            return {}
        positions = spread(len(result), MAX_FRAMES)
        driving, known = pair.driving[positions], pair.driving_points
        known = None if known is None else known[positions]
        wanted = self._recent.of(
            lambda: self._vectors(driving, pair.driver_species, known), driving, pair.driver_species, known
        )
        points = None
        if self.detector is None and pair.truth is not None and pair.truth.points is not None:
            points = pair.truth.points[positions]
        made = self._vectors(result[positions], pair.species, points)
        both = [(a, b) for a, b in zip(made, wanted, strict=True) if a is not None and b is not None]
        if not both:
            return {}
        distance = angle_deg if self.name == "gaze_mae" else mean_l1
        return {self.name: float(np.mean([distance(a, b) for a, b in both]))}

    def _vectors(
        self, frames: np.ndarray, species: Species, known: Sequence[np.ndarray] | np.ndarray | None
    ) -> list[np.ndarray | None]:
        network = self.networks[species]
        points = located(list(frames), species, self.detector, None if known is None else list(known))
        heads = aligned(list(frames), points, species, network.side_px, network.template)
        if not heads.found.any():
            return [None] * len(frames)
        vectors = iter(network(heads.pictures))
        return [next(vectors) if found else None for found in heads.found]


def mean_l1(a: Float32[np.ndarray, " D"], b: Float32[np.ndarray, " E"]) -> float:
    """Mean absolute difference.

    Raises:
        ValueError: the networks of the two species give vectors of different lengths.
    """
    if a.shape != b.shape:
        raise ValueError(f"the two species' networks give {len(a)} and {len(b)} numbers; they must mean the same")
    return float(np.abs(a - b).mean())


def angle_deg(a: Float32[np.ndarray, " D"], b: Float32[np.ndarray, " E"]) -> float:
    """Angle between two directions, each given as pitch and yaw in radians or as three coordinates."""
    x, y = _direction(a), _direction(b)
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(x, y)), x @ y)))


def _direction(vector: Float32[np.ndarray, " D"]) -> np.ndarray:
    if len(vector) == 2:
        pitch, yaw = vector.astype(np.float64)
        return np.array([np.cos(pitch) * np.sin(yaw), np.sin(pitch), np.cos(pitch) * np.cos(yaw)])
    if len(vector) == 3:
        return vector.astype(np.float64)
    raise ValueError(f"a gaze network gives 2 or 3 numbers, not {len(vector)}; set its outputs")
