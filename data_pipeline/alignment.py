"""Thumbnails of two clips or stills -> how alike they are, laid over each other in place, time and speed."""

import functools
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64, UInt8

from data_pipeline.hashes import View, at_clip_size

_MAX_SCALE = 1.4
_MAX_SHEAR = 0.2
_MIN_SHARED_FRAC = 0.45
"""Two copies that were cropped on opposite sides by 15 % still share 0.7 of the area."""
_FINE_SIGMA_FRAC = 1 / 16
_SPOT_FRAC = 1 / 8
_SPEEDS = np.exp(np.linspace(np.log(0.3), np.log(1 / 0.3), 41))
"""Stored frames of one clip for each of the other; steps of 6 % end at most 1.5 frames off after 48."""
_LEAST_DETAIL = 0.75
_LOOKED_AT = 9
"""Aligned frames whose details are compared; motion is compared on all."""
_MIN_MOTION = 2.0
"""Grey levels: what recompression alone changes from frame to frame stays below."""
_MIN_LOCAL_MOTION = 3.0
"""The same within a square of a sixth of the side: a mouth that opens moves little of the picture."""
_LOCAL_PX = 5

Thumbs = UInt8[np.ndarray, "N P P"]
Warp = Float32[np.ndarray, "2 3"]


class Likeness(NamedTuple):
    """What remains different after alignment; 1 is the same."""

    shape: float
    """Correlation of the pictures, median over the frames both show."""
    detail: float
    """The same of the pictures without what is blurrier than a sixteenth of the side."""
    spot: float
    """Largest difference within a square of an eighth of the side, as a share of the picture's variance; 0 is best."""
    motion: float | None
    """Correlation of the changes over time; None where neither moves, as in stills."""
    is_calm: bool
    """Only small parts move, so that recompression blurs their motion."""
    overlap_frac: float
    """Share of the shorter one that the other shows too."""


def warp_of(view: View, side_px: int) -> Warp:
    """Thumbnail pixels of the view -> those of the (mirrored) picture."""
    scale = view.scale
    shift = [side_px * start + (scale - 1) / 2 for start in (view.left, view.top)]
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float32)


def likeness(
    one: Thumbs, other: UInt8[np.ndarray, "M Q Q"], frame: int, other_frame: int, view: View, min_overlap: float
) -> Likeness:
    """Lay `one` over `other`, starting from a guess.

    Args:
        one: thumbnails of which `other` may show a part, in order of time.
        other: the second clip's.
        frame: a stored frame of `one` that looks like ...
        other_frame: ... this one of `other`, ...
        view: ... when seen like this.
        min_overlap: least share of the shorter clip that must lie in both.

    Returns:
        Nothing alike (0 shared) when they cannot be laid over each other.
    """
    nothing = Likeness(0.0, 0.0, 1.0, 0.0, False, 0.0)
    if one.shape[1] != other.shape[1]:  # a still and a clip
        one, other = at_clip_size(one), at_clip_size(other)
    side = one.shape[1]
    if view.mirrored:
        one = np.ascontiguousarray(one[:, :, ::-1])
    warp = _register(one[frame], other[other_frame], warp_of(view, side))
    if warp is None:
        return nothing
    pairs = np.array([[frame, other_frame]])
    overlap = 1.0
    first_look = _laid_over(one[frame][None], warp)[0]
    if _frame_likeness(first_look, other[other_frame], _shared(warp, side))[1] < _LEAST_DETAIL:
        return nothing  # most guesses end here, before time is searched
    if len(one) > 1 and len(other) > 1:
        like = _correlations(_laid_over(one, warp), other, warp)
        pairs, overlap = _timeline(like, min_overlap)
        best = pairs[np.argmax(like[pairs[:, 0], pairs[:, 1]])]
        warp = _register(one[best[0]], other[best[1]], warp)  # the guess may have been some frames off
        if warp is None:
            return nothing
        pairs, overlap = _timeline(_correlations(_laid_over(one, warp), other, warp), min_overlap)
    shared = _shared(warp, side)
    laid = _laid_over(one[pairs[:, 0]], warp)
    seen = other[pairs[:, 1]]
    some = np.unique(np.linspace(0, len(pairs) - 1, _LOOKED_AT).round().astype(int))
    single = [_frame_likeness(laid[i], seen[i], shared) for i in some]
    shape, detail, spot = (float(np.median(values)) for values in zip(*single, strict=True))
    return Likeness(shape, detail, spot, *_motion_likeness(laid, seen, shared), overlap)


