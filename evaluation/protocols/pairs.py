"""One source and one driver with what is known about them: the records that protocols, methods and measures share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8

from data_pipeline.records import Species
from evaluation.metrics.signals import Signals


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The frames a method should have made, and exact knowledge of them."""

    frames: UInt8[np.ndarray, "T S S 3"]
    species: Species
    points: Float[np.ndarray, "T 5 2"] | None = None
    """Pixels of the square; None when unknown."""
    labels: UInt8[np.ndarray, "T S S"] | None = None
    """0 background, 1 body, 2 head, 3 eyes, 4 mouth; None on real media."""


Sweep = Literal["eyes", "lips"]


class PairFrames(NamedTuple):
    """The pixels of one pair; all squares have one side."""

    source: UInt8[np.ndarray, "S S 3"]
    driving: UInt8[np.ndarray, "T S S 3"]
    truth: Truth | None
    """None where nobody knows the right frames: real cross-reenactment."""
    source_points: Float32[np.ndarray, "5 2"] | None
    driving_points: Float32[np.ndarray, "T 5 2"] | None
    species: Species = "human"
    """Of the source."""
    driver_species: Species = "human"
    signals: Signals | None = None
    """Exact motion of the truth (puppets); None elsewhere."""
    source_landmarks: Float32[np.ndarray, "L 2"] | None = None
    """Dense landmarks where a truth file has them, in pixels of the square."""
    driving_landmarks: Float32[np.ndarray, "T L 2"] | None = None
    commanded: Float32[np.ndarray, " T"] | None = None
    """The opening ratio asked for in each frame of a sweep; None elsewhere."""
    sweep: Sweep | None = None
    """Which opening `commanded` is about."""
    source_openings: Float32[np.ndarray, "3"] | None = None
    """The source's own right eye, left eye and lips, where somebody knows them (sweeps need them)."""
    pair_id: str = ""
    fps: float = 0.0
    """At which these frames are shown: native rate over stride; 0 where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One thing to be made and compared; pixels are read by `load`."""

    pair_id: str
    protocol: str
    species: Species
    """Of the source."""
    driver_species: Species
    num_frames: int
    fps: float
    """Native rate of the clips."""
    stride: int
    """Native frames between the frames that are used."""
    load: Callable[[], PairFrames]
    facts: dict[str, Any] = field(default_factory=dict)
    """What the manifest says of it: hashes and frame numbers of source and driver, `source_identity`, `level` (of the
    puppet benchmark), `factor` (of sweeps)."""
