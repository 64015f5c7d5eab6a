"""Folders of media with truth files -> cached head crops, and from them ever new, spoilt pictures with their truth.

What a truth file does not hold (a detector's landmarks come without a pose) is NaN and is not learnt.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int64, UInt8

from data_pipeline.crop import crop_transform, invert, move_points, warp_crop, warp_crop_beyond
from data_pipeline.media import TRUTH_SUFFIX, read_frames
from data_pipeline.progress import track
from data_pipeline.puppets.landmarks import FLIPPED_LANDMARKS
from data_pipeline.records import FLIPPED_POINTS, SPECIES, Species
from data_pipeline.truth import Truth, read_truth
from evaluation.metrics.reader import NUM_LANDMARKS, SIDE_PX, VIEW_FRAC
from evaluation.metrics.signals import signals_of

CACHE_PX, MARGIN = 176, 1.2
"""Side of a cached crop, and its size relative to the square that is framed like ours: room to turn and shift in."""
MEDIA_SUFFIXES = (".mp4", ".jpg", ".png")


class Lessons(NamedTuple):
    """N pictures with what is known about them; places in pixels of the picture."""

    image: UInt8[np.ndarray, "N S S 3"]
    species: Int64[np.ndarray, " N"]
    pose_deg: Float32[np.ndarray, "N 3"]
    openings: Float32[np.ndarray, "N 3"]
    landmarks: Float32[np.ndarray, "N 70 2"]
    points: Float32[np.ndarray, "N 5 2"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthFile:
    """One media file and its truth."""

    media: Path
    truth: Path
    species: Species
    identity: str


def find_truth(folders: Sequence[Path]) -> list[TruthFile]:
    """All media with truth below the folders, in the order of their names.

    Raises:
        ValueError: a folder is missing or holds none.
    """
    found: list[TruthFile] = []
    for folder in folders:
        before = len(found)
        for path in sorted(folder.rglob(f"*{TRUTH_SUFFIX}")):
            stem = path.name.removesuffix(TRUTH_SUFFIX)
            media = [path.with_name(stem + suffix) for suffix in MEDIA_SUFFIXES]
            for one in (one for one in media if one.is_file()):
                with np.load(path, allow_pickle=False) as stored:
                    species, identity = str(stored["species"]), str(stored["identity"])
                # Equal names in two folders are two puppets, unless the folders were made by one seed.
                found.append(TruthFile(media=one, truth=path, species=species, identity=f"{folder.name}/{identity}"))  # pyright: ignore[reportArgumentType]
        if len(found) == before:
            raise ValueError(f"{folder} holds no media with {TRUTH_SUFFIX} beside them; make some with lp-puppets")
    return found


def parted(files: Sequence[TruthFile], held_out: int) -> tuple[list[TruthFile], list[TruthFile]]:
    """Files to learn from, and those of the last `held_out` identities of each folder and species."""
    groups: dict[tuple[str, str], set[str]] = {}
    for file in files:
        groups.setdefault((file.identity.split("/")[0], file.species), set()).add(file.identity)
    last = {one for names in groups.values() for one in sorted(names)[len(names) - min(held_out, len(names) - 1) :]}
    return [f for f in files if f.identity not in last], [f for f in files if f.identity in last]


def read_clip(file: TruthFile, side_px: int, margin: float, every: int = 1, limit: int | None = None) -> Lessons:
    """Crops of a file's frames by one square for all of them, as the evaluation lays it, `margin` times as large.

    A photo is not turned upright when it is read to measure (margin 1): its roll would be known to be 0.
    """
    truth = read_truth(file.truth)
    if "points" not in truth.arrays:
        raise ValueError(f"{file.truth} has no five points; make it again")
    points, num_frames = np.median(truth.arrays["points"], axis=0), len(truth.arrays["points"])
    is_turned = num_frames > 1 or margin > 1
    square = widened(crop_transform(points, file.species, side_px, rotate=is_turned), side_px, margin)
    index = list(range(0, num_frames, every))[:limit]
    wanted = set(index)
    frames = (frame for i, frame in enumerate(read_frames(file.media)) if i in wanted)
    # To learn from, the picture goes on as its mirror image: the tilt of an edge would give the roll away.
    mirrored = partial(warp_crop_beyond, border=cv2.BORDER_REFLECT_101)
    image = [(mirrored if margin > 1 else warp_crop)(frame, square, side_px) for frame in frames]
    if len(image) != len(index):
        raise ValueError(f"{file.media} has fewer frames than {file.truth}; make both again")
    return _lessons(np.stack(image), truth, square, np.array(index))


def _lessons(image: np.ndarray, truth: Truth, square: np.ndarray, index: np.ndarray) -> Lessons:
    count, from_source = len(index), invert(square)
    known = {name: values[index] for name, values in truth.arrays.items() if len(values) > int(index.max())}
    signals = signals_of(known, square)
    columns = np.full((count, 6), np.nan, np.float32) if signals is None else np.stack(signals, axis=1)
    if np.isnan(columns[:, :3]).all():  # real media: no pose is known, but the eyes' line shows most of the roll
        columns[:, 2] = roll_of_eyes(move_points(from_source, known["points"].astype(np.float32)))
    marks = known.get("landmarks", np.full((count, NUM_LANDMARKS, 2), np.nan, np.float32))
    species = np.full(count, SPECIES.index(truth.species))
    moved = (move_points(from_source, part.astype(np.float32)) for part in (marks, known["points"]))
    return Lessons(image, species, columns[:, :3], columns[:, 3:], *moved)


def roll_of_eyes(points: Float32[np.ndarray, "*T 5 2"]) -> Float32[np.ndarray, "*T"]:
    """Degrees by which the line of the eyes is turned, clockwise on the screen."""
    across = points[..., 1, :] - points[..., 0, :]
    return np.degrees(np.arctan2(across[..., 1], across[..., 0])).astype(np.float32)


def widened(square: Float32[np.ndarray, "2 3"], side_px: int, margin: float) -> Float32[np.ndarray, "2 3"]:
    """A square of the same pixels a side that shows `margin` times as much around the same centre."""
    centre = square @ np.array([side_px / 2, side_px / 2, 1])
    return _square_around(centre, square[:, :2] * margin, side_px)


def _square_around(
    centre: Float[np.ndarray, "2"], linear: Float[np.ndarray, "2 2"], side_px: int
) -> Float32[np.ndarray, "2 3"]:
    """Crop pixels -> picture pixels, the crop's middle on a place of the picture."""
    return np.concatenate([linear, (centre - linear @ np.full(2, side_px / 2))[:, None]], axis=1).astype(np.float32)


