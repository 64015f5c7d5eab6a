"""A folder of shards, of puppets, or of media -> cropped clips with what is known about them, read one at a time."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from jaxtyping import Float32, UInt8

from data_pipeline.crop import crop_transform, invert, move_points, warp_crop, warp_labels
from data_pipeline.group_tar import read_group, read_groups
from data_pipeline.media import MASKS_SUFFIX, TRUTH_SUFFIX, read_frames
from data_pipeline.records import Species, Split
from data_pipeline.shards import from_members, read_manifest
from evaluation.metrics.signals import Signals, signals_of
from evaluation.pair_folder import read_arrays
from evaluation.source import HeadFinder

SPLITS = (*get_args(Split), "all")


class ClipFrames(NamedTuple):
    """The pixels of a clip and its annotations, in crop pixels."""

    frames: UInt8[np.ndarray, "T S S 3"]
    points: Float32[np.ndarray, "T 5 2"] | None
    labels: UInt8[np.ndarray, "T S S"] | None
    landmarks: Float32[np.ndarray, "T L 2"] | None = None
    openings: Float32[np.ndarray, "T 3"] | None = None
    """Own right eye, own left eye, lips."""
    signals: Signals | None = None
    """Exact motion; None where the pose is not known exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One cropped clip or still; pixels are read by `load`."""

    key: str
    species: Species
    identity: str
    performance: str
    """Names the motion, when others perform the same; empty otherwise."""
    start: int
    """Native number of the first frame."""
    num_frames: int
    """1 for a still."""
    fps: float
    load: Callable[..., ClipFrames]
    """Positions, or nothing for all frames -> these frames."""
    hashed: Callable[[], str]
    """16 hex digits over the bytes of the media and its annotations."""
    split: str = ""
    """Empty where the data know no splits."""

    @property
    def stop(self) -> int:
        """One past the native number of the last frame."""
        return self.start + self.num_frames


def find_clips(
    folder: Path, *, split: str = "all", side_px: int = 256, detector: HeadFinder | None = None, stills: bool = False
) -> list[Clip]:
    """The videos of a folder, sorted by key. What kind of folder it is shows in its manifest.json.

    Args:
        folder: shards of lp-curate, a set of lp-puppets, a folder of media, or a media list (`*.csv`): its sources.
        split: train, val, test or all; puppet sets and plain folders know no splits.
        side_px: side of crops that are cut here (shards have their own).
        detector: finds heads in plain media.
        stills: give photos as well, as clips of one frame.

    Raises:
        ValueError: there is no such folder or nothing in it that could be evaluated.
    """
    from evaluation.media_clips import listed_pairs, media_clips

    if split not in SPLITS:
        raise ValueError(f"protocol.split={split!r} is unknown; choose one of {', '.join(SPLITS)}")
    if folder.is_file() and folder.suffix == ".csv":
        sources = {pair.source.key: pair.source for pair in listed_pairs(folder, side_px, detector)}
        found = list(sources.values())
    elif not folder.is_dir():
        raise ValueError(
            f"data={folder} is not a folder; give shards, a puppet set, a folder of media or a media list (.csv)"
        )
    else:
        manifest = _manifest(folder)
        if "shards" in manifest:
            found = _shard_clips(folder, split)
        elif "files" in manifest:
            found = _puppet_clips(folder, manifest, side_px)
        else:
            found = media_clips(folder, side_px, detector, stills=stills)
    clips = [clip for clip in found if stills or clip.num_frames > 1]
    if not clips:
        wanted = "photos or videos" if stills else "videos of at least two frames"
        raise ValueError(f"data={folder} holds no clip (split={split}); evaluation needs {wanted} that show a head")
    return sorted(clips, key=lambda clip: clip.key)


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
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
        for group in read_groups(path, {"json"}):
            record = json.loads(group.members["json"])
            clips.append(
                Clip(
                    key=group.key, species=record["species"], identity=record["identity"],
                    performance=record.get("performance", ""), start=record["start"],
                    num_frames=record["num_frames"], fps=float(record["fps"]),
                    load=partial(_load_sample, path, group.offset), hashed=partial(_hash_sample, path, group.offset),
                    split=record.get("split", ""),
                )
            )  # fmt: skip
    return clips


def _load_sample(path: Path, offset: int, positions: Sequence[int] | None = None) -> ClipFrames:
    sample = from_members(read_group(path, offset).members)
    arrays = {"points": sample.points} | sample.truth
    clip = annotated(sample.frames, arrays, labels=sample.truth.get("labels"))
    if clip.landmarks is None and sample.landmarks is not None:
        clip = clip._replace(landmarks=sample.landmarks.points)
    return clip if positions is None else kept(clip, positions)


def _hash_sample(path: Path, offset: int) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(read_group(path, offset).members.items()):
        digest.update(f"{name} {len(content)};".encode() + content)
    return digest.hexdigest()[:16]


def _puppet_clips(folder: Path, manifest: dict[str, Any], side_px: int) -> list[Clip]:
    return [
        Clip(
            key=str(Path(entry["path"]).with_suffix("")), species=entry["species"], identity=entry["identity"],
            performance=entry["performance"], start=0, num_frames=entry["frames"],
            fps=float(manifest.get("config", {}).get("fps", 25.0)) if entry["kind"] == "video" else 0.0,
            load=partial(load_annotated, folder / entry["path"], entry["species"], side_px),
            hashed=partial(hash_files, folder / entry["path"]),
        )
        for entry in manifest["files"]
    ]  # fmt: skip


def load_annotated(path: Path, species: Species, side_px: int, positions: Sequence[int] | None = None) -> ClipFrames:
    """A medium with a truth file beside it -> crops with everything the file knows."""
    arrays = _arrays(sidecar(path, TRUTH_SUFFIX))
    if "points" not in arrays:
        raise ValueError(f"{path} has no {path.stem}{TRUTH_SUFFIX} beside it; make the puppets again with lp-puppets")
    square = crop_transform(np.median(arrays["points"], axis=0).astype(np.float32), species, side_px)
    index = list(range(len(arrays["points"])) if positions is None else positions)
    arrays = {name: array[index] for name, array in arrays.items() if array.ndim > 0}
    frames = np.stack([warp_crop(frame, square, side_px) for frame in frames_at(path, index)])
    for name in {"points", "landmarks"} & arrays.keys():
        arrays[name] = move_points(invert(square), arrays[name])
    labels = _arrays(sidecar(path, MASKS_SUFFIX)).get("labels")
    if labels is not None:
        labels = np.stack([warp_labels(labels[i], square, side_px) for i in index])
    return annotated(frames, arrays, labels, square)


def annotated(
    frames: np.ndarray,
    arrays: dict[str, np.ndarray],
    labels: np.ndarray | None,
    square: Float32[np.ndarray, "2 3"] | None = None,
) -> ClipFrames:
    """Frames and the arrays of a truth file, points in crop pixels -> a clip's frames.

    Args:
        frames: the crops.
        arrays: as `truth.npz` names them.
        labels: label maps of the crops.
        square: `source_from_crop`, when the pose is still that of the whole picture.
    """
    openings = None
    if {"eye_open", "lip_open"} <= arrays.keys():
        openings = np.column_stack([arrays["eye_open"], arrays["lip_open"]]).astype(np.float32)
    # Landmarks that a detector read tell openings but no pose, and are not exact.
    signals = signals_of(arrays, square) if "pose_deg" in arrays else None
    points, landmarks = (
        arrays[name].astype(np.float32) if name in arrays else None for name in ("points", "landmarks")
    )
    return ClipFrames(frames, points, labels, landmarks, openings, signals)


def frames_at(path: Path, positions: Sequence[int]) -> Iterable[UInt8[np.ndarray, "H W 3"]]:
    """Some frames of a medium, in rising order; memory holds one.

    Raises:
        ValueError: the file ends before the last one.
    """
    wanted, found = set(positions), 0
    for i, frame in enumerate(read_frames(path, 0, max(wanted) + 1)):
        if i in wanted:
            found += 1
            yield frame
    if found < len(wanted):
        raise ValueError(f"{path} ends before frame {max(wanted)}, which it or its truth file promises; copy it again")


def sidecar(path: Path, suffix: str) -> Path:
    """The annotation file beside a medium."""
    return path.with_name(path.stem + suffix)


def hash_files(path: Path) -> str:
    """16 hex digits over a medium and its annotation files."""
    digest = hashlib.sha256()
    for part in (path, sidecar(path, TRUTH_SUFFIX), sidecar(path, MASKS_SUFFIX)):
        if part.exists():
            with part.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _arrays(path: Path) -> dict[str, np.ndarray]:
    return read_arrays(path) if path.exists() else {}


def every_nth(count: int, limit: int | None) -> range:
    """Positions of at most `limit` of `count` frames, evenly over the whole, the first one always in it."""
    return range(0, count, 1 if limit is None else max(1, -(-count // limit)))


def kept(clip: ClipFrames, positions: Sequence[int]) -> ClipFrames:
    """Some frames of a clip."""
    index = list(positions)
    points, labels, landmarks, openings = (None if part is None else part[index] for part in clip[1:5])
    signals = None if clip.signals is None else Signals(*(part[index] for part in clip.signals))
    return ClipFrames(clip.frames[index], points, labels, landmarks, openings, signals)


def by_performance(clips: Sequence[Clip]) -> list[list[Clip]]:
    """Clips grouped by what is performed, in order of names; clips without a performance are left out."""
    groups: dict[str, list[Clip]] = {}
    for clip in clips:
        if clip.performance:
            groups.setdefault(clip.performance, []).append(clip)
    return [groups[name] for name in sorted(groups)]
