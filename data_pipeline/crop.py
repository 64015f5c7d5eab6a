"""Five points -> the square that the networks see: upright, framed like LivePortrait's inference crop.

The geometry is LivePortrait's (square along the eyes-to-mouth axis, side = extent of the points x scale, shifted along
that axis). Its scale of 2.3 belongs to 106 points that span brows to chin; five points span less, so each species has
factors of its own. Curation and the animator both call this file: what is trained on is what is animated.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from data_pipeline.follow import followed
from data_pipeline.records import CropPlan, Species, Track


@dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """How large the square is, and where it lies, relative to the upright box of the five points."""

    scale: float
    """Side of the square / longer side of the points' box."""
    shift: float
    """Shift of the square's centre along the eyes-to-mouth axis, in sides; negative is towards the forehead."""


FRAMINGS: dict[Species, Framing] = {
    # Human: median over 4,000 frames of the mini corpus of the square that 68 points x 2.3, shift -0.125 give.
    "human": Framing(scale=4.67, shift=-0.095),
    # Animals: so that the head box (ears included) of the labelled heads fills 62 % of the square and sits at 53 % of
    # its height, as a human head does above. Spread over dogs is wide (muzzles): 47-76 %.
    "cat": Framing(scale=4.8, shift=-0.19),
    "dog": Framing(scale=3.65, shift=-0.12),
    "panda": Framing(scale=4.7, shift=-0.155),
}
_SMALLEST_AXIS_PX = 1e-3


def upright_axes(points: Float32[np.ndarray, "5 2"]) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors to the face's right-hand side of the picture and down, from the eyes' and the mouth's middle."""
    eyes, mouth = points[:2].astype(np.float64).mean(axis=0), points[3:].astype(np.float64).mean(axis=0)
    down = mouth - eyes
    length = float(np.linalg.norm(down))
    down = down / length if length > _SMALLEST_AXIS_PX else np.array([0.0, 1.0])
    return np.array([down[1], -down[0]]), down


def crop_transform(
    points: Float32[np.ndarray, "5 2"],
    species: Species,
    side_px: int,
    scale: float | int | None = None,
    shift: float | int | None = None,
    rotate: bool = True,
) -> Float32[np.ndarray, "2 3"]:
    """The similarity from crop pixels to source pixels (inference.md §10.2-10.3, for five points).

    Args:
        points: right eye, left eye, nose, mouth right, mouth left, in source pixels.
        species: chooses the framing.
        side_px: side of the crop.
        scale: replaces the framing's scale; larger shows more around the head.
        shift: replaces the framing's shift.
        rotate: take the head's roll out.

    Raises:
        ValueError: points are not finite or lie on one spot.
    """
    if not np.isfinite(points).all():
        raise ValueError("the five points hold a value that is not a number; detect the head again")
    framing = FRAMINGS[species]
    right, down = upright_axes(points)
    middle = points.astype(np.float64).mean(axis=0)
    offsets = points - middle
    across, along = offsets @ right, offsets @ down
    extent = max(np.ptp(across), np.ptp(along))
    if extent <= _SMALLEST_AXIS_PX:
        raise ValueError("the five points lie on one spot; there is no head to crop")
    size = extent * (framing.scale if scale is None else scale)
    centre = (
        middle
        + right * (across.min() + across.max()) / 2
        + down * ((along.min() + along.max()) / 2 + (framing.shift if shift is None else shift) * size)
    )
    if not rotate:
        right, down = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    linear = np.stack([right, down], axis=1) * (size / side_px)
    return np.concatenate([linear, (centre - linear @ np.full(2, side_px / 2))[:, None]], axis=1).astype(np.float32)


def invert(transform: Float32[np.ndarray, "2 3"]) -> Float32[np.ndarray, "2 3"]:
    """The inverse similarity: `source_from_crop` -> `crop_from_source`."""
    return cv2.invertAffineTransform(transform.astype(np.float64)).astype(np.float32)