def _register(picture: np.ndarray, template: np.ndarray, guess: Warp) -> Warp | None:
    """The affine map from template to picture pixels under which they agree best, None without a sensible one."""
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-4)
    try:
        _, warp = cv2.findTransformECC(template, picture, guess.copy(), cv2.MOTION_AFFINE, criteria, None, 3)  # pyright: ignore[reportCallIssue, reportArgumentType]
    except cv2.error:  # OpenCV's way to say that the pictures do not converge
        return None
    warp = warp.astype(np.float32)
    stretch = np.linalg.svd(warp[:, :2], compute_uv=False)
    sane = stretch[0] < _MAX_SCALE and stretch[1] > 1 / _MAX_SCALE and stretch[0] / stretch[1] < 1 + _MAX_SHEAR
    if (
        not sane
        or abs(warp[0, 1] - warp[1, 0]) > 2 * _MAX_SHEAR
        or _shared(warp, len(template)).mean() < _MIN_SHARED_FRAC
    ):
        return None
    return warp


def _laid_over(thumbs: Thumbs, warp: Warp) -> Float32[np.ndarray, "N P P"]:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = thumbs.shape[1:]
    moved = [cv2.warpAffine(t, warp, size, flags=flags, borderMode=cv2.BORDER_REPLICATE) for t in thumbs]
    return np.stack(moved).astype(np.float32)


def _shared(warp: Warp, side_px: int) -> Bool[np.ndarray, "P P"]:
    """Template pixels that the picture covers."""
    at = np.stack([*np.meshgrid(np.arange(side_px), np.arange(side_px)), np.ones((side_px, side_px))])
    seen = np.tensordot(warp, at, axes=1)
    return np.all((seen >= -0.5) & (seen <= side_px - 0.5), axis=0)


def _fine(picture: np.ndarray) -> np.ndarray:
    smooth = picture.astype(np.float32)
    return smooth - cv2.GaussianBlur(smooth, (0, 0), _FINE_SIGMA_FRAC * len(picture))


def _frame_likeness(a: np.ndarray, b: np.ndarray, shared: Bool[np.ndarray, "P P"]) -> tuple[float, float, float]:
    """Shape, detail and spot of two pictures that lie over each other."""
    fine = _correlation(_fine(a)[shared], _fine(b)[shared])
    return _correlation(a[shared], b[shared]), fine, _largest_spot(a, b, shared)


def _largest_spot(a: np.ndarray, b: np.ndarray, shared: Bool[np.ndarray, "P P"]) -> float:
    """One closed eye is a large difference in a small place; what recompression changes lies everywhere."""
    blur_px = len(a) / 32  # a copy may be less sharp
    first, second = (cv2.GaussianBlur(x.astype(np.float32), (0, 0), blur_px) for x in (a, b))
    x, y = first[shared].astype(np.float64), second[shared].astype(np.float64)
    gain = ((x - x.mean()) * (y - y.mean())).sum() / max(1e-6, ((x - x.mean()) ** 2).sum())
    rest = np.where(shared, (first - x.mean()) * gain + y.mean() - second, 0) ** 2
    window = max(3, round(len(a) * _SPOT_FRAC))
    return float(cv2.blur(rest, (window, window)).max() / max(1e-6, y.var()))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(dtype=np.float64), b - b.mean(dtype=np.float64)
    return float((a * b).sum() / max(1e-6, np.sqrt((a * a).sum() * (b * b).sum())))


