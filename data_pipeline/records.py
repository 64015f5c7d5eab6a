"""The records that curation stages hand to each other, in the order in which they are made.

Conventions (docs/conventions.md): RGB u8[H,W,3]; boxes are xyxy pixels, x1/y1 exclusive; points are xy
pixels; transforms read right to left (`source_from_crop @ p_crop = p_source`). Shape letters: T frames,
S crop side in pixels.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float32, Int64, UInt8

Species = Literal["human", "cat", "dog", "panda"]
SPECIES: tuple[Species, ...] = get_args(Species)
"""The one place that lists the species; the detector's class ids are positions in this tuple."""

POINT_NAMES = ("right_eye", "left_eye", "nose", "mouth_right", "mouth_left")
"""The five points. Right and left are the animal's own, so the viewer's left comes first in an upright face."""
FLIPPED_POINTS = (1, 0, 2, 4, 3)
"""Order of the five points after a horizontal flip."""

MediaKind = Literal["image", "video"]
Split = Literal["train", "val", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaItem:
    """One readable photo or video file."""

    path: Path
    kind: MediaKind
    source_id: str
    """First 16 hex digits of the sha256 of the file's bytes."""
    num_frames: int
    """1 for a still; for a video the container's claim, 0 when it makes none."""
    fps: float
    """Frames per second; 0 for a still."""
    height_px: int
    """Upright size: after rotation metadata and EXIF have been applied."""
    width_px: int
    rotation_deg: int = 0
    """The clockwise rotation that reading applied."""
    licence: str = ""
    origin: str = ""
    identity: str = ""
    """Individual or source group that must not be split; the file's source_id when unknown."""
    species: Species | None = None
    """What a manifest or a truth file says it shows; None: the detector decides."""
    truth_path: Path | None = None
    """`<stem>.truth.npz` beside the file: exact annotations (puppets), see docs/data.md."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A run of frames without a cut: native frames [start, stop)."""

    media: MediaItem
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """One head in one frame."""

    frame: int
    species: Species
    box_xyxy: Float32[np.ndarray, "4"]
    points_xy: Float32[np.ndarray, "5 2"]
    point_scores: Float32[np.ndarray, "5"]
    """0-1 confidence of each point."""
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One head followed through a shot; `frames` are native frame numbers, ascending, without gaps."""

    shot: Shot
    species: Species
    frames: Int64[np.ndarray, " T"]
    boxes: Float32[np.ndarray, "T 4"]
    points: Float32[np.ndarray, "T 5 2"]
    scores: Float32[np.ndarray, " T"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CropPlan:
    """Where the square crop of each frame of a track lies in its source frame."""

    track: Track
    source_from_crop: Float32[np.ndarray, "T 2 3"]
    """Similarity from crop pixels to source pixels."""
    side_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """The pixels of a crop plan."""

    plan: CropPlan
    frames: UInt8[np.ndarray, "T S S 3"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What was measured on a crop; the gate compares these with its thresholds and the report plots them."""

    min_side_px: float
    """Shortest side of the head box in the source, median over frames."""
    sharpness: float
    """Variance of the Laplacian of the grey crop at 256 px, median over frames."""
    luminance: float
    """Mean grey level 0-255, median over frames."""
    contrast: float
    """Standard deviation of the grey level, median over frames."""
    motion_px: float
    """Mean displacement of the five points between frames, in crop pixels; 0 for a still."""
    coverage_frac: float
    """Share of crop pixels that lie inside the source frame, lowest over frames."""
    score: float
    """Median detector score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One training example: what is written into a shard."""

    key: str
    """No dots: webdataset ends the key at the first one."""
    split: Split
    species: Species
    kind: MediaKind
    frames: UInt8[np.ndarray, "T S S 3"]
    points: Float32[np.ndarray, "T 5 2"]
    """In crop pixels."""
    source_from_crop: Float32[np.ndarray, "T 2 3"]
    start: int
    """Native number of the first frame."""
    fps: float
    source_id: str
    identity: str
    performance: str
    """Samples with the same performance show the same motion, native frame by native frame (puppets); else empty."""
    licence: str
    origin: str
    quality: Quality
    truth: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    """Exact annotations of these frames in crop pixels (puppets); empty for real media."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """An input, or a part of one, that did not become a sample, and why."""

    key: str
    """Path, or path#shot#track, of what was dropped."""
    stage: str
    reason: str
    """A few stable words, for counting."""
    detail: str = ""