def move_points(transform: Float32[np.ndarray, "2 3"], points: Float32[np.ndarray, "*any 2"]) -> np.ndarray:
    """Apply a transform to points of any leading shape."""
    return (points @ transform[:, :2].T + transform[:, 2]).astype(np.float32)


def square_corners(
    source_from_crop: Float32[np.ndarray, "2 3"], side_px: int, room: float | int = 0
) -> Float64[np.ndarray, "4 2"]:
    """Corners of the crop in source pixels; `room` is added on every side, in sides."""
    low, high = -0.5 - room * side_px, side_px - 0.5 + room * side_px
    corners = np.array([[low, low], [high, low], [low, high], [high, high]])
    return corners @ source_from_crop[:, :2].astype(np.float64).T + source_from_crop[:, 2]


def warp_crop_beyond(
    image: UInt8[np.ndarray, "H W 3"], source_from_crop: Float32[np.ndarray, "2 3"], side_px: int, border: int
) -> UInt8[np.ndarray, "S S 3"]:
    """`warp_crop` of a picture that goes on beyond its edges, by half its smaller side, as OpenCV's `border` says."""
    room = min(image.shape[:2]) // 2
    larger = cv2.copyMakeBorder(image, room, room, room, room, border)
    return warp_crop(larger, source_from_crop, side_px, (-room, -room))


def warp_crop(
    image: UInt8[np.ndarray, "H W 3"],
    source_from_crop: Float32[np.ndarray, "2 3"],
    side_px: int,
    origin_px: tuple[int, int] = (0, 0),
    out: UInt8[np.ndarray, "S S 3"] | None = None,
) -> UInt8[np.ndarray, "S S 3"]:
    """Cut the square out of a picture; black outside it.

    Shrinking by two or more samples a finer grid and averages it, so that fur does not turn into noise.

    Args:
        image: the picture, or a part of it that holds what the square needs: the crop is then the same, bit for bit.
        source_from_crop: crop pixels to pixels of the whole picture.
        side_px: side of the crop.
        origin_px: where the part's left upper corner lies in the picture: x and y.
        out: is written to and returned, instead of a new array.
    """
    zoom = float(np.hypot(source_from_crop[0, 0], source_from_crop[1, 0]))
    factor = int(np.clip(np.ceil(zoom - 0.5), 1, 8))
    if factor == 1:
        return _warp(image, source_from_crop, side_px, origin_px=origin_px, out=out)
    fine = source_from_crop.astype(np.float64).copy()
    fine[:, :2] /= factor
    # Pixel centres: crop pixel i covers fine pixels factor*i ... factor*i + factor-1.
    fine[:, 2] -= fine[:, :2] @ np.full(2, (factor - 1) / 2)
    return cv2.resize(
        _warp(image, fine.astype(np.float32), side_px * factor, origin_px=origin_px),
        (side_px, side_px),
        dst=out,
        interpolation=cv2.INTER_AREA,
    )


