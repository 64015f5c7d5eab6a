"""A crop -> what was measured on it, and whether a generator can learn from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import cv2
import numpy as np
from jaxtyping import UInt8

from data_pipeline.crop import coverage_frac, points_in_crop, square_corners
from data_pipeline.measures.bars import Bars, bars_frac
from data_pipeline.measures.blocks import blockiness
from data_pipeline.measures.blur import blur_px, resolved_px
from data_pipeline.measures.exposure import clipping
from data_pipeline.measures.frame_edge import cut_frac
from data_pipeline.measures.liveliness import change_grey, frozen_frac
from data_pipeline.measures.people import people_frac
from data_pipeline.measures.pose import pose
from data_pipeline.measures.text import text_frac
from data_pipeline.records import Crop, CropPlan, Detection, Quality

MEASURED_PX = 256
"""Sharpness, light and writing are measured at this side, so that numbers compare between crop sizes."""
_MEASURED_FRAMES = 8
_PLACES = 16
"""Frames of a crop that follows its head whose square is compared with the picture's edges."""
_PATCH_PX = 384
_GRID_PX = 8


def looked_at(count: int, most: int) -> list[int]:
    """At most `most` of `count` frames, evenly spread, first and last among them."""
    return np.unique(np.linspace(0, count - 1, most).round().astype(int)).tolist()


def head_patch(
    part: UInt8[np.ndarray, "H W 3"],
    box_xyxy: np.ndarray,
    origin_px: tuple[int, int] = (0, 0),
    size_px: tuple[int, int] | None = None,
) -> UInt8[np.ndarray, "_ _"]:
    """Grey pixels of a head's box as they are in the frame, at most 384 a side, cut at multiples of 8.

    Args:
        part: the frame, or a part of it that holds the box.
        box_xyxy: in pixels of the frame.
        origin_px: where the part's left upper corner lies in the frame: x and y.
        size_px: height and width of the frame; None: the part is the frame.
    """
    height, width = part.shape[:2] if size_px is None else size_px
    spans = []
    for axis, limit, begin in ((1, height, origin_px[1]), (0, width, origin_px[0])):
        low, high = float(box_xyxy[axis]), float(box_xyxy[axis + 2])
        half = min(high - low, _PATCH_PX) / 2
        start = int(np.clip((low + high) / 2 - half, 0, limit - 1)) // _GRID_PX * _GRID_PX
        stop = max(start + 1, min(limit, int((low + high) / 2 + half)))
        spans.append(slice(start - begin, stop - begin))
    return cv2.cvtColor(np.ascontiguousarray(part[spans[0], spans[1]]), cv2.COLOR_RGB2GRAY)


def measure(crop: Crop, detections: Sequence[Sequence[Detection]] = ()) -> Quality:
    """All scores of a crop; at most eight frames, evenly spread, are looked at.

    Args:
        crop: its pixels, patches of source pixels and the source's bars.
        detections: heads of each looked-at frame of the file, for people in an animal's crop.
    """
    track, plan = crop.plan.track, crop.plan
    media = track.shot.media
    greys = [_grey(crop.frames[i]) for i in looked_at(len(crop.frames), _MEASURED_FRAMES)]
    few = greys[::3]  # writing and clipped tones hardly differ within a clip
    rows = looked_at(len(crop.frames), _PLACES)
    is_fixed = bool((plan.source_from_crop == plan.source_from_crop[0]).all())
    places = plan.source_from_crop[:1] if is_fixed else plan.source_from_crop[rows]
    inside = _inside(crop, places[0])
    sides = (track.boxes[:, 2:] - track.boxes[:, :2]).min(axis=1)
    head_px = median(sides.tolist())
    moved = points_in_crop(plan)
    steps = np.linalg.norm(np.diff(moved, axis=0), axis=-1).mean(axis=1)
    blur = _blur(crop)
    clipped = [clipping(grey, inside) for grey in few]
    light = np.array([cv2.meanStdDev(grey) for grey in greys])[:, :, 0, 0]
    turned = pose(track.points, track.species)
    size = (plan.side_px, media.height_px, media.width_px)
    return Quality(
        min_side_px=head_px,
        sharpness=median([float(cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))[1][0, 0]) ** 2 for grey in greys]),
        luminance=median(light[:, 0].tolist()),
        contrast=median(light[:, 1].tolist()),
        motion_px=float(steps.mean()) if len(steps) else 0.0,
        coverage_frac=min(coverage_frac(t, *size) for t in places),
        score=median(track.scores.tolist()),
        blur_px=blur,
        resolved_px=resolved_px(head_px, blur),
        dark_frac=median([one.dark_frac for one in clipped]),
        light_frac=median([one.light_frac for one in clipped]),
        yaw_frac=turned.yaw_frac,
        roll_deg=turned.roll_deg,
        eye_ratio=turned.eye_ratio,
        frontalness=turned.frontalness,
        cut_frac=cut_frac(track.boxes, media.height_px, media.width_px),
        change_grey=change_grey(greys),
        frozen_frac=frozen_frac(crop.frames),
        blockiness=median([blockiness(p) for p in crop.patches]) if crop.patches else 1.0,
        text_frac=text_frac(few),
        bars_frac=bars_frac(Bars(*crop.bars_px), plan.source_from_crop[0], *size),
        people_frac=people_frac(plan, detections),
    )


def _grey(frame: np.ndarray) -> np.ndarray:
    # Shrinking first is several times cheaper, and grey is linear in the colours.
    small = cv2.resize(frame, (MEASURED_PX, MEASURED_PX), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)


