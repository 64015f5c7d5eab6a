"""One animal and the drivers -> what two weights directories make of it: panels to look at, and numbers."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from data_pipeline import media
from data_pipeline.records import Species
from evaluation.animator import Animation, Animator
from evaluation.driver import open_driver
from evaluation.gallery_cast import Animal, Person
from evaluation.gallery_pictures import Panels, visible_square
from evaluation.metrics.identity import GalleryRank, IdentityKept, stand_in_reader
from evaluation.metrics.motion import MotionFidelity
from evaluation.metrics.points import best_detection
from evaluation.metrics.reader import FaceReader
from evaluation.metrics.suite import MetricSuite
from evaluation.options import Options
from evaluation.protocols.pairs import PairFrames
from evaluation.side_by_side import resized
from evaluation.source import HeadFinder, SourceVideo
from evaluation.templates import MotionTemplate

RATE = Fraction(25, 2)
"""Frames per second of drivers and films."""
SIDE_PX = 256
"""Everything is measured at this side, as in lp-evaluate."""
COPY, BASE, TUNED = "copy source", "un-tuned base", "tuned"
METHODS = (COPY, BASE, TUNED)


class DriverClip(NamedTuple):
    """The frames of a driver that are used, at `RATE`."""

    person: Person
    frames: UInt8[np.ndarray, "T H W 3"]


class MadePair(NamedTuple):
    """An animal moved by one driver."""

    person: Person
    panels: Panels
    values: dict[str, dict[str, float]]
    """Method -> metric -> value; what cannot be measured is absent."""
    features: dict[str, dict[str, np.ndarray]]
    """Method -> what it contributes to the gallery rank."""
    taken_for: Species | None
    """What the detector takes the animal for in its photo."""


class Moved(NamedTuple):
    """What one animator made of a pair."""

    animation: Animation
    source: UInt8[np.ndarray, "S S 3"]
    driving: UInt8[np.ndarray, "T S S 3"]
    results: UInt8[np.ndarray, "T S S 3"]


def driver_clip(person: Person, folder: Path, num_frames: int) -> DriverClip:
    """Read the part of a driver that is used.

    Raises:
        ValueError: it cannot be read, or the part ends behind it.
    """
    path = folder / person.file
    first = round(person.start_s * RATE)
    frames = list(islice(frames_at_rate(path), first, first + num_frames))
    if len(frames) < num_frames:
        end_s = float((first + num_frames) / RATE)
        raise ValueError(
            f"{path} ends before {end_s:.1f} s, where the driver {person.name!r} should; give a smaller start_s or "
            "fewer frames"
        )
    return DriverClip(person, np.stack(frames))


def frames_at_rate(path: Path) -> Iterator[np.ndarray]:
    """Pictures of a driver, u8[H,W,3], at `RATE`.

    Raises:
        ValueError: it cannot be read, or is a motion template.
    """
    driver = open_driver(path, None, None)
    if isinstance(driver, MotionTemplate):
        raise ValueError(f"{path} is a motion template and has no pictures; what is shown beside results needs videos")
    return driver.frames(RATE)


class RowMaker:
    """Moves an animal by drivers with both weights, and measures what came out.

    Args:
        base: the weights before tuning.
        tuned: the weights in question.
        detector: finds the heads that are measured.
        options: how the driver's motion is taken over.
    """

    def __init__(self, base: Animator, tuned: Animator, detector: HeadFinder, options: Options) -> None:
        self.base, self.tuned = base, tuned
        self.detector, self.options = detector, options
        reader = stand_in_reader(detector)
        extra = [IdentityKept(reader), MotionFidelity(reader=FaceReader())]
        self.suite = MetricSuite(detector=detector, extra=extra)
        self.rank = GalleryRank(reader)

    def __call__(self, animal: Animal, folder: Path, clips: Sequence[DriverClip]) -> Iterator[MadePair]:
        """The animal with each driver.

        Raises:
            ValueError: the photo cannot be read, or no head is found in it or in a driver.
        """
        path = folder / animal.file
        if media.probe(path).kind == "video":
            raise ValueError(f"{path} is a video; the animals of a gallery are photos")
        photo = next(media.read_frames(path))
        for clip in clips:
            base, tuned = self._moved(self.base, path, clip), self._moved(self.tuned, path, clip)
            pair = self._pair(animal, tuned, f"{animal.name} / {clip.person.name}")
            made = {
                COPY: np.repeat(pair.source[None], len(pair.driving), axis=0),
                BASE: base.results, TUNED: tuned.results,
            }  # fmt: skip
            values, features = {}, {}
            for name, frames in made.items():
                values[name] = self.suite(frames, pair)
                features[name] = self.rank.features(pair, frames)
            panels = Panels(photo, pair.source, _seen(clip, tuned.animation), [base.results, tuned.results])
            portraits = tuned.animation.portraits
            assert not isinstance(portraits, SourceVideo)
            yield MadePair(clip.person, panels, values, features, portraits[0].species)

    def _moved(self, animator: Animator, path: Path, clip: DriverClip) -> Moved:
        animation = animator.animate(path, clip.frames, self.options, fps=RATE)
        steps = list(animation.steps())
        driving = np.stack([_required(step.driving) for step in steps])
        results = np.stack([resized(step.result, SIDE_PX) for step in steps])
        return Moved(animation, resized(steps[0].source, SIDE_PX), _all_resized(driving), results)

    def _pair(self, animal: Animal, moved: Moved, name: str) -> PairFrames:
        found = self.detector([moved.source])[0]
        best = best_detection(found, animal.species) or best_detection(found, None)
        return PairFrames(
            source=moved.source, driving=moved.driving, truth=None,
            source_points=None if best is None else best.points_xy, driving_points=None, species=animal.species,
            pair_id=name, fps=float(RATE),
        )  # fmt: skip


def _seen(clip: DriverClip, animation: Animation) -> list[np.ndarray]:
    """The driver as it was filmed, cut to the head: the networks' own crop has black bars where the film ends."""
    assert animation.driving_from_crop is not None
    height, width = clip.frames.shape[1:3]
    x, y, side = visible_square(animation.driving_from_crop, animation.engine.input_px, height, width)
    return [resized(frame[y : y + side, x : x + side], SIDE_PX) for frame in clip.frames]


def _all_resized(frames: np.ndarray) -> np.ndarray:
    return np.stack([resized(frame, SIDE_PX) for frame in frames])


def _required(frame: np.ndarray | None) -> np.ndarray:
    assert frame is not None, "footage has pictures"
    return frame
