"""A crop -> what was measured on it, and whether a generator can learn from it."""

from dataclasses import dataclass

import cv2
import numpy as np

from data_pipeline.crop import coverage_frac, invert, move_points
from data_pipeline.records import Crop, Quality

MEASURED_PX = 256
"""Sharpness and light are measured at this side, so that numbers compare between crop sizes."""
_MEASURED_FRAMES = 8


def measure(crop: Crop) -> Quality:
    """All scores of a crop; at most eight frames, evenly spread, are looked at."""
    track, plan = crop.plan.track, crop.plan
    chosen = np.unique(np.linspace(0, len(crop.frames) - 1, _MEASURED_FRAMES).round().astype(int))
    greys = [
        cv2.resize(
            cv2.cvtColor(crop.frames[i], cv2.COLOR_RGB2GRAY), (MEASURED_PX, MEASURED_PX), interpolation=cv2.INTER_AREA
        )
        for i in chosen
    ]
    sides = (track.boxes[:, 2:] - track.boxes[:, :2]).min(axis=1)
    moved = np.stack([move_points(invert(t), p) for t, p in zip(plan.source_from_crop, track.points, strict=True)])
    steps = np.linalg.norm(np.diff(moved, axis=0), axis=-1).mean(axis=1)
    media = track.shot.media
    return Quality(
        min_side_px=float(np.median(sides)),
        sharpness=float(np.median([cv2.Laplacian(grey, cv2.CV_64F).var() for grey in greys])),
        luminance=float(np.median([grey.mean() for grey in greys])),
        contrast=float(np.median([grey.std() for grey in greys])),
        motion_px=float(steps.mean()) if len(steps) else 0.0,
        coverage_frac=min(
            coverage_frac(t, plan.side_px, media.height_px, media.width_px)
            for t in np.unique(plan.source_from_crop, axis=0)
        ),
        score=float(np.median(track.scores)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityGate:
    """Thresholds; each check that fails is a reason to drop."""

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

    def reasons(self, quality: Quality, side_px: int, num_frames: int, is_video: bool) -> list[str]:
        """Why to drop, in the order of the checks; empty to keep."""
        q = quality
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
        )
        return [reason for reason, failed in checks if failed]
