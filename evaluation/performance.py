"""A driver -> its motion, frame by frame: in pieces while it is decoded, or as a whole where a rule looks ahead."""

import math
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from fractions import Fraction
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from data_pipeline.crop import warp_crop
from data_pipeline.progress import track
from evaluation.driver import Driver, Footage, frame_on_show
from evaluation.driving import PosedMotion
from evaluation.engine import Engine, chunks
from evaluation.openings import OpeningReader, Openings, stacked
from evaluation.prefetch import prefetched
from evaluation.templates import MotionTemplate

TEMPLATE_PART_FRAMES = 16
FILM_FRAMES = 20_000
"""Crops of a film that may wait for slow networks: some minutes, and at 256 pixels 4 GB."""
T = TypeVar("T")


class Part(NamedTuple):
    """Some frames of a performance, in order."""

    motion: PosedMotion
    crops: list[UInt8[np.ndarray, "S S 3"]] | None
    """What the networks saw; None for a template, which has no pictures."""
    openings: Openings | None
    """How open the driver's eyes and lips are; NaN where no face was found, None when nobody asked."""


class Performance:
    """What a driver does.

    Args:
        engine: reads motion from pictures.
        driver: pictures or a template.
        square: where the driving square lies in the pictures; None for a template.
        reader: reads openings, where they are wanted.
        fps: play at this rate instead of the driver's own; frames are repeated and dropped by their times.
    """

    def __init__(
        self,
        engine: Engine,
        driver: Driver,
        square: Float32[np.ndarray, "2 3"] | None,
        reader: OpeningReader | None = None,
        fps: Fraction | None = None,
    ) -> None:
        self.engine = engine
        self.driver = driver
        self.fps = driver.fps if fps is None or self.is_still else fps
        self.times_s: deque[Fraction] = deque()
        """When the frames of a camera were taken, until somebody takes the times."""
        self._square = square
        self._reader = reader

    @property
    def is_still(self) -> bool:
        """Whether the driver is one picture: a photo, or a template of one frame."""
        return self.driver.is_still if isinstance(self.driver, Footage) else self.driver.num_frames == 1

    @property
    def num_frames(self) -> int:
        """Frames at the rate that is played; 0 when nobody knows."""
        return math.ceil(self.driver.num_frames * self.fps / self.driver.fps)

    @property
    def is_live(self) -> bool:
        """Whether a camera drives."""
        return isinstance(self.driver, Footage) and self.driver.camera is not None

    def parts(
        self, known: PosedMotion | None = None, *, with_crops: bool = True, as_it_comes: bool = False
    ) -> Generator[Part, None, None]:
        """All frames, some at a time.

        Args:
            known: the motion, when it need not be read again; without crops it need not even be decoded.
            with_crops: give the pictures too.
            as_it_comes: of a camera, the frames for which there is time, each with its time in `times_s`; otherwise it
                is filmed at its rate, and what nobody has taken yet waits in memory.
        """
        if isinstance(self.driver, MotionTemplate):
            yield from self._template_parts(self.driver, known)
        elif known is not None and not with_crops and self._reader is None:
            for start in range(0, len(known.delta), TEMPLATE_PART_FRAMES):
                yield Part(known.frames(start, start + TEMPLATE_PART_FRAMES), None, None)
        else:
            yield from self._footage_parts(known, as_it_comes=as_it_comes)

    def whole(self, what: str = "reading the driver") -> tuple[PosedMotion, Openings | None]:
        """Motion and openings of all frames; a few hundred bytes a frame are kept."""
        motions: list[PosedMotion] = []
        openings: list[Openings | None] = []
        parts = self.parts()
        with closing(parts):
            for part in track(_each_frame(parts), self.num_frames or None, what, "frames"):
                if isinstance(part, Part):
                    motions.append(part.motion)
                    openings.append(part.openings)
        if not motions:
            raise ValueError(f"{self.driver_name}: no frame could be read; give another driver")
        motion = PosedMotion(*(torch.cat(values) for values in zip(*motions, strict=True)))
        return motion, None if openings[0] is None else stacked(openings)

    @property
    def knows_openings(self) -> bool:
        """Whether the driver's openings can be told."""
        if isinstance(self.driver, MotionTemplate):
            return self.driver.eye_ratios is not None and self.driver.lip_ratios is not None
        return self._reader is not None

    def drop_reader(self) -> None:
        """Read no openings: nobody needs them."""
        self._reader = None

    @property
    def driver_name(self) -> str:
        """For messages."""
        return self.driver.name if isinstance(self.driver, Footage) else self.driver.source or "the template"

    def _crops(self, *, as_it_comes: bool) -> Iterator[UInt8[np.ndarray, "S S 3"]]:
        footage, square = self.driver, self._square
        assert isinstance(footage, Footage)
        assert square is not None
        if footage.camera is None or not as_it_comes:
            for frame in footage.frames(self.fps):
                yield warp_crop(frame, square, self.engine.input_px)
        else:
            for time_s, frame in footage.camera.play():
                self.times_s.append(time_s)
                yield warp_crop(frame, square, self.engine.input_px)

    def _footage_parts(self, known: PosedMotion | None, *, as_it_comes: bool) -> Iterator[Part]:
        start = 0
        ahead = FILM_FRAMES if self.is_live and not as_it_comes else 2 * self.engine.batch_frames
        with closing(prefetched(self._crops(as_it_comes=as_it_comes), ahead)) as ready:
            for chunk in chunks(ready, self.engine.batch_frames):
                stop = start + len(chunk)
                motion = self.engine.read_motion(np.stack(chunk)) if known is None else known.frames(start, stop)
                openings = stacked(list(self._reader(chunk))) if self._reader else None
                yield Part(motion, chunk, openings)
                start = stop

    def _template_parts(self, template: MotionTemplate, known: PosedMotion | None) -> Iterator[Part]:
        count = self.num_frames
        wanted = torch.tensor([frame_on_show(i, template.fps, self.fps) for i in range(count)])
        index = wanted.clamp(max=template.num_frames - 1)
        device = self.engine.device
        motion = PosedMotion(*(value[index].to(device) for value in template.motion)) if known is None else known
        eyes, lips = template.eye_ratios, template.lip_ratios
        openings = None if eyes is None or lips is None else Openings(eyes[index], lips[index])
        for start in range(0, count, TEMPLATE_PART_FRAMES):
            stop = start + TEMPLATE_PART_FRAMES
            own = None if openings is None else Openings(*(value[start:stop] for value in openings))
            yield Part(motion.frames(start, stop), None, own)


def in_real_time(items: Generator[T, None, None], times_s: deque[Fraction], fps: Fraction) -> Generator[T, None, None]:
    """What was made of a camera's frames -> the same at a constant rate: each is shown until the next one was filmed.

    Slow networks make fewer pictures, and repeating those keeps the time: were the camera's frames repeated instead,
    ever more of them would have to be worked through before the next one is looked at.
    """
    number, held = 0, None
    with closing(items):
        for item in items:
            slot = math.floor(times_s.popleft() * fps + Fraction(1, 2))
            while held is not None and number < slot:
                yield held
                number += 1
            held = item
        if held is not None:
            yield held


def _each_frame(parts: Iterator[Part]) -> Iterator[Part | None]:
    """A part, then nothing for each of its further frames: so that a progress bar counts frames."""
    for part in parts:
        yield part
        yield from [None] * (len(part.motion.delta) - 1)
