"""A driving video or photo -> the frames that drive, and the one square of them in which the head moves."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from data_pipeline import media, video
from data_pipeline.crop import crop_transform
from data_pipeline.records import Detection
from evaluation.engine import chunks
from evaluation.source import HeadFinder, points_in_box, whole_frame

LOOKS_PER_SECOND = 5
"""How often the head is looked for when the square is laid: a mean over fewer looks moves by less than a pixel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footage:
    """What drives. Frames are decoded anew at each reading, so no clip is too long."""

    name: str
    is_still: bool
    fps: Fraction
    num_frames: int
    """The container's claim, for progress bars; 0 when it makes none."""
    height_px: int
    width_px: int
    path: Path | None = None
    has_audio: bool = False
    array: UInt8[np.ndarray, "T H W 3"] | None = None

    def frames(self) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """Upright RGB frames, one at a time."""
        if self.array is not None:
            yield from self.array
        elif self.path is not None:
            yield from media.read_frames(self.path)


def open_footage(driving: str | Path | np.ndarray, fps: Fraction | None = None) -> Footage:
    """A video file, a photo file, or frames u8[T,H,W,3] in memory.

    Raises:
        ValueError: the file is missing or is neither a video nor a photo that can be read.
    """
    if isinstance(driving, np.ndarray):
        if driving.ndim != 4 or driving.shape[3] != 3 or driving.dtype != np.uint8 or not len(driving):
            raise ValueError(f"driving frames are {driving.dtype}{list(driving.shape)}; give u8[T,H,W,3]")
        T, H, W, _ = driving.shape
        return Footage(
            name="the driving frames", is_still=T == 1, fps=fps or video.DEFAULT_FPS, num_frames=T,
            height_px=H, width_px=W, array=driving,
        )  # fmt: skip
    path = Path(driving)
    if not path.is_file():
        raise ValueError(f"driving: {path} is not a file; give a video or a photo")
    item = media.probe(path)
    is_still = item.kind == "image"
    return Footage(
        name=path.name, is_still=is_still, fps=video.DEFAULT_FPS if is_still else media.exact_fps(path),
        num_frames=item.num_frames, height_px=item.height_px, width_px=item.width_px, path=path,
        has_audio=_has_audio(path),
    )  # fmt: skip


def _has_audio(path: Path) -> bool:
    try:
        return video.read_info(path).has_audio
    except video.VideoError:  # a photo or an animated picture
        return False


def driving_square(
    footage: Footage,
    side_px: int,
    detector: HeadFinder | None,
    *,
    crop: bool = True,
    box: Sequence[float | int] | None = None,
    scale: float | None = None,
) -> Float32[np.ndarray, "2 3"]:
    """One upright square for the whole clip: the mean of the squares around the head (LivePortrait's driving crop).

    A square that followed the head would take away the very motion that is to be transferred.

    Args:
        footage: what drives.
        side_px: side of the crops.
        detector: finds heads; people are preferred, other species are taken where there are none.
        crop: False takes the whole frame, squeezed to a square.
        box: head box x0,y0,x1,y1 in pixels instead of the detector.
        scale: framing; None for the framing of training.

    Raises:
        ValueError: no head in any frame that was looked at.
    """
    if not crop:
        return whole_frame(footage.height_px, footage.width_px, side_px)
    if box is not None:
        points = points_in_box(box, footage.height_px, footage.width_px, footage.name)
        squares = [_square(crop_transform(points, "human", side_px, scale), side_px)]
    elif detector is None:
        raise ValueError(f"{footage.name}: there is no detector; give driving_box=[x0,y0,x1,y1] or driving_crop=false")
    else:
        squares = [
            _square(crop_transform(head.points_xy, head.species, side_px, scale), side_px)
            for head in _heads(footage, detector)
        ]
    if not squares:
        raise ValueError(
            f"{footage.name}: no head found in any frame; give driving_box=[x0,y0,x1,y1], "
            "driving_crop=false or another file"
        )
    centre_x, centre_y, width = np.mean(squares, axis=0)
    k = width / side_px
    return np.array([[k, 0, centre_x - width / 2], [0, k, centre_y - width / 2]], np.float32)


def _heads(footage: Footage, detector: HeadFinder) -> list[Detection]:
    """The main head of the frames that are looked at: of one species throughout, people first."""
    every = max(1, round(footage.fps / LOOKS_PER_SECOND))
    looked = (frame for i, frame in enumerate(footage.frames()) if i % every == 0)
    found = [one for chunk in chunks(looked, 4) for one in detector(chunk)]
    is_human = any(head.species == "human" for heads in found for head in heads)
    wanted = [[head for head in heads if not is_human or head.species == "human"] for heads in found]
    return [max(heads, key=_size) for heads in wanted if heads]


def _size(head: Detection) -> float:
    x0, y0, x1, y1 = (float(v) for v in head.box_xyxy)
    return (x1 - x0) * (y1 - y0)


def _square(source_from_crop: np.ndarray, side_px: int) -> tuple[float, float, float]:
    """Centre and side, in frame pixels, of a crop; its roll is left out."""
    middle = source_from_crop @ np.array([side_px / 2, side_px / 2, 1.0])
    return float(middle[0]), float(middle[1]), side_px * math.hypot(*source_from_crop[:, 0])
