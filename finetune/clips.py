"""Webdataset shards -> clips in memory: JPEG frames, points and truth, ready to be drawn from at random.

A clip is decoded once, in order (random access into a video costs a whole group of pictures), and kept as JPEG frames:
a tenth of the raw pixels, read back in less than a millisecond.
"""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from data_pipeline.progress import track
from data_pipeline.records import SPECIES, MediaKind, Split
from data_pipeline.video import read_frames

NUM_LANDMARKS = 70
"""The 68 of the usual layout and the two iris centres (docs/puppets.md)."""
TRUTH_ARRAYS = ("landmarks", "landmark_visible", "eye_open", "lip_open", "pose_deg")
JPEG_QUALITY = 95
BYTES_PER_PIXEL = 0.5
"""What a JPEG frame takes in memory, for planning."""


class ShardError(ValueError):
    """Shards cannot be read; the message says which and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One sample of a shard. Points and landmarks are fractions of the crop's side."""

    key: str
    split: Split
    species: int
    """Position in SPECIES."""
    kind: MediaKind
    start: int
    """Native number of the first frame kept."""
    stride: int
    """Native frames between kept frames."""
    identity: str
    performance: str
    points: Float32[np.ndarray, "T 5 2"]
    frames: tuple[bytes, ...]
    truth: dict[str, np.ndarray]
    """Arrays over frames as in TRUTH_ARRAYS; empty for real media."""
    labels: tuple[bytes, ...] = ()
    """PNG label maps (0 background, 1 shoulders, 2 head, 3 eyes, 4 lips), if there are and they were asked for."""

    @property
    def num_frames(self) -> int:
        """Frames kept."""
        return len(self.frames)

    @property
    def num_bytes(self) -> int:
        """Memory of pictures and labels."""
        return sum(map(len, self.frames)) + sum(map(len, self.labels))

    def image(self, index: int) -> UInt8[np.ndarray, "S S 3"]:
        """One frame, RGB."""
        import cv2

        decoded = cv2.imdecode(np.frombuffer(self.frames[index], np.uint8), cv2.IMREAD_COLOR)
        if decoded is None:
            raise ShardError(f"sample {self.key}: its picture cannot be decoded; run lp-curate again")
        return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)

    def label_map(self, index: int) -> UInt8[np.ndarray, "S S"] | None:
        """The label map of one frame, or None."""
        import cv2

        if not self.labels:
            return None
        decoded = cv2.imdecode(np.frombuffer(self.labels[index], np.uint8), cv2.IMREAD_GRAYSCALE)
        return None if decoded is None else decoded.astype(np.uint8)


def find_shards(folder: Path, split: Split) -> list[Path]:
    """The tar files of one split, sorted.

    Raises:
        ShardError: the folder is missing or has no shards of the split.
    """
    if not folder.is_dir():
        raise ShardError(f"data.shards={folder} is not a folder; give the folder that lp-curate wrote")
    shards = sorted(folder.glob(f"{split}-*.tar"))
    if not shards:
        raise ShardError(
            f"{folder} has no {split}-*.tar; give the folder that lp-curate wrote (make one with lp-curate "
            "source.path=MEDIA out=FOLDER)"
        )
    if empty := [path for path in shards if path.stat().st_size == 0]:
        raise ShardError(f"{empty[0]} is empty; run lp-curate again")
    return shards


