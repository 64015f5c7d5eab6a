"""A photo or a video -> the portraits to be moved: which heads, their square crops, and where those lie."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from data_pipeline import media
from data_pipeline.crop import crop_transform, warp_crop
from data_pipeline.frame_rate import Timing
from data_pipeline.records import Detection, MediaItem, Species

HeadFinder = Callable[..., list[list[Detection]]]
"""What is needed of a `data_pipeline.detect.HeadDetector`: frames in, detections per frame out."""
Choice = Literal["largest"] | int
BOX_POINTS = ((0.32, 0.42), (0.68, 0.42), (0.5, 0.62), (0.38, 0.78), (0.62, 0.78))
"""Where the five points lie in a head box, as shares of its sides: medians of upright heads of all species."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePortrait:
    """A photo and the square of it that is animated."""

    image: UInt8[np.ndarray, "H W 3"]
    crop: UInt8[np.ndarray, "S S 3"]
    source_from_crop: Float32[np.ndarray, "2 3"]
    species: Species | None
    """None when the square was not found by a detector."""
    name: str
    num_heads: int = 1
    """Heads that were found, of which one was chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceVideo:
    """A video and the square of each of its frames that is animated. Frames are decoded anew at each reading."""

    path: Path
    name: str
    fps: Fraction
    timing: Timing
    source_from_crop: Float32[np.ndarray, "T 2 3"]
    """One square for each frame; it follows the head smoothly."""
    species: Species | None
    num_heads: int
    has_audio: bool

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.source_from_crop)

    def frames(self) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """Upright RGB frames at the constant rate."""
        return media.read_steady_frames(self.path, self.timing)


def choose_head(found: Sequence[Detection], head: Choice, where: str) -> Detection:
    """The largest head, or number `head` from left to right, counted from 0.

    Raises:
        ValueError: there is no head, or not that many.
    """
    if not found:
        raise ValueError(f"{where}: no head found; give its box as source_box=[x0,y0,x1,y1] or use another photo")
    if head == "largest":
        return max(found, key=lambda one: _area(one.box_xyxy))
    if not isinstance(head, int) or not 0 <= head < len(found):
        known = "is 1 head; give largest or 0"
        if len(found) > 1:
            known = f"are {len(found)} heads; give largest or 0 to {len(found) - 1}"
        raise ValueError(f"{where}: head={head!r}, but there {known}")
    return sorted(found, key=lambda one: float(one.box_xyxy[0]))[head]


def crop_source(
    image: UInt8[np.ndarray, "H W 3"],
    side_px: int,
    detector: HeadFinder | None,
    *,
    name: str = "the photo",
    head: Choice | Literal["all"] = "largest",
    box: Sequence[float | int] | None = None,
    crop: bool = True,
    scale: float | int | None = None,
) -> list[SourcePortrait]:
    """Find the head, or all heads, and cut the squares.

    Args:
        image: the whole photo.
        side_px: side of the crop, the network's input.
        detector: finds heads; not needed with a box or without cropping.
        name: how messages call the photo.
        head: which head, when there are several; `all` gives one portrait for each, from left to right.
        box: head box x0,y0,x1,y1 in pixels instead of the detector.
        crop: False takes the whole photo.
        scale: framing; None for the framing of training.

    Raises:
        ValueError: no head, or a box that is not one.
    """
    if not crop:
        matrix = whole_frame(image.shape[0], image.shape[1], side_px)
        squeezed = cv2.resize(image, (side_px, side_px), interpolation=cv2.INTER_AREA)
        return [SourcePortrait(image=image, crop=squeezed, source_from_crop=matrix, species=None, name=name)]
    chosen: list[tuple[np.ndarray, Species | None]]
    num_heads = 1
    if box is not None:
        chosen = [(points_in_box(box, image.shape[0], image.shape[1], name), None)]
    else:
        if detector is None:
            raise ValueError(f"{name}: there is no head detector; give source_box=[x0,y0,x1,y1] or source_crop=false")
        found = detector([image])[0]
        num_heads = len(found)
        if head == "all":
            choose_head(found, "largest", name)  # says what to do when there is none
            heads = sorted(found, key=lambda one: float(one.box_xyxy[0]))
        else:
            heads = [choose_head(found, head, name)]
        chosen = [(one.points_xy, one.species) for one in heads]
    portraits = []
    for points, species in chosen:
        matrix = crop_transform(points, species or "cat", side_px, scale)
        portraits.append(
            SourcePortrait(
                image=image, crop=warp_crop(image, matrix, side_px), source_from_crop=matrix, species=species,
                name=name, num_heads=num_heads,
            )
        )  # fmt: skip
    return portraits


def whole_frame(height_px: int, width_px: int, side_px: int) -> Float32[np.ndarray, "2 3"]:
    """The transform of a crop that is the whole frame squeezed to a square."""
    x, y = width_px / side_px, height_px / side_px
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2]], np.float32)


def points_in_box(box: Sequence[float | int], height_px: int, width_px: int, where: str) -> Float32[np.ndarray, "5 2"]:
    """A head box given by hand -> where its five points are likely to be.

    Raises:
        ValueError: not four numbers, or outside the photo.
    """
    if len(box) != 4 or not (box[0] < box[2] and box[1] < box[3]):
        raise ValueError(f"{where}: the box {list(box)} is not x0,y0,x1,y1 with x0 < x1 and y0 < y1")
    if box[0] >= width_px or box[1] >= height_px or box[2] <= 0 or box[3] <= 0:
        raise ValueError(f"{where}: the box {list(box)} lies outside the {width_px}x{height_px} px photo")
    corner, size = np.array(box[:2]), np.array([box[2] - box[0], box[3] - box[1]])
    return (corner + np.array(BOX_POINTS) * size).astype(np.float32)


def probe_source(path: str | Path) -> MediaItem:
    """What kind of source a file is.

    Raises:
        ValueError: it is missing, or neither a photo nor a video that can be read.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"source: {path} is not a file; give a photo or a video")
    return media.probe(path)


def _area(box: np.ndarray) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))
