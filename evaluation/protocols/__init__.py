"""Clips -> pairs of source and driver with the frames that should come out."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from data_pipeline.records import Species
from evaluation.clips import Clip, by_performance, every_nth, find_clips, kept
from evaluation.metrics.suite import Truth
from evaluation.side_by_side import resized
from evaluation.source import HeadFinder

Size = Literal["quick", "full"]
LIMITS: dict[Size, tuple[int, int]] = {"quick": (12, 24), "full": (200, 120)}
"""Size -> most pairs, most frames of each."""
SHORTEST_FRAMES = 4
"""Pairs with fewer common frames say little about motion."""


class PairFrames(NamedTuple):
    """The pixels of one pair; all squares have one side."""

    source: UInt8[np.ndarray, "S S 3"]
    driving: UInt8[np.ndarray, "T S S 3"]
    truth: Truth
    source_points: Float32[np.ndarray, "5 2"] | None
    driving_points: Float32[np.ndarray, "T 5 2"] | None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfReenactment:
    """The first frame of a clip is moved by all its frames, and should become them (LivePortrait, section 4)."""

    split: str = "test"
    species: tuple[Species, ...] | None = None
    """Only these; None for all."""
    name: str = "self"

    def __call__(self, data: Path, size: Size, side_px: int, detector: HeadFinder | None) -> list[Pair]:
        """The pairs of a folder, in a fixed order.

        Raises:
            ValueError: there is no clip in it.
        """
        max_pairs, max_frames = LIMITS[size]
        pairs = [
            Pair(
                pair_id=clip.key, protocol=self.name, species=clip.species, driver_species=clip.species,
                num_frames=len(every_nth(clip.num_frames, max_frames)), fps=clip.fps,
                stride=every_nth(clip.num_frames, max_frames).step,
                load=partial(_load_pair, clip, clip, 0, 0, clip.num_frames, max_frames, side_px),
            )
            for clip in find_clips(data, split=self.split, side_px=side_px, detector=detector)
            if self.species is None or clip.species in self.species
        ]  # fmt: skip
        if not pairs:
            raise ValueError(f"data={data} (split={self.split}) holds no clip of {', '.join(self.species or ())}")
        return balanced(pairs, max_pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class PuppetsCross:
    """A person drives an animal that is known to perform the same: the animal's own frames are the exact truth."""

    split: str = "test"
    """Of the animals; the person may come from any split."""
    species: tuple[Species, ...] | None = None
    """Only these animals; None for all."""
    driver_species: Species = "human"
    name: str = "puppets_cross"

    def __call__(self, data: Path, size: Size, side_px: int, detector: HeadFinder | None) -> list[Pair]:
        """The pairs of a folder of shards or of puppets, in a fixed order.

        Raises:
            ValueError: no animal performs what a person performs.
        """
        max_pairs, max_frames = LIMITS[size]
        animals = {clip.key for clip in find_clips(data, split=self.split, side_px=side_px, detector=detector)}
        pairs = []
        for group in by_performance(find_clips(data, side_px=side_px, detector=detector)):
            drivers = [clip for clip in group if clip.species == self.driver_species]
            sources = [clip for clip in group if clip.species != self.driver_species and clip.key in animals]
            pairs += [
                self._pair(source, driver, max_frames, side_px)
                for source in sources
                if self.species is None or source.species in self.species
                for driver in drivers
                if _common(source, driver)
            ]
        if not pairs:
            raise ValueError(
                f"data={data} (split={self.split}): no animal performs what a {self.driver_species} performs; make "
                "puppets with performances=shared and human among the species, or use protocol=self"
            )
        return balanced(pairs, max_pairs)

    def _pair(self, source: Clip, driver: Clip, max_frames: int, side_px: int) -> Pair:
        common = _common(source, driver)
        return Pair(
            pair_id=f"{driver.key}__{source.key}",
            protocol=self.name,
            species=source.species,
            driver_species=driver.species,
            num_frames=len(every_nth(len(common), max_frames)),
            fps=source.fps,
            stride=every_nth(len(common), max_frames).step,
            load=partial(
                _load_pair, source, driver, common.start - source.start, common.start - driver.start, len(common),
                max_frames, side_px,
            ),
        )  # fmt: skip


def _common(source: Clip, driver: Clip) -> range:
    """Native frames that both clips hold; empty when they are too few."""
    common = range(max(source.start, driver.start), min(source.stop, driver.stop))
    return common if len(common) >= SHORTEST_FRAMES else range(0)


def balanced(pairs: Sequence[Pair], limit: int) -> list[Pair]:
    """At most `limit` pairs, the species in turn, chosen by their names' hashes: the same on every machine."""

    def mark(pair: Pair) -> str:
        return hashlib.sha256(pair.pair_id.encode()).hexdigest()

    species = sorted({pair.species for pair in pairs})
    queues = [sorted((pair for pair in pairs if pair.species == one), key=mark) for one in species]
    turns = [pair for turn in zip_longest(*queues) for pair in turn if pair is not None]
    return sorted(turns[:limit], key=lambda pair: pair.pair_id)


def _load_pair(
    animal: Clip, driver: Clip, animal_at: int, driver_at: int, count: int, max_frames: int, side_px: int
) -> PairFrames:
    positions = every_nth(count, max_frames)
    truth = kept(animal.load(), [animal_at + i for i in positions])
    driving = truth if driver is animal else kept(driver.load(), [driver_at + i for i in positions])
    native_px = truth.frames.shape[1]
    points = None if truth.points is None else truth.points * np.float32(side_px / native_px)
    labels = None if truth.labels is None else np.stack([_labels_of_side(one, side_px) for one in truth.labels])
    frames = _of_side(truth.frames, side_px)
    driving_points = None
    if driving.points is not None:
        driving_points = driving.points * np.float32(side_px / driving.frames.shape[1])
    return PairFrames(
        source=frames[0],
        driving=_of_side(driving.frames, side_px),
        truth=Truth(frames=frames, species=animal.species, points=points, labels=labels),
        source_points=None if points is None else points[0],
        driving_points=driving_points,
    )


def _of_side(frames: np.ndarray, side_px: int) -> np.ndarray:
    return frames if frames.shape[1] == side_px else np.stack([resized(frame, side_px) for frame in frames])


def _labels_of_side(labels: np.ndarray, side_px: int) -> np.ndarray:
    import cv2

    return labels if len(labels) == side_px else cv2.resize(labels, (side_px,) * 2, interpolation=cv2.INTER_NEAREST)