def _warp(
    image: np.ndarray,
    source_from_crop: np.ndarray,
    side_px: int,
    nearest: bool = False,
    origin_px: tuple[int, int] = (0, 0),
    out: np.ndarray | None = None,
) -> np.ndarray:
    flags = (cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP
    # Whole pixels are taken off in double precision, so that nothing is rounded in another way.
    matrix = source_from_crop.astype(np.float64)
    matrix[:, 2] -= origin_px
    return cv2.warpAffine(image, matrix, (side_px, side_px), dst=out, flags=flags, borderValue=(0, 0, 0))


def warp_labels(
    labels: UInt8[np.ndarray, "H W"], source_from_crop: Float32[np.ndarray, "2 3"], side_px: int
) -> UInt8[np.ndarray, "S S"]:
    """Cut the square out of a label map, without mixing labels."""
    return _warp(labels, source_from_crop, side_px, nearest=True)


def points_in_crop(plan: CropPlan) -> Float32[np.ndarray, "T 5 2"]:
    """The five points of a plan's frames in crop pixels."""
    places, points = plan.source_from_crop, plan.track.points
    if bool((places == places[0]).all()):
        return move_points(invert(places[0]), points)
    return np.stack([move_points(invert(t), p) for t, p in zip(places, points, strict=True)])


def coverage_frac(source_from_crop: Float32[np.ndarray, "2 3"], side_px: int, height_px: int, width_px: int) -> float:
    """Share of the square that lies inside the picture."""
    corners = square_corners(source_from_crop, side_px)
    if (corners >= 0).all() and (corners < (width_px, height_px)).all():
        return 1.0
    steps = (np.arange(32, dtype=np.float32) + 0.5) * side_px / 32
    grid = np.stack(np.meshgrid(steps, steps), axis=-1)
    x, y = np.moveaxis(move_points(source_from_crop, grid), -1, 0)
    return float(((x >= 0) & (x < width_px) & (y >= 0) & (y < height_px)).mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class Cropper:
    """Plans the squares for each piece of a track.

    `fixed`: one square for a piece, as the animator lays one over a driver; the head moves in the clip, the crop does
    not. `follow`: the square goes with the head, calmly, so that a head that walks through the picture stays whole.
    """

    mode: Literal["fixed", "follow"] = "fixed"
    side_px: int = 512
    """512: the output side of the official model."""
    scale_factor: float = 1.0
    """Multiplies the framing's scale; above 1 shows more around the head."""
    max_frames: int = 120
    """Longest clip. About 5 s: a talking-head turn of phrase; keeps a shard's member below a megabyte."""
    max_drift: float = 0.22
    """fixed: a new piece starts when the points' middle has moved this many crop sides away from the piece's square."""
    follow_s: float = 0.6
    """follow: half width of the window over which the square's path is calmed."""

    def __post_init__(self) -> None:
        if not 16 <= self.side_px <= 4096:
            raise ValueError(f"curation.cropper.side_px is {self.side_px}; give 16 to 4096")
        if self.max_frames < 1:
            raise ValueError(f"curation.cropper.max_frames is {self.max_frames}; give 1 or more")
        if self.mode not in ("fixed", "follow"):
            raise ValueError(f"curation.cropper.mode is {self.mode!r}; give fixed or follow")

    def __call__(self, track: Track, fps: float = 0.0) -> list[CropPlan]:
        """One plan for each piece of the track, in order.

        Args:
            track: one head.
            fps: rate of its frames; 0: what the file states.
        """
        squares = self._path(track, fps or track.shot.media.fps) if self.mode == "follow" else None
        plans, start = [], 0
        while start < len(track.frames):
            if squares is None:
                stop = self._end_of_piece(track, start)
                square = self._transform(track.points[start:stop], track.species)
                places = np.repeat(square[None], stop - start, axis=0)
            else:
                stop = min(start + self.max_frames, len(track.frames))
                places = squares[start:stop]
            piece = Track(
                shot=track.shot,
                species=track.species,
                frames=track.frames[start:stop],
                boxes=track.boxes[start:stop],
                points=track.points[start:stop],
                scores=track.scores[start:stop],
            )
            plans.append(CropPlan(track=piece, source_from_crop=places, side_px=self.side_px))
            start = stop
        return plans

    def _path(self, track: Track, fps: float) -> np.ndarray:
        single = np.stack([self._transform(points[None], track.species) for points in track.points])
        return followed(single, self.side_px, fps, self.follow_s)

    def _transform(self, points: np.ndarray, species: Species) -> np.ndarray:
        """The square of the median points; its size is the median of the frames' sizes (blinking eyes do not zoom)."""
        scale = FRAMINGS[species].scale * self.scale_factor
        return crop_transform(np.median(points, axis=0).astype(np.float32), species, self.side_px, scale=scale)

    def _end_of_piece(self, track: Track, start: int) -> int:
        first = self._transform(track.points[start : start + 1], track.species)
        limit = min(len(track.frames), start + self.max_frames)
        middles = move_points(invert(first), track.points[start:limit].mean(axis=1)) / self.side_px
        away = np.linalg.norm(middles - middles[0], axis=1) > self.max_drift
        return start + (int(np.argmax(away)) if away.any() else limit - start)
