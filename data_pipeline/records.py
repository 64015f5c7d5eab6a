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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KnownHead:
    """One head that a data set's annotations describe, in source pixels; what they leave out is None."""

    species: Species
    frame: int = 0
    box_xyxy: Float32[np.ndarray, "4"] | None = None
    points_xy: Float32[np.ndarray, "5 2"] | None = None
    """None: the detector finds the points; box or anchors tell which of its heads this is."""
    anchors_xy: Float32[np.ndarray, "A 2"] | None = None
    """Points that lie inside the head, for heads without a box."""
    scheme: str = ""
    """Name of the data set's own landmarks, e.g. catflw48."""
    landmarks_xy: Float32[np.ndarray, "L 2"] | None = None
    """The data set's own landmarks in its own order; NaN where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSpan:
    """The part of a video that a list asks for: a time, and where in the picture the head is."""

    start: float = 0.0
    stop: float = float("inf")
    unit: Literal["s", "frames"] = "s"
    region_xyxy: tuple[float, float, float, float] | None = None
    """Heads whose middle lies outside are not meant."""
    region_of: tuple[float, float] = (0.0, 0.0)
    """Width and height of the picture that the region was measured in, (1, 1) for shares; width 0: as the height."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Landmarks:
    """A data set's own landmarks of a sample's frames, in crop pixels; NaN where they are not known."""

    scheme: str
    points: Float32[np.ndarray, "T L 2"]


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
    patches: tuple[UInt8[np.ndarray, "_ _"], ...] = ()
    """Grey source pixels of the head in a few frames, not resampled: what blur and compression are measured on."""
    bars_px: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Black bars of the source at its top, bottom, left and right."""


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
    blur_px: float = 0.0
    """Width (sigma) of the blur in source pixels, median over looked-at frames; this and the following are 0 (or what
    is harmless) in shards that were made before they were measured."""
    resolved_px: float = 1e6
    """Head side that the source really resolves: min_side_px, less where it is blurred or was enlarged before."""
    dark_frac: float = 0.0
    """Share of the crop clipped to black, median over frames; the fill outside the source does not count."""
    light_frac: float = 0.0
    """Share clipped to white, median over frames."""
    yaw_frac: float = 0.0
    """The nose's distance from the middle line in half eye distances: 0 frontal, above 1 profile; median."""
    roll_deg: float = 0.0
    """Lean of the head in the source, -180 to 180, clockwise on the screen."""
    eye_ratio: float = 0.0
    """Distance of the eyes / distance from eyes to mouth, median."""
    frontalness: float = 1.0
    """0 profile to 1 frontal, compared with frontal heads of the species; median."""
    cut_frac: float = 0.0
    """Share of frames in which the head's box touches the frame's edge."""
    change_grey: float = 255.0
    """Grey levels that the picture changes beyond pan, zoom and rotation; 0 for a still."""
    frozen_frac: float = 0.0
    """Share of neighbouring frames that are the same picture."""
    blockiness: float = 1.0
    """Step energy across 8 x 8 block borders over that between them: 1 none, to 16; median."""
    text_frac: float = 0.0
    """Share of the crop that looks like writing laid over it."""
    bars_frac: float = 0.0
    """Share of the crop that shows the source's black bars."""
    people_frac: float = 0.0
    """Largest share of an animal's crop under human heads."""


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
    landmarks: Landmarks | None = None
    """What a labelled data set says of these frames; kept beside the five points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """An input, or a part of one, that did not become a sample, and why."""

    key: str
    """Path, or path#shot#track, of what was dropped."""
    stage: str
    reason: str
    """A few stable words, for counting."""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected(Drop):
    """A drop by the quality gate, with the sample that a looser gate would have made of it."""

    sample: Sample
    reasons: tuple[str, ...]
    """All that failed; `reason` is the first."""
