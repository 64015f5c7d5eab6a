"""A folder of photos and videos, or a list of them -> clips cropped around the head that is found in each."""

import csv
import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from data_pipeline.crop import crop_transform, invert, move_points, warp_crop
from data_pipeline.media import MediaError, probe, read_frames
from data_pipeline.records import SPECIES, Detection, MediaItem, Species
from data_pipeline.truth import read_truth
from evaluation.clips import Clip, ClipFrames, frames_at, hash_files, load_annotated
from evaluation.source import HeadFinder

VIDEO_SUFFIXES = (".mp4", ".mov", ".webm", ".mkv", ".avi", ".m4v")
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
LOOKS = 12
"""Frames of a clip in which the head is looked for; their median lays the square, as in curation."""
LOOK_EVERY = 10
"""The same, for files that do not say how many frames they have."""
FEWEST_FOUND_FRAC = 0.5
"""Frames in which the head must be found before points between them are filled in."""
BATCH_FRAMES = 8
LIST_COLUMNS = ("source", "driver", "species", "driver_species")

_log = logging.getLogger(__name__)


class ListedPair(NamedTuple):
    """One line of a media list."""

    source: Clip
    driver: Clip | None


class Looked(NamedTuple):
    """What was seen in a medium."""

    species: Species
    points: Float32[np.ndarray, "5 2"]
    """Median over the frames that were looked at, in pixels of the file."""
    num_frames: int


def media_clips(folder: Path, side_px: int, detector: HeadFinder | None, *, stills: bool) -> list[Clip]:
    """Every video, and with `stills` every photo, in which a head is found; files that cannot be read are logged.

    Raises:
        ValueError: heads must be found and there is no detector.
    """
    suffixes = VIDEO_SUFFIXES + (PHOTO_SUFFIXES if stills else ())
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in suffixes and path.is_file()]
    clips = []
    for path in paths:
        key = path.relative_to(folder).with_suffix("").as_posix()
        try:
            clip = media_clip(path, key, side_px, detector)
        except MediaError as error:
            _log.warning("left out: %s", error)
            continue
        if clip is None:
            _log.warning("left out: %s shows no head that the detector finds", path)
        else:
            clips.append(clip)
    return clips


def media_clip(
    path: Path, key: str, side_px: int, detector: HeadFinder | None, species: Species | None = None
) -> Clip | None:
    """One photo or video; None when no head is found in it.

    Args:
        path: a truth file beside it replaces the detector.
        key: names the clip.
        side_px: side of the crop.
        detector: finds the head.
        species: what it shows, when that is known.

    Raises:
        MediaError: the file cannot be read.
        ValueError: it has no truth file and there is no detector.
    """
    item = probe(path)
    if item.truth_path is not None:
        truth = read_truth(item.truth_path)
        if "points" not in truth.arrays:
            raise ValueError(f"{item.truth_path} holds no points; make it again or remove it")
        return Clip(
            key=key, species=truth.species, identity=truth.identity, performance=truth.performance, start=0,
            num_frames=len(truth.arrays["points"]), fps=item.fps,
            load=partial(load_annotated, path, truth.species, side_px), hashed=partial(hash_files, path),
        )  # fmt: skip
    if detector is None:
        raise ValueError(f"{path} is plain media, in which the head must be found; give detector=starter")
    looked = _look(item, detector, species)
    if looked is None:
        return None
    return Clip(
        key=key, species=looked.species, identity=item.source_id, performance="", start=0,
        num_frames=looked.num_frames, fps=item.fps,
        load=partial(_load_detected, path, looked, side_px, detector), hashed=partial(hash_files, path),
    )  # fmt: skip


