"""A folder of shards -> an index of its samples: what each is and where it lies, without reading a picture."""

import json
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_pipeline.progress import track
from data_pipeline.records import SPECIES, MediaKind, Split
from finetune.clips import LANDMARK_ARRAYS, TRUTH_ARRAYS, ShardError, kept_frames
from finetune.packets import LONGEST_RUN_FRAMES, PacketError, unpack

JPEG_BYTES_PER_PIXEL = 0.5
"""What a JPEG frame takes in memory, for planning."""
TRUTH_BYTES_PER_FRAME = 700
TAR_BLOCK_BYTES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipCard:
    """One sample of a shard, as far as drawing rows needs it."""

    key: str
    shard: int
    """Position in the index's paths."""
    offset: int
    """Where its members begin in the tar, and how many bytes they take."""
    num_bytes: int
    kept_bytes: int
    """About what the clip takes in memory."""
    species: int
    """Position in SPECIES."""
    kind: MediaKind
    has_truth: bool
    start: int
    """Native number of the first frame kept."""
    stride: int
    num_frames: int
    """Frames kept."""
    identity: str
    performance: str

    @property
    def is_video(self) -> bool:
        """Whether two different frames can be drawn."""
        return self.num_frames > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardIndex:
    """The samples of one split, in the order of the shards."""

    paths: tuple[Path, ...]
    cards: tuple[ClipCard, ...]
    frame_stride: int
    with_labels: bool

    @property
    def kept_bytes(self) -> int:
        """Memory that all clips together would take."""
        return sum(card.kept_bytes for card in self.cards)


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


def has_split(folder: Path, split: Split) -> bool:
    """Whether shards of a split are there."""
    return folder.is_dir() and any(folder.glob(f"{split}-*.tar"))


def read_index(folder: Path, split: Split = "train", frame_stride: int = 1, with_labels: bool = False) -> ShardIndex:
    """Read the heads of all tar members and the json ones; pictures are passed over.

    Args:
        folder: what lp-curate wrote.
        split: train, val or test.
        frame_stride: keep every n-th native frame of videos.
        with_labels: whether label maps will be kept too.

    Raises:
        ShardError: no shards, damaged shards, or nothing of the split in them.
    """
    paths = find_shards(folder, split)
    cards: list[ClipCard] = []
    run = 0
    for shard, path in enumerate(track(paths, len(paths), f"indexing {split} shards", "shards")):
        for sample in _samples(path):
            if not run and "mp4" in sample:
                run = _longest_run(path, sample)
            cards.append(_card(path, shard, sample, frame_stride, with_labels, run))
    if not cards:
        raise ShardError(f"the {split} shards in {folder} hold no samples; curate more media")
    return ShardIndex(paths=tuple(paths), cards=tuple(cards), frame_stride=frame_stride, with_labels=with_labels)


def _samples(path: Path) -> Iterator[dict[str, Any]]:
    """Per sample: its key, where its members begin and end, its record, and the members' places by suffix."""
    from webdataset.tariterators import base_plus_ext

    sample: dict[str, Any] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for info in tar:
                key, suffix = base_plus_ext(info.name)
                if not info.isreg() or key is None or suffix is None:
                    continue
                if key != sample.get("key"):
                    if sample:
                        yield sample
                    sample = {"key": key, "offset": info.offset}
                suffix = suffix.lower()
                sample[suffix] = (info.offset_data, info.size)
                sample["end"] = info.offset_data + -(-info.size // TAR_BLOCK_BYTES) * TAR_BLOCK_BYTES
                handle = tar.extractfile(info) if suffix in ("json", "truth.npz") else None
                if handle and suffix == "json":
                    sample["record"] = json.load(handle)
                elif handle:
                    with zipfile.ZipFile(handle) as archive:  # pyright: ignore[reportArgumentType]
                        sample["arrays"] = {name.removesuffix(".npy") for name in archive.namelist()}
                tar.members = []  # pyright: ignore[reportAttributeAccessIssue]  (it would keep all of them)
        if sample:
            yield sample
    except (tarfile.TarError, zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
        if isinstance(error, ShardError):
            raise
        what = " ".join(str(error).split())[:80]
        raise ShardError(f"{path} is damaged ({what}); run lp-curate again") from error


def _longest_run(path: Path, sample: dict[str, Any]) -> int:
    """Frames from key frame to key frame in one video: what one run of lp-curate wrote is alike."""
    offset, size = sample["mp4"]
    with path.open("rb") as stream:
        stream.seek(offset)
        data = stream.read(size)
    try:
        return unpack(data).longest_run
    except PacketError as error:
        raise ShardError(f"{path}: sample {sample['key']}: {error}; run lp-curate again") from error


def _card(
    path: Path, shard: int, sample: dict[str, Any], frame_stride: int, with_labels: bool, run: int
) -> ClipCard:  # fmt: skip
    key = sample["key"]
    try:
        record = sample["record"]
        kind, start, native = record["kind"], int(record["start"]), len(record["points"])
        species, side_px = SPECIES.index(record["species"]), float(record["side_px"])
    except (KeyError, ValueError, TypeError) as error:
        raise ShardError(
            f"{path}: sample {key}: its json member does not fit ({error!r}); run lp-curate again"
        ) from error
    keep = kept_frames(kind, start, native, frame_stride)
    arrays: set[str] = sample.get("arrays", set())
    has_truth, has_landmarks = arrays >= set(TRUTH_ARRAYS), arrays >= set(LANDMARK_ARRAYS)
    picture = sample.get("jpg" if kind == "image" else "mp4", (0, 0))[1]
    if kind == "video" and run == 1:
        picture = picture * len(keep) // max(1, native)
    elif kind == "video" and run > LONGEST_RUN_FRAMES:
        picture = int(side_px**2 * JPEG_BYTES_PER_PIXEL * len(keep))
    truth = TRUTH_BYTES_PER_FRAME * len(keep) if has_landmarks else 0
    if has_landmarks and with_labels:
        truth += sample["truth.npz"][1]
    return ClipCard(
        key=key, shard=shard, offset=sample["offset"], num_bytes=sample["end"] - sample["offset"],
        kept_bytes=picture + truth, species=species, kind=kind, has_truth=has_truth, start=start + keep.start,
        stride=keep.step, num_frames=len(keep), identity=str(record.get("identity", "")),
        performance=str(record.get("performance", "")),
    )  # fmt: skip