def read_lessons(files: Sequence[TruthFile], every: int, what: str) -> Lessons:
    """Cached crops of all files; of clips every so many-th frame."""
    parts = [read_clip(file, CACHE_PX, MARGIN, every) for file in track(files, len(files), what, "files")]
    return Lessons(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def drawn(lessons: Lessons, rows: Sequence[int] | np.ndarray, rng: np.random.Generator) -> Lessons:
    """Some lessons, each framed, mirrored, coloured and spoilt anew, at the reader's side."""
    made = [_varied(lessons, int(row), rng) for row in rows]
    return Lessons(*(np.stack(column) for column in zip(*made, strict=True)))


def _varied(lessons: Lessons, row: int, rng: np.random.Generator) -> tuple[np.ndarray | np.integer, ...]:
    angle = rng.normal(0, 7) if rng.random() < 0.7 else rng.uniform(-25, 25)
    zoom = VIEW_FRAC / MARGIN * CACHE_PX / SIDE_PX * np.exp(rng.normal(0, 0.1))
    cos, sin = np.cos(np.radians(angle)) * zoom, np.sin(np.radians(angle)) * zoom
    linear = np.array([[cos, -sin], [sin, cos]])
    centre = np.full(2, CACHE_PX / 2) + rng.normal(0, 0.04, 2) * CACHE_PX
    square = _square_around(centre, linear, SIDE_PX)
    image = _framed(lessons.image[row], square, rng)
    pose, openings = lessons.pose_deg[row].copy(), lessons.openings[row]
    pose[2] -= np.float32(angle)
    from_cache = invert(square)
    marks, points = move_points(from_cache, lessons.landmarks[row]), move_points(from_cache, lessons.points[row])
    if rng.random() < 0.5:
        image = image[:, ::-1]
        pose, openings = pose * np.array([1, -1, -1], np.float32), openings[[1, 0, 2]]
        flip, sign = np.array([SIDE_PX - 1, 0], np.float32), np.array([-1, 1], np.float32)
        marks, points = (flip + sign * marks)[FLIPPED_LANDMARKS], (flip + sign * points)[list(FLIPPED_POINTS)]
    return spoilt(np.ascontiguousarray(image), rng), lessons.species[row], pose, openings, marks, points


def _framed(
    cached: UInt8[np.ndarray, "S S 3"], square: Float32[np.ndarray, "2 3"], rng: np.random.Generator
) -> np.ndarray:
    """The square, often with a black edge as crops beside a picture's border have, in any direction.

    The direction must not tell how the head is turned: else the network would read the edge instead of the head.
    """
    way = cv2.BORDER_REFLECT_101 if rng.random() < 0.7 else cv2.BORDER_REPLICATE
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    image = cv2.warpAffine(cached, square, (SIDE_PX,) * 2, flags=flags, borderMode=way)
    for _ in range(rng.integers(0, 4)):
        angle, off = rng.uniform(0, 2 * np.pi), SIDE_PX * rng.uniform(0.36, 0.6)
        across = np.arange(SIDE_PX, dtype=np.float32) - SIDE_PX / 2
        image[across[None] * np.cos(angle) + across[:, None] * np.sin(angle) > off] = 0
    return image


def spoilt(image: UInt8[np.ndarray, "S S 3"], rng: np.random.Generator) -> UInt8[np.ndarray, "S S 3"]:
    """Other light and colours, blur, noise and compression: what cameras, codecs and generators do to a face."""
    for change in _changes(rng):
        image = change(image)
    return image


def _changes(rng: np.random.Generator) -> Iterator:
    if rng.random() < 0.15:
        yield lambda x: _covered(x, rng)
    if rng.random() < 0.35:
        small = int(SIDE_PX * rng.uniform(0.4, 0.9))
        yield lambda x: cv2.resize(cv2.resize(x, (small, small), interpolation=cv2.INTER_AREA), (SIDE_PX, SIDE_PX))
    if rng.random() < 0.3:
        yield lambda x: cv2.GaussianBlur(x, (0, 0), rng.uniform(0.3, 1.4))
    if rng.random() < 0.15:
        yield lambda x: cv2.addWeighted(x, 1.8, cv2.GaussianBlur(x, (0, 0), 1.5), -0.8, 0)
    yield lambda x: _coloured(x, rng)
    if rng.random() < 0.35:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 95))]
        yield lambda x: cv2.imdecode(cv2.imencode(".jpg", x, quality)[1], cv2.IMREAD_COLOR)