def _correlations(
    laid: Float32[np.ndarray, "N P P"], other: UInt8[np.ndarray, "M P P"], warp: Warp
) -> Float64[np.ndarray, "N M"]:
    """Likeness of every frame to every other."""
    shared = _shared(warp, other.shape[1])

    def unit(pictures: np.ndarray) -> np.ndarray:
        flat = pictures.astype(np.float64)[:, shared]
        flat -= flat.mean(axis=1, keepdims=True)
        return flat / np.maximum(1e-6, np.linalg.norm(flat, axis=1, keepdims=True))

    return unit(laid) @ unit(other).T


def _timeline(like: Float64[np.ndarray, "N M"], min_overlap: float) -> tuple[Int64[np.ndarray, "P 2"], float]:
    """The straight line through time along which frames are most alike: pairs of frames, and how much it covers."""
    num, num_other = like.shape
    lines = _lines(num, num_other, min_overlap)
    if not len(lines.counts):  # a line of one frame: two very short clips
        i, j = np.unravel_index(int(np.argmax(like)), like.shape)
        return np.array([[i, j]]), 1.0 / min(like.shape)
    total = np.append(like.ravel(), 0.0)[lines.cells].sum(axis=1)
    best = int(np.argmax(total / lines.counts + 1e-3 * lines.covered))
    cells = lines.cells[best][lines.cells[best] < like.size].astype(np.int64)
    return np.stack([cells // num_other, cells % num_other], axis=1), float(lines.covered[best])


class _Lines(NamedTuple):
    """All straight lines through the time of two clips that cover enough of the shorter one."""

    cells: Int32[np.ndarray, "L M"]
    """Which cell of the table of likenesses lies on the line for each frame of the other clip; its size where none."""
    counts: Int64[np.ndarray, " L"]
    covered: Float64[np.ndarray, " L"]


@functools.lru_cache(maxsize=32)
def _lines(num: int, num_other: int, min_overlap: float) -> _Lines:
    """They depend on the lengths only: at most 1 MB for each two lengths."""
    other = np.arange(num_other)
    found = []
    for speed in _SPEEDS:
        starts = np.arange(np.floor(-speed * num_other), num + 1, max(0.5, speed / 2))
        at = np.rint(starts[:, None] + speed * other).astype(np.int64)
        inside = (at >= 0) & (at < num)
        counts = inside.sum(axis=1)
        covered = np.maximum(counts / num_other, np.minimum(1.0, counts * speed / num))
        cells = np.where(inside, at * num_other + other, num * num_other).astype(np.int32)
        enough = (covered >= min_overlap) & (counts >= 2)
        found.append((cells[enough], counts[enough], covered[enough]))
    return _Lines(*(np.concatenate(part) for part in zip(*found, strict=True)))


def _motion_likeness(a: np.ndarray, b: np.ndarray, shared: Bool[np.ndarray, "P P"]) -> tuple[float | None, bool]:
    """Correlation of what changes over time, of a still nothing; and whether only small parts change."""
    if len(a) < 3:
        return None, False
    first, second = (x.astype(np.float64)[:, shared] for x in (a, b))
    # A brightness shift or another contrast must not look like motion.
    first, second = (x - x.mean(axis=1, keepdims=True) for x in (first, second))
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    is_calm = float(max(first.std(), second.std())) < _MIN_MOTION
    if is_calm and max(_local_motion(first, shared), _local_motion(second, shared)) < _MIN_LOCAL_MOTION:
        return None, True
    return _correlation(first.ravel(), second.ravel()), is_calm


def _local_motion(changes: Float64[np.ndarray, "N S"], shared: Bool[np.ndarray, "P P"]) -> float:
    """Grey levels that the liveliest place changes by."""
    energy = np.zeros(shared.shape, np.float32)
    energy[shared] = (changes**2).mean(axis=0)
    return float(np.sqrt(cv2.blur(energy, (_LOCAL_PX, _LOCAL_PX)).max()))
