"""What a file's annotations say of heads and times -> the detections, shots and landmarks that curation works with."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

import numpy as np
from jaxtyping import Float32

from data_pipeline.adapters.folder import MediaFile
from data_pipeline.clock import Clock
from data_pipeline.crop import crop_transform, invert, move_points
from data_pipeline.detect import box_iou
from data_pipeline.records import (
    ClipSpan,
    CropPlan,
    Detection,
    KnownHead,
    Landmarks,
    MediaItem,
    Sample,
    Shot,
    Species,
)

MIN_IOU = 0.3
"""Labelled boxes differ from detected ones by ears and chin; two heads side by side do not reach this."""
MIN_ANCHORS_FRAC = 2 / 3
"""Share of a head's anchor points that lie inside the box that is taken for it."""
_HEAD_FRAC, _HEAD_MIDDLE = 0.62, (0.5, 0.53)
"""Where crop.FRAMINGS puts the head's box in the square: side, and middle in x and y."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Which frames of a file are looked at, and what is known to be in them."""

    file: MediaFile
    media: MediaItem
    every: int
    """Without known heads, the detector sees every n-th frame."""
    use_known: bool = True
    clock: Clock | None = None
    """When frames are shown; None: evenly, at the stated rate."""
    _by_frame: dict[int, list[KnownHead]] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        for head in self.heads:
            self._by_frame.setdefault(head.frame, []).append(head)

    @property
    def heads(self) -> tuple[KnownHead, ...]:
        """The known heads that are to be used."""
        return self.file.heads if self.use_known else ()

    @property
    def frames(self) -> tuple[int, int | None]:
        """The native frames [first, stop) that are meant; stop None: to the end."""
        span = self.file.span
        if span is None:
            return 0, None
        if span.unit == "frames":
            return round(span.start), None if np.isinf(span.stop) else round(span.stop)
        clock = self.clock or Clock(fps=self.media.fps, is_variable=False, times_s=np.zeros(0))
        return clock.frame_at(span.start), None if np.isinf(span.stop) else clock.frame_at(span.stop)

    def wants(self, number: int) -> bool:
        """Whether heads are looked for in this frame."""
        first, stop = self.frames
        if number < first or (stop is not None and number >= stop):
            return False
        return number in self._by_frame if self._by_frame else (number - first) % self.every == 0

    def needs_detector(self, number: int) -> bool:
        """False where the annotations give all points."""
        here = self._by_frame.get(number, [])
        return not here or any(head.points_xy is None for head in here)

    def resolve(self, number: int, found: Sequence[Detection]) -> list[Detection]:
        """The heads of a frame: known ones where there are, else those that the detector found in the region."""
        found = [replace(d, frame=number) for d in found]
        here = self._by_frame.get(number, [])
        if here:
            return [d for head in here if (d := _detection(head, found)) is not None]
        region = _region(self.file.span, self.media)
        return [d for d in found if region is None or _is_inside(d.box_xyxy, region)]

    def part(self, shot: Shot) -> Shot | None:
        """The part of a shot that is meant, or None."""
        first, stop = self.frames
        start, end = max(shot.start, first), shot.stop if stop is None else min(shot.stop, stop)
        return replace(shot, start=start, stop=end) if start < end else None


def span_tag(span: ClipSpan | None) -> str:
    """What tells the keys of one video's parts apart; empty for whole files."""
    return "" if span is None else "-" + sha256(repr(span).encode()).hexdigest()[:6]


def _detection(head: KnownHead, found: Sequence[Detection]) -> Detection | None:
    """A known head as a detection: its own points, else those of the detection that lies on it."""
    if head.points_xy is not None:
        points = head.points_xy.astype(np.float32)
        box = head.box_xyxy if head.box_xyxy is not None else box_around(points, head.species)
        return Detection(
            frame=head.frame,
            species=head.species,
            box_xyxy=box.astype(np.float32),
            points_xy=points,
            point_scores=np.ones(5, np.float32),
            score=1.0,
        )
    rated = [(_overlap(head, d), d) for d in found]
    best = max(rated, key=lambda pair: pair[0], default=(0.0, None))
    if best[1] is None or best[0] < (MIN_IOU if head.box_xyxy is not None else MIN_ANCHORS_FRAC):
        return None
    box = best[1].box_xyxy if head.box_xyxy is None else head.box_xyxy.astype(np.float32)
    return replace(best[1], species=head.species, box_xyxy=box, frame=head.frame)