def read_members(shards: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Raw members of each sample, in order, by webdataset; nothing is decoded, so nothing is unpickled.

    Its whole pipeline is not used: it leaves files open, and splits shards between processes, while here every process
    draws rows from the same clips.
    """
    from webdataset.tariterators import group_by_keys, tar_file_expander

    for path in shards:

        def stop(error: Exception, path: Path = path) -> bool:
            raise ShardError(f"{path} is damaged ({' '.join(str(error).split())[:80]}); run lp-curate again") from error

        with path.open("rb") as stream:
            yield from group_by_keys(
                tar_file_expander([{"url": str(path), "stream": stream}], handler=stop), handler=stop
            )


def to_clip(members: dict[str, Any], stride: int, with_labels: bool) -> Clip:
    """The members of one sample -> a clip; every `stride`-th native frame of a video is kept.

    Raises:
        ShardError: a member is missing or does not fit the others.
    """
    key = members["__key__"]
    try:
        card = json.loads(members["json"])
        side, start, kind = float(card["side_px"]), int(card["start"]), card["kind"]
        points = np.asarray(card["points"], np.float32).reshape(-1, 5, 2) / side
        species = SPECIES.index(card["species"])
    except (KeyError, ValueError, TypeError) as error:
        raise ShardError(f"sample {key}: its json member does not fit ({error!r}); run lp-curate again") from error
    # Kept frames have native numbers divisible by the stride, so that clips of one performance stay aligned.
    first = -start % stride if kind == "video" and len(points) > stride else 0
    keep = range(first, len(points), stride if kind == "video" else 1)
    frames = (bytes(members["jpg"]),) if kind == "image" else tuple(_video_jpegs(key, members, len(points), keep))
    truth, labels = _truth(key, members, side, len(points), keep, with_labels)
    return Clip(
        key=key, split=card["split"], species=species, kind=kind, start=start + first, stride=keep.step,
        identity=str(card.get("identity", "")), performance=str(card.get("performance", "")),
        points=points[list(keep)], frames=frames, truth=truth, labels=labels,
    )  # fmt: skip


def _video_jpegs(key: str, members: dict[str, Any], num_frames: int, keep: range) -> Iterator[bytes]:
    if "mp4" not in members:
        raise ShardError(f"sample {key}: a video without an mp4 member; run lp-curate again")
    found = 0
    for found, frame in enumerate(read_frames(members["mp4"]), start=1):
        if found - 1 in keep:
            yield encode_jpeg(frame)
    if found < num_frames:
        raise ShardError(f"sample {key}: {found} frames in the video, {num_frames} in its json; run lp-curate again")


def encode_jpeg(image: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """RGB -> JPEG without chroma subsampling losses that would show in eyes."""
    import cv2

    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def _truth(
    key: str, members: dict[str, Any], side: float, num_frames: int, keep: range, with_labels: bool
) -> tuple[dict[str, np.ndarray], tuple[bytes, ...]]:
    if "truth.npz" not in members:
        return {}, ()
    import cv2

    with np.load(io.BytesIO(members["truth.npz"]), allow_pickle=False) as file:
        arrays = {name: file[name] for name in TRUTH_ARRAYS if name in file.files}
        raw_labels = file["labels"] if with_labels and "labels" in file.files else None
    if set(TRUTH_ARRAYS) - arrays.keys():
        return {}, ()
    if any(len(array) < num_frames for array in arrays.values()) or arrays["landmarks"].shape[1] != NUM_LANDMARKS:
        raise ShardError(f"sample {key}: its truth does not cover {num_frames} frames of {NUM_LANDMARKS} landmarks")
    truth = {name: array[list(keep)] for name, array in arrays.items()}
    truth["landmarks"] = (truth["landmarks"] / side).astype(np.float32)
    labels = () if raw_labels is None else tuple(cv2.imencode(".png", raw_labels[i])[1].tobytes() for i in keep)
    return truth, labels


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPool:
    """Shards -> the clips of one split, read once, as many as fit into `cache_gb`.

    The order of clips is the order of the shards; what does not fit is left out and said.
    """

    shards: Path
    split: Split = "train"
    frame_stride: int = 1
    """Keep every n-th native frame of videos: neighbouring frames teach little and cost memory."""
    cache_gb: float = 4.0
    with_labels: bool = False

    def __call__(self) -> list[Clip]:
        """Read the clips.

        Raises:
            ShardError: no shards, damaged shards, or nothing of the split in them.
        """
        paths = find_shards(self.shards, self.split)
        clips: list[Clip] = []
        room = self.cache_gb * 1e9
        total = _count(self.shards, self.split)
        for members in track(read_members(paths), total, f"reading {self.split} shards", "samples"):
            clip = to_clip(members, self.frame_stride, self.with_labels)
            room -= clip.num_bytes
            if room < 0 and clips:
                left = f" of {total}" if total else ""
                _say(
                    f"data: {len(clips)}{left} samples fill data.cache_gb={self.cache_gb:g}; the rest is left out "
                    "(raise it, or keep fewer frames with data.frame_stride)"
                )
                break
            clips.append(clip)
        if not clips:
            raise ShardError(f"the {self.split} shards in {self.shards} hold no samples; curate more media")
        return clips


def _say(line: str) -> None:
    import sys

    print(line, file=sys.stderr, flush=True)  # noqa: T201


def _count(folder: Path, split: str) -> int | None:
    manifest = read_manifest(folder)
    counts = [int(e.get("samples", 0)) for e in manifest.get("shards", []) if str(e.get("name", "")).startswith(split)]
    return sum(counts) or None


def read_manifest(folder: Path) -> dict[str, Any]:
    """The shard folder's manifest.json; empty if there is none or it is damaged."""
    path = folder / "manifest.json"
    try:
        return json.loads(path.read_text()) if path.is_file() else {}
    except ValueError:
        return {}


def has_split(folder: Path, split: Split) -> bool:
    """Whether shards of a split are there."""
    return folder.is_dir() and any(folder.glob(f"{split}-*.tar"))
