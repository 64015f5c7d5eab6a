"""A folder of shards, of puppets, or of media -> cropped clips with what is known about them, read one at a time."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from data_pipeline.crop import crop_transform, invert, move_points, warp_crop, warp_labels
from data_pipeline.media import read_frames
from data_pipeline.records import SPECIES, Species
from data_pipeline.shards import from_members, read_manifest, read_tar
from evaluation.source import HeadFinder

VIDEO_SUFFIXES = (".mp4", ".mov", ".webm", ".mkv", ".avi", ".m4v")
LOOKS = 12
"""Frames of a raw clip in which the head is looked for; their median lays the square, as in curation."""


class ClipFrames(NamedTuple):
    """The pixels of a clip and its exact annotations, in crop pixels."""

    frames: UInt8[np.ndarray, "T S S 3"]
    points: Float32[np.ndarray, "T 5 2"] | None
    labels: UInt8[np.ndarray, "T S S"] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One cropped clip; pixels are read by `load`."""

    key: str
    species: Species
    identity: str
    performance: str
    """Names the motion, when others perform the same; empty otherwise."""
    start: int
    """Native number of the first frame."""
    num_frames: int
    fps: float
    load: Callable[[], ClipFrames]

    @property
    def stop(self) -> int:
        """One past the native number of the last frame."""
        return self.start + self.num_frames


def find_clips(
    folder: Path, *, split: str = "all", side_px: int = 256, detector: HeadFinder | None = None
) -> list[Clip]:
    """The videos of a folder, sorted by key. What kind of folder it is shows in its manifest.json.

    Args:
        folder: shards of lp-curate, a set of lp-puppets, or a folder of videos.
        split: train, val, test or all; puppet sets and plain folders know no splits.
        side_px: side of crops that are cut here (shards have their own).
        detector: finds heads in plain videos.

    Raises:
        ValueError: there is no such folder or nothing in it that could be evaluated.
    """
    if not folder.is_dir():
        raise ValueError(f"data={folder} is not a folder; give shards, a puppet set or a folder of videos")
    manifest = _manifest(folder)
    if "shards" in manifest:
        clips = _shard_clips(folder, split)
    elif "files" in manifest:
        clips = _puppet_clips(folder, manifest, side_px)
    else:
        clips = _video_clips(folder, side_px, detector)
    if not clips:
        raise ValueError(f"data={folder} holds no clip (split={split}); evaluation needs videos of at least two frames")
    return sorted(clips, key=lambda clip: clip.key)


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    try:
        found = json.loads(path.read_text()) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}); make the folder again") from error
    return found if isinstance(found, dict) else {}


def _shard_clips(folder: Path, split: str) -> list[Clip]:
    clips = []
    shards = [folder / shard["name"] for shard in read_manifest(folder)["shards"]]
    wanted = [path for path in shards if split == "all" or path.name.startswith(f"{split}-")]
    if not wanted:
        splits = sorted({path.name.rsplit("-", 1)[0] for path in shards})
        raise ValueError(f"data={folder} has no split {split!r}; choose one of {', '.join([*splits, 'all'])}")
    for path in wanted:
        for key, members in read_tar(path):
            record = json.loads(members["json"])
            if record["kind"] == "video" and record["num_frames"] > 1:
                clips.append(
                    Clip(
                        key=key, species=record["species"], identity=record["identity"],
                        performance=record.get("performance", ""), start=record["start"],
                        num_frames=record["num_frames"], fps=record["fps"], load=partial(_load_sample, path, key),
                    )
                )  # fmt: skip
    return clips


def _load_sample(path: Path, key: str) -> ClipFrames:
    members = next(found for name, found in read_tar(path) if name == key)
    sample = from_members(members)
    return ClipFrames(sample.frames, sample.points, sample.truth.get("labels"))


def _puppet_clips(folder: Path, manifest: dict[str, Any], side_px: int) -> list[Clip]:
    return [
        Clip(
            key=str(Path(entry["path"]).with_suffix("")), species=entry["species"], identity=entry["identity"],
            performance=entry["performance"], start=0, num_frames=entry["frames"],
            fps=float(manifest.get("config", {}).get("fps", 25.0)),
            load=partial(_load_puppet, folder / entry["path"], entry["species"], side_px),
        )
        for entry in manifest["files"]
        if entry["kind"] == "video" and entry["frames"] > 1
    ]  # fmt: skip


def _load_puppet(path: Path, species: Species, side_px: int) -> ClipFrames:
    points = _array(path.with_suffix(".truth.npz"), "points")
    if points is None:
        raise ValueError(f"{path} has no {path.stem}.truth.npz beside it; make the puppets again with lp-puppets")
    square = crop_transform(np.median(points, axis=0).astype(np.float32), species, side_px)
    frames = np.stack([warp_crop(frame, square, side_px) for frame in read_frames(path)])
    labels = _array(path.with_suffix(".masks.npz"), "labels")
    if labels is not None:
        labels = np.stack([warp_labels(one, square, side_px) for one in labels])
    return ClipFrames(frames, move_points(invert(square), points), labels)


def _array(path: Path, name: str) -> np.ndarray | None:
    if not path.exists():
        return None
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
        return stored[name]


def _video_clips(folder: Path, side_px: int, detector: HeadFinder | None) -> list[Clip]:
    from data_pipeline.media import probe

    paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in VIDEO_SUFFIXES]
    if paths and detector is None:
        raise ValueError(f"data={folder} holds plain videos, whose heads must be found; give detector=starter")
    clips = []
    for path in paths:
        item = probe(path)
        found = _median_head(path, item.num_frames, detector) if detector else None
        if found is None:
            continue
        species, points = found
        clips.append(
            Clip(
                key=path.relative_to(folder).with_suffix("").as_posix(), species=species, identity=item.source_id,
                performance="", start=0, num_frames=item.num_frames, fps=item.fps,
                load=partial(_load_video, path, species, points, side_px),
            )
        )  # fmt: skip
    return clips


def _median_head(path: Path, num_frames: int, detector: HeadFinder) -> tuple[Species, np.ndarray] | None:
    every = max(1, num_frames // LOOKS)
    heads = [
        max(found, key=lambda head: head.score)
        for found in detector([frame for i, frame in enumerate(read_frames(path)) if i % every == 0])
        if found
    ]
    if not heads:
        return None
    names = [head.species for head in heads]
    species = max(SPECIES, key=names.count)
    return species, np.median([head.points_xy for head in heads if head.species == species], axis=0).astype(np.float32)


def _load_video(path: Path, species: Species, points: np.ndarray, side_px: int) -> ClipFrames:
    square = crop_transform(points, species, side_px)
    return ClipFrames(np.stack([warp_crop(frame, square, side_px) for frame in read_frames(path)]), None, None)


def every_nth(count: int, limit: int | None) -> range:
    """Positions of at most `limit` of `count` frames, evenly over the whole, the first one always in it."""
    return range(0, count, 1 if limit is None else max(1, -(-count // limit)))


def kept(frames: ClipFrames, positions: Sequence[int]) -> ClipFrames:
    """Some frames of a clip."""
    index = list(positions)
    points, labels = (None if part is None else part[index] for part in (frames.points, frames.labels))
    return ClipFrames(frames.frames[index], points, labels)


def by_performance(clips: Sequence[Clip]) -> list[list[Clip]]:
    """Clips grouped by what is performed, in order of names; clips without a performance are left out."""
    groups: dict[str, list[Clip]] = {}
    for clip in clips:
        if clip.performance:
            groups.setdefault(clip.performance, []).append(clip)
    return [groups[name] for name in sorted(groups)]
