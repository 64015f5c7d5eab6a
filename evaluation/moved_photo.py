"""The heads of one photo + a performance -> frames of the photo in motion."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from evaluation.driving import PosedMotion, drive_image, posed
from evaluation.engine import Engine, PreparedSource
from evaluation.face_at_rest import (
    Wishes,
    edited,
    limit_reading,
    needs_driver_openings,
    rest_change,
    source_openings,
)  # fmt: skip
from evaluation.openings import OpeningReader, Openings, held, reader_of
from evaluation.options import Options
from evaluation.pasteback import paster, scaled_to_side
from evaluation.performance import Performance, in_real_time
from evaluation.reference import choose_reference
from evaluation.retarget import finished
from evaluation.smoothing import MotionSmoother, smooth_motion
from evaluation.source import SourcePortrait
from evaluation.steps import Step


class Head(NamedTuple):
    """One head of the photo, read once."""

    portrait: SourcePortrait
    prepared: PreparedSource
    openings: Openings | None
    after_stitching: Tensor | None
    paste: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """Crop, photo so far -> photo with this head in it."""


class PhotoMover:
    """Moves all chosen heads of a photo like the driver."""

    def __init__(
        self,
        engine: Engine,
        portraits: Sequence[SourcePortrait],
        performance: Performance,
        options: Options,
        reader: OpeningReader | None,
    ) -> None:
        self.engine = engine
        self.performance = performance
        self.options = options
        self.rules = options.driving()
        self.wishes = Wishes(options, performance.fps)
        if performance.is_live and (options.reference != "first" or options.smoothing == "kalman"):
            raise ValueError("a camera is live: it needs reference=first and smoothing=none or one-euro")
        limit_reading(performance, options)
        self.heads = [self._head(portrait, reader) for portrait in portraits]

    def steps(self, *, with_driver: bool = True) -> Generator[Step, None, None]:
        """Frames, one at a time; each is the photo with all heads moved."""
        made = self._steps(with_driver=with_driver)
        live = self.performance
        return in_real_time(made, live.times_s, live.fps) if live.is_live else made

    def _steps(self, *, with_driver: bool) -> Generator[Step, None, None]:
        known, reference, theirs = self._looked_ahead()
        smoother = MotionSmoother(self.performance.fps) if self.options.smoothing == "one-euro" else None
        parts = self.performance.parts(known, with_crops=with_driver, as_it_comes=True)
        start = 0
        seen: Openings | None = None
        with closing(parts):
            for part in parts:
                motion = smoother(part.motion) if smoother and known is None else part.motion
                reference = motion.frames(0, 1) if reference is None else reference
                stop = start + len(motion.delta)
                openings = part.openings if theirs is None else Openings(*(value[start:stop] for value in theirs))
                if openings is not None and theirs is None:
                    openings, seen = _gapless(openings, seen)
                moved = [
                    self.engine.render(head.prepared, self._keypoints(head, motion, reference, start, openings))
                    for head in self.heads
                ]
                for i, results in enumerate(zip(*moved, strict=True)):
                    yield self._step(results, None if part.crops is None else part.crops[i])
                start = stop

    def _looked_ahead(self) -> tuple[PosedMotion | None, PosedMotion | None, Openings | None]:
        """The whole motion, its reference and the driver's openings, when a rule must see all of them first."""
        options = self.options
        follows = needs_driver_openings(options)
        if self.performance.is_live or (options.reference == "first" and options.smoothing != "kalman" and not follows):
            return None, None, None
        motion, openings = self.performance.whole()
        self.performance.drop_reader()
        method = "none" if options.smoothing == "auto" else options.smoothing
        motion = smooth_motion(motion, method, self.performance.fps, kalman_variance=options.smoothing_variance)
        eyes, lips = openings or (None, None)
        at = choose_reference(motion, options.reference, self.heads[0].prepared.motion, lips, eyes)
        theirs = held(openings, self.performance.driver_name) if openings and follows else None
        self.wishes.usual(theirs)
        return motion, motion.frames(at, at + 1), theirs

    @torch.inference_mode()
    def _keypoints(
        self, head: Head, motion: PosedMotion, reference: PosedMotion, start: int, driver: Openings | None
    ) -> Tensor:
        options, source = self.options, head.prepared
        corrections = self.engine.corrections
        neutral = self.engine.neutral(motion) if self.performance.is_still else None
        at_rest = edited(source.motion, options.edit)
        if not options.relative and options.rules == "human":
            motion = edited(motion, options.edit)  # which replaces the source's; what a region leaves is edited too
        x_d = drive_image(source.canonical, at_rest, motion, reference, self.rules, neutral)
        x_s = source.x_s.expand_as(x_d)
        rest = posed(source.canonical, at_rest)
        after = head.after_stitching
        if self.wishes.has_any and head.openings is not None:
            if options.relative and not options.keep_motion:
                x_d = rest.expand_as(x_d)  # upstream: eyes and lips instead of the driver's motion
            x_d = x_d + self.wishes.change(corrections, x_s, head.openings, start, driver)
            after = None
        stitch = corrections.stitch if options.stitching else None
        stitch_last = options.rules == "animal-stitched"
        return finished(x_s, x_d, stitch, self.rules.multiplier, after, rest, stitch_last=stitch_last)

    def _head(self, portrait: SourcePortrait, reader: OpeningReader | None) -> Head:
        options, engine = self.options, self.engine
        prepared = engine.prepare(portrait.crop)
        reader = reader_of(reader, portrait.species)
        own = source_openings(options, [portrait.crop], reader, portrait.name, is_video=False)
        own = None if own is None else held(own, portrait.name)
        with torch.inference_mode():
            after = rest_change(options, engine.corrections, prepared.x_s, own, is_video=False)
        matrix = scaled_to_side(portrait.source_from_crop, engine.input_px, engine.output_px)
        return Head(portrait, prepared, own, after, paster(portrait.image, matrix, engine.output_px))

    def _step(self, results: Sequence[np.ndarray], driving: np.ndarray | None) -> Step:
        frame = results[0]
        if self.options.pasteback:
            frame = self.heads[0].portrait.image
            for head, result in zip(self.heads, results, strict=True):
                frame = head.paste(result, frame)
        return Step(frame, results[0], self.heads[0].portrait.crop, driving)


def _gapless(openings: Openings, seen: Openings | None) -> tuple[Openings, Openings | None]:
    """A live part's openings, gaps filled from what was seen before, and what the next part is filled from."""
    if seen is not None:
        openings = Openings(*(torch.cat(pair) for pair in zip(seen, openings, strict=True)))
    if not bool(openings.lips.isfinite().any()):
        return openings, None  # no face so far: nothing is asked for
    filled = held(openings)
    skip = 0 if seen is None else 1
    return Openings(*(value[skip:] for value in filled)), Openings(*(value[-1:] for value in filled))
