"""A source video + a performance -> the video with its face moved: portrait video editing."""

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from data_pipeline.crop import warp_crop
from data_pipeline.progress import track
from evaluation.driver import Footage
from evaluation.driving import PosedMotion, drive_video, posed
from evaluation.engine import Engine, chunks
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
from evaluation.pasteback import paste_into, scaled_to_side
from evaluation.performance import Performance
from evaluation.prefetch import prefetched
from evaluation.reference import choose_reference
from evaluation.retarget import finished
from evaluation.smoothing import smooth_motion
from evaluation.source import SourceVideo
from evaluation.steps import Step

UNSMOOTHED_VARIANCE = 1e-12
"""An observation variance at which the Kalman smoother of source videos changes nothing."""


class OwnMotion(NamedTuple):
    """What a source video does by itself, frame by frame."""

    canonical: Tensor
    motion: PosedMotion
    x_s: Tensor
    openings: Openings | None

    def frames(self, start: int, stop: int) -> "OwnMotion":
        """Frames [start, stop)."""
        own = None if self.openings is None else Openings(*(value[start:stop] for value in self.openings))
        return OwnMotion(self.canonical[start:stop], self.motion.frames(start, stop), self.x_s[start:stop], own)


class VideoMover:
    """Adds the driver's motion to a video's own."""

    def __init__(
        self,
        engine: Engine,
        source: SourceVideo,
        performance: Performance,
        options: Options,
        reader: OpeningReader | None,
    ) -> None:
        self.engine = engine
        self.source = source
        self.performance = performance
        self.options = options
        self.reader = reader
        self.wishes = Wishes(options, source.fps)
        if options.rules != "human":
            raise ValueError(f"rules={options.rules} moves photos only; use rules=human for a source video")
        driver = performance.driver
        if isinstance(driver, Footage) and performance.is_live and driver.seconds is None:
            raise ValueError("a camera that moves a video films first; say how long, for example seconds=10")
        limit_reading(performance, options)

    def steps(self, *, with_driver: bool = True) -> Generator[Step, None, None]:
        """Frames, one at a time. The motion of both videos is read first: the smoother looks at all of it."""
        driving, openings = self.performance.whole()
        self.performance.drop_reader()
        own = self._own_motion()
        count = len(own.x_s) if self.performance.is_still else min(len(own.x_s), len(driving.delta))
        x_d = self._keypoints(own.frames(0, count), driving.frames(0, count), openings)
        side_px, output_px = self.engine.input_px, self.engine.output_px
        panels = self._panels(driving, with_driver=with_driver and not self.performance.is_live)  # a camera plays once
        start = 0
        with closing(panels), closing(prefetched(self.source.frames(), 2 * self.engine.batch_frames)) as pictures:
            for chunk in chunks(pictures, self.engine.batch_frames):
                chunk = chunk[: count - start]
                if not chunk:
                    break
                crops = [warp_crop(image, self.source.source_from_crop[start + i], side_px)
                         for i, image in enumerate(chunk)]  # fmt: skip
                read = own.frames(start, start + len(chunk))
                prepared = self.engine.prepare(np.stack(crops), (read.motion, read.canonical))
                results = self.engine.render(prepared, x_d[start : start + len(chunk)])
                for i, result in enumerate(results):
                    frame = result
                    if self.options.pasteback:
                        matrix = scaled_to_side(self.source.source_from_crop[start + i], side_px, output_px)
                        frame = paste_into(chunk[i], result, matrix)
                    yield Step(frame, result, crops[i], next(panels))
                start += len(chunk)

    def _own_motion(self) -> OwnMotion:
        """Read the source's motion in every frame."""
        squares, side_px = self.source.source_from_crop, self.engine.input_px
        crops = (warp_crop(image, squares[min(i, len(squares) - 1)], side_px)
                 for i, image in enumerate(self.source.frames()))  # fmt: skip
        canonical: list[Tensor] = []
        motions: list[PosedMotion] = []
        openings: list[Openings | None] = []
        reader = reader_of(self.reader, self.source.species)
        with closing(prefetched(crops, 2 * self.engine.batch_frames)) as ready:
            counted = track(ready, len(squares), "reading the source", "frames")
            for chunk in chunks(counted, self.engine.batch_frames):
                motion, points = self.engine.read_face(np.stack(chunk))
                canonical.append(points)
                motions.append(motion)
                openings.append(source_openings(self.options, chunk, reader, self.source.name, is_video=True))
        motion = PosedMotion(*(torch.cat(values) for values in zip(*motions, strict=True)))
        points = torch.cat(canonical)
        known = [one for one in openings if one is not None]
        own = held(Openings(*(torch.cat(v) for v in zip(*known, strict=True))), self.source.name) if known else None
        return OwnMotion(points, motion, posed(points, motion), own)

    @torch.inference_mode()
    def _keypoints(self, own: OwnMotion, driving: PosedMotion, openings: Openings | None) -> Tensor:
        options, corrections = self.options, self.engine.corrections
        rules = options.driving()
        if options.smoothing in ("none", "one-euro"):
            rules = replace(rules, smoothing_variance=UNSMOOTHED_VARIANCE)
        T = len(own.x_s)
        neutral = self.engine.neutral(driving) if self.performance.is_still else None
        if options.smoothing == "one-euro":
            driving = smooth_motion(driving, "one-euro", self.performance.fps)
        eyes, lips = openings or (None, None)
        at = 0 if self.performance.is_still else choose_reference(
            driving, options.reference, own.motion.frames(0, 1), lips, eyes
        )  # fmt: skip
        reference = driving.frames(at, at + 1)
        at_rest = edited(own.motion, options.edit)
        if not options.relative:
            driving = edited(driving, options.edit)  # which replaces the source's; what a region leaves is edited too
        x_d = drive_video(own.canonical, at_rest, driving, rules, neutral, reference)
        rest = posed(own.canonical, at_rest)
        after = rest_change(options, corrections, own.x_s, own.openings, is_video=True)
        if self.wishes.has_any and own.openings is not None:
            if options.relative and not options.keep_motion:
                x_d = rest
            theirs = None if openings is None or not needs_driver_openings(options) else self._theirs(openings, T)
            self.wishes.usual(theirs)
            x_d = x_d + self.wishes.change(corrections, own.x_s, own.openings, 0, theirs)
            after = None
        stitch = corrections.stitch if options.stitching else None
        return finished(own.x_s, x_d, stitch, rules.multiplier, after, rest)

    def _theirs(self, openings: Openings, count: int) -> Openings:
        """The driver's openings for every source frame; a photo's are held."""
        filled = held(openings, self.performance.driver_name)
        index = torch.arange(count).clamp(max=len(filled.lips) - 1)
        return Openings(filled.eyes[index], filled.lips[index])

    def _panels(self, driving: PosedMotion, *, with_driver: bool) -> Generator[np.ndarray | None, None, None]:
        """The driver's crops once more, without end; a photo's is repeated."""
        shown: np.ndarray | None = None
        with closing(self.performance.parts(driving, with_crops=with_driver)) as parts:
            for part in parts:
                for shown in part.crops or [None] * len(part.motion.delta):
                    yield shown
        while True:
            yield shown
