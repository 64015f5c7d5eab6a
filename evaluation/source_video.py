"""A source video -> the square of every frame: one head found now and then, followed, and its path smoothed."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32

from data_pipeline import media
from data_pipeline.crop import crop_transform
from data_pipeline.records import Detection, MediaItem, Shot, Species
from data_pipeline.track import TrackLinker
from evaluation.driver import has_audio
from evaluation.engine import chunks
from evaluation.smoothing import PROCESS_VARIANCE, smoothed
from evaluation.source import Choice, HeadFinder, SourceVideo, points_in_box, whole_frame

LOOKS_PER_SECOND = 6
SMOOTHING_S = 1 / 3
"""Over about this time to both sides the square's path is averaged: it follows a turn, not the detector's jitter."""


def open_source_video(
    item: MediaItem,
    side_px: int,
    detector: HeadFinder | None,
    *,
    head: Choice | Literal["all"] = "largest",
    box: Sequence[float | int] | None = None,
    crop: bool = True,
    scale: float | int | None = None,
) -> SourceVideo:
    """Lay a square on every frame of a video.

    Args:
        item: the video.
        side_px: side of the crops, the network's input.
        detector: finds heads; not needed with a box or without cropping.
        head: which head: the one that is largest over the clip, or its number from left to right where it first
            appears.
        box: head box x0,y0,x1,y1 in pixels for all frames, instead of the detector.
        crop: False takes whole frames, squeezed to squares.
        scale: framing; None for the framing of training.

    Raises:
        ValueError: no head is found, there are not that many, or all are asked for.
    """
    if head == "all":
        raise ValueError(f"{item.path.name}: head=all moves the heads of a photo; give largest or a number for a video")
    timing = media.read_timing(item.path)
    fixed: np.ndarray | None = None
    species: Species | None = None
    if not crop:
        fixed = whole_frame(item.height_px, item.width_px, side_px)
    elif box is not None:
        points = points_in_box(box, item.height_px, item.width_px, item.path.name)
        fixed = crop_transform(points, "cat", side_px, scale)
    num_heads = 1
    if fixed is not None:
        count = sum(1 for _ in media.read_steady_frames(item.path, timing))
        squares = np.repeat(fixed[None], count, axis=0)
    else:
        if detector is None:
            raise ValueError(
                f"{item.path.name}: there is no head detector; give source_box=[x0,y0,x1,y1] or source_crop=false"
            )
        every = max(1, round(timing.fps / LOOKS_PER_SECOND))
        found, count = _looked(item, timing, detector, every)
        squares, species, num_heads = _followed(item, found, count, every, head, side_px, scale)
    return SourceVideo(
        path=item.path, name=item.path.name, fps=timing.fps, timing=timing, source_from_crop=squares, species=species,
        num_heads=num_heads, has_audio=has_audio(item.path),
    )  # fmt: skip


def _looked(
    item: MediaItem, timing: media.Timing, detector: HeadFinder, every: int
) -> tuple[list[list[Detection]], int]:
    """Heads of every n-th frame and of the last one, and the number of frames."""
    count = 0

    def wanted() -> Iterator[np.ndarray]:
        nonlocal count
        frame = None
        for frame in media.read_steady_frames(item.path, timing):
            if count % every == 0:
                yield frame
            count += 1
        if frame is not None and (count - 1) % every:
            yield frame

    found = [heads for chunk in chunks(wanted(), 4) for heads in detector(chunk)]
    return [[replace(d, frame=min(i * every, count - 1)) for d in heads] for i, heads in enumerate(found)], count


def _followed(
    item: MediaItem, found: list[list[Detection]], count: int, every: int, head: Choice, side_px: int,
    scale: float | int | None,
) -> tuple[Float32[np.ndarray, "T 2 3"], Species, int]:  # fmt: skip
    """The squares of one head's track, held before its first and after its last sighting."""
    linker = TrackLinker(max_gap_frames=6 * every, min_video_detections=1)
    tracks = linker(Shot(media=item, start=0, stop=count), found)
    if not tracks:
        raise ValueError(f"{item.path.name}: no head found in any frame; give source_box=[x0,y0,x1,y1]")
    if head == "largest":
        track = max(tracks, key=lambda t: float(np.prod(t.boxes[:, 2:] - t.boxes[:, :2], axis=1).sum()))
    elif 0 <= head < len(tracks):
        track = sorted(tracks, key=lambda t: float(t.boxes[0, 0]))[head]
    else:
        known = "1 head was followed; give largest or 0"
        if len(tracks) > 1:
            known = f"{len(tracks)} heads were followed; give largest or 0 to {len(tracks) - 1}"
        raise ValueError(f"{item.path.name}: head={head}, but {known}")
    squares = np.stack([crop_transform(points, track.species, side_px, scale) for points in track.points])
    steady = _steady(squares, side_px, SMOOTHING_S * item.fps)
    index = np.clip(np.arange(count) - int(track.frames[0]), 0, len(steady) - 1)
    return steady[index], track.species, len(tracks)


def _steady(squares: Float32[np.ndarray, "T 2 3"], side_px: int, over_frames: float) -> Float32[np.ndarray, "T 2 3"]:
    """Smooth centre, size and turn of the squares; lengths are measured in the median square's side."""
    middle = squares @ np.array([side_px / 2, side_px / 2, 1.0])
    size = side_px * np.hypot(squares[:, 0, 0], squares[:, 1, 0])
    turn = np.unwrap(np.arctan2(squares[:, 1, 0], squares[:, 0, 0]))
    unit = float(np.median(size))
    values = np.stack([middle[:, 0] / unit, middle[:, 1] / unit, np.log(size / unit), turn], axis=1)
    # A walk's smoother averages over the root of the ratio of its variances. Before the first and after the last frame
    # the path goes on as it came: else the square would lag behind a head that moves there.
    more = math.ceil(4 * over_frames)
    longer = np.pad(values, ((more, more), (0, 0)), mode="reflect", reflect_type="odd")
    calm = smoothed(torch.from_numpy(longer), PROCESS_VARIANCE * over_frames**2).numpy()
    x, y, log_size, turn = calm[more : len(calm) - more].T
    k = np.exp(log_size) * unit / side_px
    cosine, sine = k * np.cos(turn), k * np.sin(turn)
    linear = np.stack([np.stack([cosine, -sine], axis=1), np.stack([sine, cosine], axis=1)], axis=1)
    centre = np.stack([x, y], axis=1) * unit
    offset = centre - linear @ np.full(2, side_px / 2)
    if not math.isfinite(float(offset.sum())):
        raise ValueError("the head's path holds a value that is not a number; give source_box=[x0,y0,x1,y1]")
    return np.concatenate([linear, offset[:, :, None]], axis=2).astype(np.float32)
