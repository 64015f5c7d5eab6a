"""The members of a shard's sample -> a clip in memory: pictures, points and truth, to be drawn from at random.

Compressed frames are kept as they are where a frame can be had without decoding many others; other videos are decoded
once, in order, and kept as JPEG frames.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from data_pipeline.records import SPECIES, MediaKind, Split
from data_pipeline.video import read_frames
from finetune.packets import LONGEST_RUN_FRAMES, PackedVideo, PacketError, unpack

NUM_LANDMARKS = 70
"""The 68 of the usual layout and the two iris centres (docs/puppets.md)."""
LANDMARK_ARRAYS = ("landmarks", "landmark_visible", "eye_open", "lip_open")
"""What a landmark detector can tell of real media."""
TRUTH_ARRAYS = (*LANDMARK_ARRAYS, "pose_deg")
"""What is known exactly of puppets."""
JPEG_QUALITY = 95


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
    pictures: tuple[bytes, ...] | PackedVideo
    """JPEG frames, or the video's own compressed ones."""
    truth: dict[str, np.ndarray]
    """Arrays over frames as in TRUTH_ARRAYS; without pose_deg where landmarks were read from real media, else empty."""
    labels: tuple[bytes, ...] = ()
    """PNG label maps (0 background, 1 shoulders, 2 head, 3 eyes, 4 lips), if there are and they were asked for."""

    @property
    def is_exact(self) -> bool:
        """Whether all of the truth is known, as of puppets."""
        return "pose_deg" in self.truth

    @property
    def num_frames(self) -> int:
        """Frames kept."""
        return len(self.points)

    @property
    def num_bytes(self) -> int:
        """Memory of pictures, labels and numbers."""
        packed = self.pictures
        pictures = packed.num_bytes if isinstance(packed, PackedVideo) else sum(map(len, packed))
        arrays = self.points.nbytes + sum(array.nbytes for array in self.truth.values())
        return pictures + arrays + sum(map(len, self.labels))

    def image(self, index: int) -> UInt8[np.ndarray, "S S 3"]:
        """One frame, RGB.

        Raises:
            ShardError: it cannot be decoded.
        """
        import cv2

        if isinstance(self.pictures, PackedVideo):
            try:
                return self.pictures.image(index)
            except PacketError as error:
                raise ShardError(f"sample {self.key}: {error}; run lp-curate again") from error
        decoded = cv2.imdecode(np.frombuffer(self.pictures[index], np.uint8), cv2.IMREAD_COLOR)
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
    keep = kept_frames(kind, start, len(points), stride)
    if kind == "image" and "jpg" not in members:
        raise ShardError(f"sample {key}: a picture without a jpg member; run lp-curate again")
    pictures = (bytes(members["jpg"]),) if kind == "image" else _video(key, members, len(points), keep)
    truth, labels = _truth(key, members, side, len(points), keep, with_labels)
    return Clip(
        key=key, split=card["split"], species=species, kind=kind, start=start + keep.start, stride=keep.step,
        identity=str(card.get("identity", "")), performance=str(card.get("performance", "")),
        points=points[list(keep)], pictures=pictures, truth=truth, labels=labels,
    )  # fmt: skip


def kept_frames(kind: str, start: int, num_frames: int, stride: int) -> range:
    """Which frames of a sample are kept: native numbers divisible by the stride, so that performances stay aligned."""
    if kind != "video":
        return range(num_frames)
    return range(-start % stride if num_frames > stride else 0, num_frames, stride)


def _video(key: str, members: dict[str, Any], num_frames: int, keep: range) -> tuple[bytes, ...] | PackedVideo:
    if "mp4" not in members:
        raise ShardError(f"sample {key}: a video without an mp4 member; run lp-curate again")
    try:
        packed = unpack(members["mp4"])
    except PacketError as error:
        raise ShardError(f"sample {key}: its mp4 member cannot be read: {error}; run lp-curate again") from error
    if packed.num_frames < num_frames:
        raise ShardError(
            f"sample {key}: {packed.num_frames} frames in the video, {num_frames} in its json; run lp-curate again"
        )
    if packed.longest_run <= LONGEST_RUN_FRAMES:
        return packed.only(keep)
    jpegs = tuple(encode_jpeg(frame) for i, frame in enumerate(read_frames(members["mp4"])) if i in keep)
    if len(jpegs) < len(keep):
        raise ShardError(f"sample {key}: {len(jpegs)} of {len(keep)} frames decode; run lp-curate again")
    return jpegs


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
    if set(LANDMARK_ARRAYS) - arrays.keys():
        return {}, ()
    if any(len(array) < num_frames for array in arrays.values()) or arrays["landmarks"].shape[1] != NUM_LANDMARKS:
        raise ShardError(f"sample {key}: its truth does not cover {num_frames} frames of {NUM_LANDMARKS} landmarks")
    truth = {name: array[list(keep)] for name, array in arrays.items()}
    truth["landmarks"] = (truth["landmarks"] / side).astype(np.float32)
    labels = () if raw_labels is None else tuple(cv2.imencode(".png", raw_labels[i])[1].tobytes() for i in keep)
    return truth, labels


def read_manifest(folder: Path) -> dict[str, Any]:
    """The shard folder's manifest.json; empty if there is none or it is damaged."""
    path = folder / "manifest.json"
    try:
        return json.loads(path.read_text()) if path.is_file() else {}
    except ValueError:
        return {}
