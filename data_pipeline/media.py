"""Any file -> `MediaItem` and its frames: what kind it is, how large, how many frames, upright."""

import hashlib
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from data_pipeline import photo, video
from data_pipeline.frame_rate import TimedFrame, Timing, constant_rate
from data_pipeline.records import MediaItem
from data_pipeline.whole_file import shown

TRUTH_SUFFIX = ".truth.npz"
MASKS_SUFFIX = ".masks.npz"
MIN_SIDE_PX = 16
"""Nothing smaller can hold a head that a network could learn from."""


class MediaError(ValueError):
    """A file that is no usable photo or video; the message names it and says why."""


def source_id_of(path: Path) -> str:
    """First 16 hex digits of the sha256 of the file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:16]


def probe(path: Path, *, licence: str = "", origin: str = "", identity: str = "") -> MediaItem:
    """Look into a file: its content decides the kind, never its name.

    Raises:
        MediaError: empty, unreadable, neither photo nor video, or too small or large.
    """
    try:
        if path.stat().st_size == 0:
            raise MediaError(f"{shown(path)} is empty; get a whole copy")
        source_id = source_id_of(path)
        is_photo = photo.is_photo(path)
        info = photo.read_info(path) if is_photo else video.read_info(path)
    except OSError as error:
        raise MediaError(
            f"{shown(path)} cannot be read ({error.strerror or error}); check that it exists and its rights"
        ) from error
    except (photo.PhotoError, video.VideoError) as error:
        raise MediaError(str(error)) from error
    if min(info.height_px, info.width_px) < MIN_SIDE_PX:
        raise MediaError(
            f"{shown(path)} is {info.width_px}x{info.height_px} pixels; at least {MIN_SIDE_PX} a side are needed"
        )
    truth_path = path.with_name(path.name.removesuffix(path.suffix) + TRUTH_SUFFIX)
    is_still = is_photo and info.num_frames == 1
    return MediaItem(
        path=path,
        kind="image" if is_still else "video",
        source_id=source_id,
        num_frames=info.num_frames,
        fps=0.0 if is_still else float(info.fps),
        height_px=info.height_px,
        width_px=info.width_px,
        rotation_deg=info.rotation_deg,
        licence=licence,
        origin=origin,
        identity=identity or source_id,
        truth_path=truth_path if truth_path.exists() else None,
    )


def read_frames(
    path: Path, start: int = 0, stop: int | None = None, *, times_s: video.Times | None = None
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Frames [start, stop) of a photo (one), an animation or a video: upright RGB, one at a time.

    Args:
        path: the file.
        start: the first frame, as `video.read_frames` counts them.
        stop: the frame after the last one; None: to the end.
        times_s: of all frames, from an earlier `read_timed_frames`: lets a far start in a video be found surely.

    Raises:
        MediaError: nothing can be decoded; the message names the file.
    """
    try:
        if photo.is_photo(path):
            animated = photo.read_info(path).num_frames > 1
            frames = photo.read_animation(path) if animated else iter([photo.read_photo(path)])
            yield from islice(frames, start, stop)
        else:
            yield from video.read_frames(path, start, stop, times_s=times_s)
    except (photo.PhotoError, video.VideoError) as error:
        raise MediaError(str(error)) from error


def read_timed_frames(path: Path, start: int = 0, stop: int | None = None) -> Iterator[TimedFrame]:
    """`read_frames` with the time after the first frame at which each is shown; 0 for a photo.

    Raises:
        MediaError: nothing can be decoded; the message names the file.
    """
    try:
        if photo.is_photo(path):
            animated = photo.read_info(path).num_frames > 1
            timed = photo.read_timed_animation(path) if animated else [(Fraction(0), photo.read_photo(path))]
            yield from (TimedFrame(time_s, frame) for time_s, frame in islice(timed, start, stop))
        else:
            yield from video.read_timed_frames(path, start, stop)
    except (photo.PhotoError, video.VideoError) as error:
        raise MediaError(str(error)) from error


def exact_fps(path: Path) -> Fraction:
    """Frame rate as the container states it (30000/1001 stays that); 0 for a still."""
    try:
        return photo.read_info(path).fps if photo.is_photo(path) else video.read_info(path).fps
    except (photo.PhotoError, video.VideoError) as error:
        raise MediaError(str(error)) from error


def read_timing(path: Path) -> Timing:
    """When the frames of a file are shown, and the constant rate at which `read_steady_frames` gives them.

    Raises:
        MediaError: nothing can be read; the message names the file.
    """
    try:
        return photo.read_timing(path) if photo.is_photo(path) else video.read_timing(path)
    except (photo.PhotoError, video.VideoError) as error:
        raise MediaError(str(error)) from error


def read_steady_frames(path: Path, timing: Timing | None = None) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Frames at the constant rate `read_timing(path).fps`, so that an uneven file keeps its real timing.

    A file of constant rate gives what `read_frames` gives; where the rate varies, frames are repeated and dropped.

    Raises:
        MediaError: nothing can be decoded; the message names the file.
    """
    timing = timing or read_timing(path)
    if not timing.is_variable:
        yield from read_frames(path)
        return
    try:
        timed = photo.read_timed_animation(path) if photo.is_photo(path) else video.read_timed_frames(path)
        yield from constant_rate(timed, timing.fps, timing.end_s)
    except (photo.PhotoError, video.VideoError) as error:
        raise MediaError(str(error)) from error