def _coloured(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gain of each channel, gamma, contrast, saturation, a slope of light and noise, in one pass over floats."""
    x = image.astype(np.float32) / 255
    x = np.power(x, np.float32(np.exp(rng.normal(0, 0.25))))
    grey = x.mean(axis=2, keepdims=True)
    x = grey + (x - grey) * np.float32(rng.uniform(0, 1.5))
    slope = np.linspace(-1, 1, SIDE_PX, dtype=np.float32) * np.float32(rng.normal(0, 0.15))
    light = 1 + (slope[None, :, None] if rng.random() < 0.5 else slope[:, None, None])
    gain = np.exp(rng.normal(0, 0.12, 3) + rng.normal(0, 0.15)).astype(np.float32)
    x = (x - 0.5) * light * gain * np.float32(np.exp(rng.normal(0, 0.2))) + np.float32(0.5 + rng.normal(0, 0.06))
    if rng.random() < 0.4:
        x += rng.standard_normal(x.shape, np.float32) * np.float32(rng.uniform(0, 0.05))
    return (x.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _covered(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    covered = image.copy()
    low = rng.integers(0, SIDE_PX - 16, 2)
    high = low + rng.integers(8, SIDE_PX // 4, 2)
    covered[low[0] : high[0], low[1] : high[1]] = rng.integers(0, 256, 3)
    return covered