def _overlap(head: KnownHead, detection: Detection) -> float:
    if head.box_xyxy is not None:
        return float(box_iou(head.box_xyxy.astype(np.float32)[None], detection.box_xyxy[None])[0, 0])
    if head.anchors_xy is None:
        return 0.0
    low, high = detection.box_xyxy[:2], detection.box_xyxy[2:]
    return float(((head.anchors_xy >= low) & (head.anchors_xy < high)).all(axis=1).mean())


def box_around(points: Float32[np.ndarray, "5 2"], species: Species) -> Float32[np.ndarray, "4"]:
    """The head's box where only points are known: the part of the crop that heads of the species fill."""
    transform = crop_transform(points, species, 100)
    middle = move_points(transform, np.array(_HEAD_MIDDLE, np.float32) * 100)
    half = float(np.hypot(*transform[:, 0])) * 100 * _HEAD_FRAC / 2
    return np.concatenate([middle - half, middle + half]).astype(np.float32)


def _region(span: ClipSpan | None, media: MediaItem) -> np.ndarray | None:
    if span is None or span.region_xyxy is None:
        return None
    width, height = span.region_of
    down = media.height_px / height if height else 1.0
    across = media.width_px / width if width else down
    return np.array(span.region_xyxy) * (across, down, across, down)


def _is_inside(box: np.ndarray, region: np.ndarray) -> bool:
    middle = (box[:2] + box[2:]) / 2
    return bool((middle >= region[:2]).all() and (middle < region[2:]).all())


def landmarks_in_crop(heads: Sequence[KnownHead], plan: CropPlan) -> Landmarks | None:
    """The data set's own landmarks of the head that a plan follows, in crop pixels; None where there are none."""
    labelled = [head for head in heads if head.landmarks_xy is not None]
    scheme, count = next(((h.scheme, len(h.landmarks_xy)) for h in labelled if h.landmarks_xy is not None), ("", 0))
    points = np.full((len(plan.track.frames), count, 2), np.nan, np.float32)
    for row, frame in enumerate(plan.track.frames):
        box, five = plan.track.boxes[row], plan.track.points[row]
        here = [h for h in labelled if h.frame == frame and h.landmarks_xy is not None and h.scheme == scheme]
        if not here:
            continue
        # The one of several heads whose landmarks lie on this track's: next to its five points, or in its box.
        best = min(here, key=lambda h: _distance(h, box, five))
        if best.landmarks_xy is not None:
            points[row] = move_points(invert(plan.source_from_crop[row]), best.landmarks_xy.astype(np.float32))
    return None if np.isnan(points).all() else Landmarks(scheme=scheme, points=points)


def _distance(head: KnownHead, box: np.ndarray, five: np.ndarray) -> float:
    if head.points_xy is not None:
        return float(np.linalg.norm(head.points_xy - five))
    middle = (box[:2] + box[2:]) / 2
    if head.box_xyxy is not None:
        return float(np.linalg.norm((head.box_xyxy[:2] + head.box_xyxy[2:]) / 2 - middle))
    own = head.anchors_xy if head.anchors_xy is not None else head.landmarks_xy
    return float("inf") if own is None else float(np.linalg.norm(np.nanmean(own, axis=0) - middle))


def with_landmarks(members: dict[str, bytes], sample: Sample) -> dict[str, bytes]:
    """A sample's members, with `landmarks` in the JSON: scheme and [T][L][2] in crop pixels, null where unknown."""
    if sample.landmarks is None:
        return members
    rounded = np.round(sample.landmarks.points.astype(np.float64), 2)
    rows = [[None if np.isnan(p).any() else p.tolist() for p in frame] for frame in rounded]
    record = json.loads(members["json"]) | {"landmarks": {"scheme": sample.landmarks.scheme, "points": rows}}
    return members | {"json": json.dumps(record, sort_keys=True).encode()}