def listed_pairs(path: Path, side_px: int, detector: HeadFinder | None) -> list[ListedPair]:
    """A CSV with the columns source, driver and perhaps species and driver_species -> its pairs, in its order.

    Files are relative to the list. A driver may be left empty where a protocol needs none.

    Raises:
        ValueError: a column, a file or a head is missing; the message names the list and the line.
    """
    known: dict[tuple[str, str], Clip] = {}

    def clip_of(name: str, species: str, line: int) -> Clip:
        if (name, species) not in known:
            try:
                clip = media_clip(path.parent / name, name, side_px, detector, _species(species))
            except ValueError as error:
                raise ValueError(f"{path} line {line}: {error}") from error
            if clip is None:
                raise ValueError(f"{path} line {line}: no head is found in {name}; take the line out")
            known[name, species] = clip
        return known[name, species]

    pairs = []
    for line, row in _rows(path):
        if not row["source"]:
            raise ValueError(f"{path} line {line}: the source is empty; give a photo or a video")
        driver = clip_of(row["driver"], row["driver_species"], line) if row["driver"] else None
        pairs.append(ListedPair(clip_of(row["source"], row["species"], line), driver))
    if not pairs:
        raise ValueError(f"{path} lists no pair; give at least one line after the first")
    return pairs


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = reader.fieldnames or []
            unknown = [name for name in names if name not in LIST_COLUMNS]
            if "source" not in names or unknown:
                raise ValueError(
                    f"{path}: the first line of a media list must be source,driver with species,driver_species if "
                    f"wanted, not {','.join(names)[:60]!r}"
                )
            for row in reader:
                yield reader.line_num, {name: (row.get(name) or "").strip() for name in LIST_COLUMNS}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as a media list ({error}); save it as a CSV in UTF-8") from error


def _species(name: str) -> Species | None:
    if name and name not in SPECIES:
        raise ValueError(f"the species {name!r} is unknown; choose one of {', '.join(SPECIES)}")
    return next((one for one in SPECIES if one == name), None)


def _look(item: MediaItem, detector: HeadFinder, species: Species | None) -> Looked | None:
    every = max(1, item.num_frames // LOOKS) if item.num_frames else LOOK_EVERY
    heads: list[Detection] = []
    count = 0
    for frame in read_frames(item.path):
        if count % every == 0 and (found := detector([frame])[0]):
            fitting = [head for head in found if species in (None, head.species)] or found
            heads.append(max(fitting, key=lambda head: head.score))
        count += 1
    if not heads:
        return None
    names = [head.species for head in heads]
    seen = max(SPECIES, key=names.count)
    points = np.median([head.points_xy for head in heads if head.species == seen], axis=0).astype(np.float32)
    return Looked(species or seen, points, count)


def _load_detected(
    path: Path, looked: Looked, side_px: int, detector: HeadFinder, positions: Sequence[int] | None = None
) -> ClipFrames:
    square = crop_transform(looked.points, looked.species, side_px)
    index = range(looked.num_frames) if positions is None else positions
    frames = np.stack([warp_crop(frame, square, side_px) for frame in frames_at(path, index)])
    if looked.num_frames == 1:
        return ClipFrames(frames, move_points(invert(square), looked.points)[None], None)
    return ClipFrames(frames, points_in(frames, detector, looked.species), None)


def points_in(
    frames: UInt8[np.ndarray, "T S S 3"], detector: HeadFinder, species: Species
) -> Float32[np.ndarray, "T 5 2"] | None:
    """The five points as the detector sees them, filled in over time; None when it misses most frames."""
    found: list[list[Detection]] = []
    for start in range(0, len(frames), BATCH_FRAMES):
        found += detector(list(frames[start : start + BATCH_FRAMES]))
    points = np.full((len(frames), 5, 2), np.nan, np.float32)
    for row, heads in zip(points, found, strict=True):
        if heads:
            fitting = [head for head in heads if head.species == species] or heads
            row[:] = max(fitting, key=lambda head: head.score).points_xy
    seen = np.isfinite(points).all(axis=(1, 2))
    if seen.mean() < FEWEST_FOUND_FRAC:
        return None
    times, flat = np.arange(len(frames)), points.reshape(len(frames), -1)
    filled = [np.interp(times, times[seen], column[seen]) for column in flat.T]
    return np.stack(filled, axis=1).reshape(points.shape).astype(np.float32)