def _inside(crop: Crop, place: np.ndarray) -> np.ndarray | None:
    """Which of the measured pixels lie in the source frame; None: all."""
    media, plan = crop.plan.track.shot.media, crop.plan
    corners = square_corners(place, plan.side_px)
    if (corners >= 0).all() and (corners < (media.width_px, media.height_px)).all():
        return None
    steps = (np.arange(MEASURED_PX, dtype=np.float32) + 0.5) * plan.side_px / MEASURED_PX
    down, across = steps[:, None], steps[None]
    x = place[0, 0] * across + place[0, 1] * down + place[0, 2]
    y = place[1, 0] * across + place[1, 1] * down + place[1, 2]
    return (x >= 0) & (x < media.width_px) & (y >= 0) & (y < media.height_px)


def _blur(crop: Crop) -> float:
    """In source pixels; without patches, from the crop and its zoom."""
    wide = [patch for patch in crop.patches if min(patch.shape) >= _GRID_PX]
    if wide:
        return median([blur_px(patch) for patch in wide])
    plan: CropPlan = crop.plan
    zoom = float(np.hypot(plan.source_from_crop[0, 0, 0], plan.source_from_crop[0, 1, 0]))
    grey = cv2.cvtColor(crop.frames[len(crop.frames) // 2], cv2.COLOR_RGB2GRAY)
    return blur_px(grey) * zoom


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityGate:
    """Thresholds; each check that fails is a reason to drop. docs/quality.md shows what each one drops."""

    min_side_px: float = 80.0
    """Shortest side of the head box in the source. 80: a head fills 62 % of a crop, so a 256-px crop is enlarged at
    most twice."""
    min_sharpness: float = 15.0
    """Variance of the Laplacian at 256 px. Clearly blurred crops of the mini corpus lie below."""
    min_luminance: float = 20.0
    max_luminance: float = 240.0
    min_contrast: float = 10.0
    """Grey levels. A black, white or fogged picture lies below."""
    min_coverage_frac: float = 0.6
    """Share of the crop inside the picture; tight web clips often lack the hair or the chin's surroundings."""
    max_motion_frac: float = 0.08
    """Mean movement of the points between frames, in crop sides. Wilder motion is a tracking error or a blur."""
    min_score: float = 0.35
    min_frames: int = 4
    """A video piece shorter than this has no motion to learn from."""
    min_resolved_px: float = 40.0
    """Head side that the source really resolves. The usable animals of the media set have 57 (a panda in a 300 x 240
    clip) and more."""
    max_dark_frac: float = 0.65
    """Share clipped to black. A half-black studio cat has 0.49, the highest of the usable ones."""
    max_light_frac: float = 0.62
    """Share clipped to white. Cats cut out on white have up to 0.54; line drawings 0.69 and more."""
    min_frontalness: float = 0.35
    """The usable animals have 0.59 and more (a cat in profile 0.78: the points of a profile are guesses), so this
    drops what cannot be a face."""
    max_roll_deg: float = 180.0
    """Off: crops are turned upright. The media set goes up to 44 degrees, pictures lying on their side excepted."""
    max_cut_frac: float = 1.0
    """Off: clipped ears are usable, and min_coverage_frac drops the rest. Several good photos touch the edge."""
    min_change_grey: float = 1.2
    """Grey levels beyond pan, zoom and rotation. Usable clips have 2.8 and more; the same picture again and again,
    grain (sigma 1.5) included, leaves below 0.9, panned and zoomed as well 1.8 to 5 (not told apart)."""
    max_frozen_frac: float = 0.8
    """Share of repeated frames. Usable clips have up to 0.67 (10 frames/s shown at 30); drawn ones 0.9 and more."""
    max_blockiness: float = 3.0
    """Usable media has up to 1.7. Photos saved again as JPEG: quality 20 has a median of 2.9, quality 10 of 5.0."""
    max_text_frac: float = 0.02
    """Usable media has at most 0.016. A banner line across the crop covers 0.02 and more, a small watermark less."""
    max_bars_frac: float = 0.4
    """A studio cat on black measures 0.25, the highest of the usable ones; a globe in space 0.48."""
    max_people_frac: float = 0.25
    """No real animal crop of the media set has people in it; a quarter is a face as large as the animal's."""

    def reasons(self, quality: Quality, side_px: int, num_frames: int, is_video: bool) -> list[str]:
        """Why to drop, in the order of the checks; empty to keep."""
        q = quality
        clip = is_video and num_frames > 1
        checks = (
            ("head too small", q.min_side_px < self.min_side_px),
            ("too blurred", q.sharpness < self.min_sharpness),
            ("too dark", q.luminance < self.min_luminance),
            ("too bright", q.luminance > self.max_luminance),
            ("too little contrast", q.contrast < self.min_contrast),
            ("head cut off by the picture's edge", q.coverage_frac < self.min_coverage_frac),
            ("motion too wild", q.motion_px > self.max_motion_frac * side_px),
            ("detector unsure", q.score < self.min_score),
            ("too short", is_video and num_frames < self.min_frames),
            ("too little detail for its size", q.resolved_px < self.min_resolved_px),
            ("shadows clipped", q.dark_frac > self.max_dark_frac),
            ("highlights clipped", q.light_frac > self.max_light_frac),
            ("turned away", q.frontalness < self.min_frontalness),
            ("leans too far", abs(q.roll_deg) > self.max_roll_deg),
            ("head's box at the picture's edge", q.cut_frac > self.max_cut_frac),
            ("a still shown as a clip", clip and q.change_grey < self.min_change_grey),
            ("frames repeat", clip and q.frozen_frac > self.max_frozen_frac),
            ("compression blocks", q.blockiness > self.max_blockiness),
            ("writing over the picture", q.text_frac > self.max_text_frac),
            ("black bars", q.bars_frac > self.max_bars_frac),
            ("people in the crop", q.people_frac > self.max_people_frac),
        )
        return [reason for reason, failed in checks if failed]
