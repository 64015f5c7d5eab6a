"""Which clip drives which, and in which frames -> the pixels of the pair."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal, TypeVar

import cv2
import numpy as np

from data_pipeline.records import Species
from evaluation.clips import Clip, ClipFrames, kept
from evaluation.protocols.pairs import Pair, PairFrames, Sweep, Truth
from evaluation.side_by_side import resized

Size = Literal["quick", "full"]
LIMITS: dict[Size, tuple[int, int]] = {"quick": (12, 24), "full": (200, 120)}
"""Size -> most pairs, most frames of each."""
SHORTEST_FRAMES = 4
"""Pairs with fewer common frames say little about motion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A pair that could be made; positions count from the first frame of each clip."""

    pair_id: str
    source: Clip
    driver: Clip
    count: int
    """Native frames that the pair spans."""
    source_at: int = 0
    """Position of the source picture."""
    driver_at: int = 0
    """Position of the driver's first frame."""
    truth_at: int | None = None
    """Position in the source clip of what should come out first; None: nobody knows the right frames."""
    sweep: Sweep | None = None
    commanded: tuple[float, ...] = ()
    """Of sweeps: the ratio asked for in each frame."""
    openings: tuple[float, float, float] | None = None
    """Of sweeps: the source's own, where its annotations do not tell."""
    reads_openings: bool = False
    """Of sweeps: where nobody tells them, the face reader does."""

    @property
    def species(self) -> Species:
        """Of the source."""
        return self.source.species


One = TypeVar("One", Pair, Plan)


def balanced(pairs: Sequence[One], limit: int) -> list[One]:
    """At most `limit` pairs, the species in turn, chosen by their names' hashes: the same on every machine."""
    species = sorted({pair.species for pair in pairs})
    queues = [sorted((p for p in pairs if p.species == one), key=lambda p: mark(p.pair_id)) for one in species]
    turns = [pair for turn in zip_longest(*queues) for pair in turn if pair is not None]
    return sorted(turns[:limit], key=lambda pair: pair.pair_id)


def mark(name: str) -> str:
    """A name -> where it stands in a random but fixed order."""
    return hashlib.sha256(name.encode()).hexdigest()


def common_frames(source: Clip, driver: Clip) -> range:
    """Native frames that two clips of one performance hold; empty when they are too few or of different rates."""
    common = range(max(source.start, driver.start), min(source.stop, driver.stop))
    is_aligned = abs(source.fps - driver.fps) < 1e-3
    return common if is_aligned and len(common) >= SHORTEST_FRAMES else range(0)


def aligned_plan(source: Clip, driver: Clip) -> Plan:
    """Two clips of one performance: the source's own frames are the truth."""
    common = common_frames(source, driver)
    return Plan(
        pair_id=f"{driver.key}__{source.key}", source=source, driver=driver, count=len(common),
        source_at=common.start - source.start, truth_at=common.start - source.start,
        driver_at=common.start - driver.start,
    )  # fmt: skip


def free_plan(source: Clip, driver: Clip) -> Plan:
    """The source's first frame and the whole driver: nobody knows what should come out."""
    return Plan(pair_id=f"{driver.key}__{source.key}", source=source, driver=driver, count=driver.num_frames)


def loaded(plan: Plan, offsets: Sequence[int], stride: int, side_px: int) -> PairFrames:
    """Read the pixels of a pair.

    Args:
        plan: the pair.
        offsets: native frames after the first one that are used; a sweep uses none but the source picture.
        stride: native frames between them, for the rate.
        side_px: of the squares.

    Raises:
        ValueError: a file cannot be read or has changed.
    """
    if plan.sweep is not None:
        return _swept(plan, of_side(plan.source.load([plan.source_at]), side_px))
    driving = of_side(plan.driver.load([plan.driver_at + i for i in offsets]), side_px)
    truth = None
    if plan.truth_at is not None:
        is_self = plan.driver is plan.source and plan.driver_at == plan.truth_at
        truth = driving if is_self else of_side(plan.source.load([plan.truth_at + i for i in offsets]), side_px)
    if truth is not None and plan.truth_at is not None and plan.truth_at + offsets[0] == plan.source_at:
        source = kept(truth, [0])  # the picture is decoded already
    else:
        source = of_side(plan.source.load([plan.source_at]), side_px)
    return PairFrames(
        source=source.frames[0], driving=driving.frames,
        truth=None if truth is None else Truth(
            frames=truth.frames, species=plan.species, points=truth.points, labels=truth.labels
        ),
        source_points=_first(source.points), driving_points=driving.points,
        species=plan.species, driver_species=plan.driver.species,
        signals=None if truth is None else truth.signals,
        source_landmarks=_first(source.landmarks), driving_landmarks=driving.landmarks,
        source_openings=_first(source.openings), pair_id=plan.pair_id, fps=plan.driver.fps / stride,
    )  # fmt: skip


def _swept(plan: Plan, source: ClipFrames) -> PairFrames:
    count = len(plan.commanded)
    openings = _first(source.openings)
    if openings is None and plan.openings is not None:
        openings = np.array(plan.openings, np.float32)
    if openings is None and plan.reads_openings:
        openings = _read_openings(source.frames, plan.species)
    return PairFrames(
        source=source.frames[0], driving=np.repeat(source.frames, count, axis=0), truth=None,
        source_points=_first(source.points),
        driving_points=None if source.points is None else np.repeat(source.points, count, axis=0),
        species=plan.species, driver_species=plan.species, source_landmarks=_first(source.landmarks),
        driving_landmarks=None if source.landmarks is None else np.repeat(source.landmarks, count, axis=0),
        commanded=np.array(plan.commanded, np.float32), sweep=plan.sweep,
        source_openings=openings, pair_id=plan.pair_id,
    )  # fmt: skip


def _read_openings(frames: np.ndarray, species: Species) -> np.ndarray | None:
    from evaluation.metrics.reader import FaceReader

    reader = FaceReader()
    if reader.missing():
        return None
    read = reader(frames, species)
    openings = np.array([read.right_eye[0], read.left_eye[0], read.lips[0]], np.float32).clip(min=0)
    return openings if np.isfinite(openings).all() else None


def of_side(clip: ClipFrames, side_px: int) -> ClipFrames:
    """The same clip in squares of another size."""
    native_px = clip.frames.shape[1]
    if native_px == side_px:
        return clip
    zoom = np.float32(side_px / native_px)
    labels = None
    if clip.labels is not None:
        smaller = (cv2.resize(one, (side_px,) * 2, interpolation=cv2.INTER_NEAREST) for one in clip.labels)
        labels = np.stack(list(smaller))
    return clip._replace(
        frames=np.stack([resized(frame, side_px) for frame in clip.frames]), labels=labels,
        points=None if clip.points is None else clip.points * zoom,
        landmarks=None if clip.landmarks is None else clip.landmarks * zoom,
    )  # fmt: skip


def _first(values: np.ndarray | None) -> np.ndarray | None:
    return None if values is None else values[0]
