"""A file's frames, read once -> the heads in them, small pictures for finding cuts, bars, and what crops may need."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from data_pipeline.adapters.known import Look
from data_pipeline.crop import FRAMINGS, crop_transform, square_corners
from data_pipeline.detect import HeadDetector
from data_pipeline.frame_store import FrameStore
from data_pipeline.measures.bars import Bars, bars, smallest
from data_pipeline.media import read_timed_frames
from data_pipeline.records import Detection
from data_pipeline.shots import THUMB_PX, thumbnail

_COARSE_PX = 128
"""Cuts are looked for on averages of 16 pixels, not of all: a fortieth of the time."""
_PENDING_BYTES = 40_000_000
"""Frames that wait for the detector's next batch; 6 of 1920 x 1080."""
_REMEMBERED = 3
"""Looks for which a head that is not seen any more is still expected: gaps are interpolated."""
_ROOM = 0.14
"""Added to each side of a head's square, in sides: the square of a whole piece lies a little beside a frame's own."""
_UNIT_PX = 512
_WIDEST = max(FRAMINGS, key=lambda species: FRAMINGS[species].scale)


@dataclass(kw_only=True, eq=False)
class Seen:
    """What the first pass found. Only `thumbs` (3 kB a frame), heads and bars grow with the file's length."""

    first: int
    """Native number of the first frame that was read."""
    store: FrameStore
    thumbs: list[UInt8[np.ndarray, "32 32 3"]] = field(default_factory=list)
    detections: list[list[Detection]] = field(default_factory=list)
    """One list for each looked-at frame."""
    looked: list[int] = field(default_factory=list)
    """Native numbers of the looked-at frames."""
    bars: list[Bars] = field(default_factory=list)
    times_s: list[Fraction] = field(default_factory=list)
    """When each frame that was read is shown, after the file's first one."""

    @property
    def pictures(self) -> UInt8[np.ndarray, "T 32 32 3"]:
        """The small pictures of all frames."""
        return np.stack(self.thumbs) if self.thumbs else np.zeros((0, THUMB_PX, THUMB_PX, 3), np.uint8)

    def bars_in(self, first: int, last: int) -> Bars:
        """Black bars that are there in up to three looked-at frames of [first, last], or in the nearest one."""
        if not self.looked:
            return Bars(0, 0, 0, 0)
        low, high = np.searchsorted(self.looked, [first, last + 1])
        if low == high:
            at = [min(range(len(self.looked)), key=lambda i: abs(self.looked[i] - first))]
        else:
            at = np.unique(np.linspace(low, high - 1, 3).round().astype(int)).tolist()
        return smallest([self.bars[i] for i in at])


def look_through(
    look: Look, detector: HeadDetector, batch_size: int, buffer_bytes: int, scale_factor: float = 1.0
) -> Seen:
    """Read the frames that are meant, once.

    Args:
        look: the file and which of its frames are looked at.
        detector: finds heads, in batches.
        batch_size: frames of one call.
        buffer_bytes: pixels kept for cutting; what does not fit is decoded again.
        scale_factor: of the crops, for how much around a head is kept.
    """
    first, stop = look.frames
    seen = Seen(first=first, store=FrameStore(buffer_bytes))
    waiting = _Waiting(look, detector, seen, scale_factor)
    for number, (time_s, frame) in enumerate(read_timed_frames(look.media.path, first, stop), start=first):
        seen.times_s.append(time_s)
        if look.media.kind == "video":
            small = cv2.resize(frame, (_COARSE_PX, _COARSE_PX), interpolation=cv2.INTER_NEAREST)
            seen.thumbs.append(thumbnail(small))
        else:
            seen.thumbs.append(np.zeros((THUMB_PX, THUMB_PX, 3), np.uint8))  # a still has no cuts
        waiting.add(number, frame)
        if waiting.num_looks >= batch_size or waiting.num_bytes > _PENDING_BYTES:
            waiting.flush()
    waiting.flush(is_last=True)
    return seen


class _Waiting:
    """Frames between two calls of the detector; only then is it known what of them is needed."""

    def __init__(self, look: Look, detector: HeadDetector, seen: Seen, scale_factor: float) -> None:
        self._look, self._detector, self._seen, self._scale = look, detector, seen, scale_factor
        self._frames: list[tuple[int, np.ndarray]] = []
        self._looks: list[tuple[int, np.ndarray]] = []
        self._before: list[np.ndarray | None] = []
        """Areas of the last looked-at frames."""
        self.num_bytes = 0

    @property
    def num_looks(self) -> int:
        return len(self._looks)

    def add(self, number: int, frame: np.ndarray) -> None:
        self._frames.append((number, frame))
        self.num_bytes += frame.nbytes
        if self._look.wants(number):
            self._looks.append((number, frame))

    def flush(self, is_last: bool = False) -> None:
        """Detect, then keep of every frame up to the last looked-at one what the heads around it need."""
        areas: dict[int, np.ndarray | None] = {}
        asked = [frame for number, frame in self._looks if self._look.needs_detector(number)]
        answers = iter(self._detector(asked) if asked else [])
        for number, frame in self._looks:
            found = self._look.resolve(number, next(answers) if self._look.needs_detector(number) else [])
            self._seen.detections.append(found)
            self._seen.looked.append(number)
            self._seen.bars.append(bars(frame))
            areas[number] = area_of(found, self._scale)
        # Frames after the last look wait for the next one, unless too many wait already.
        stop = len(self._frames)
        if not is_last and self._looks:
            stop = next(i for i, (number, _) in enumerate(self._frames) if number == self._looks[-1][0]) + 1
        for (number, frame), area in zip(self._frames[:stop], self._around(areas, stop), strict=True):
            if area is not None:
                self._seen.store.keep(number, frame, area)
        self._frames = self._frames[stop:]
        self._looks = []
        self.num_bytes = sum(frame.nbytes for _, frame in self._frames)

    def _around(self, areas: dict[int, np.ndarray | None], stop: int) -> Iterator[np.ndarray | None]:
        """For each frame: what the last looks before it, its own and the next one after it need."""
        looks = sorted(areas)
        following = 0
        for number, _ in self._frames[:stop]:
            while following < len(looks) and looks[following] < number:
                self._before = [*self._before, areas[looks[following]]][-_REMEMBERED:]
                following += 1
            after = [areas[looks[following]]] if following < len(looks) else []
            yield union([*self._before, *after])
        for left in looks[following:]:
            self._before = [*self._before, areas[left]][-_REMEMBERED:]


def union(areas: Sequence[np.ndarray | None]) -> Float64[np.ndarray, "4"] | None:
    """The box around all given ones; None where there are none."""
    given = np.array([area for area in areas if area is not None], np.float64)
    return np.concatenate([given[:, :2].min(axis=0), given[:, 2:].max(axis=0)]) if len(given) else None


def area_of(found: Sequence[Detection], scale_factor: float) -> Float64[np.ndarray, "4"] | None:
    """The part of the picture that crops of these heads may need, whatever their species turns out to be."""
    areas = []
    for one in found:
        box = one.box_xyxy.astype(np.float64)
        areas.append(box)
        if np.isfinite(one.points_xy).all() and np.ptp(one.points_xy, axis=0).max() > 1:
            scale = FRAMINGS[_WIDEST].scale * scale_factor
            corners = square_corners(crop_transform(one.points_xy, _WIDEST, _UNIT_PX, scale=scale), _UNIT_PX, _ROOM)
            areas.append(np.concatenate([corners.min(axis=0), corners.max(axis=0)]))
    return union(areas)
