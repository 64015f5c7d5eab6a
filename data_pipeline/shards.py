"""Samples -> tar shards with a manifest, byte for byte the same for the same samples; and back.

A member group is `{key}.json` + `{key}.jpg` (still) or `{key}.mp4` (clip, every frame a key frame) and, where exact
annotations exist, `{key}.truth.npz`. docs/data.md has the table of fields.
"""

import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_pipeline.group_tar import (
    GroupWriter,
    ShardError,
    read_group,
    read_groups,
    read_records,
    read_tar,
    write_tar,
)
from data_pipeline.ledger import UNKNOWN, Tally, attribution, code_version, id_hashes, licence_allowed, taken_down
from data_pipeline.photo import decode_jpeg, encode_jpeg
from data_pipeline.records import Landmarks, Quality, Sample
from data_pipeline.video import encode_clip, read_member
from data_pipeline.whole_file import write_text

__all__ = [
    "ATTRIBUTION", "MANIFEST", "GroupWriter", "ShardError", "ShardWriter", "from_members", "manifest_text",
    "read_group", "read_groups", "read_manifest", "read_records", "read_samples", "read_tar", "shard_entry",
    "shard_paths", "to_members", "write_tar",
]  # fmt: skip

FORMAT = 1
MANIFEST, ATTRIBUTION = "manifest.json", "ATTRIBUTION.md"
TRUTH_MEMBER = "truth.npz"
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def to_members(sample: Sample, crf: int = 15, gop: int = 1) -> dict[str, bytes]:
    """Sample -> member suffix -> bytes."""
    record = {
        "key": sample.key,
        "split": sample.split,
        "species": sample.species,
        "kind": sample.kind,
        "num_frames": len(sample.frames),
        "start": sample.start,
        "fps": sample.fps,
        "side_px": int(sample.frames.shape[1]),
        "points": np.round(sample.points.astype(np.float64), 2).tolist(),
        "source_from_crop": np.round(sample.source_from_crop.astype(np.float64), 6).tolist(),
        "source_id": sample.source_id,
        "identity": sample.identity,
        "performance": sample.performance,
        "licence": sample.licence,
        "origin": sample.origin,
        "quality": {name: round(value, 4) for name, value in asdict(sample.quality).items()},
    }
    members = {"json": json.dumps(record, sort_keys=True).encode()}
    if sample.kind == "image":
        members["jpg"] = encode_jpeg(sample.frames[0])
    else:
        members["mp4"] = encode_clip(sample.frames, sample.fps, crf=crf, gop=gop)
    if sample.truth:
        members[TRUTH_MEMBER] = _npz(sample.truth)
    return members


def from_members(members: Mapping[str, bytes]) -> Sample:
    """The inverse of `to_members`, up to the codec's loss.

    Raises:
        ShardError: a member is missing or does not fit the others.
    """
    try:
        record = json.loads(members["json"])
        frames = decode_jpeg(members["jpg"])[None] if "jpg" in members else read_member(members["mp4"])
        truth: dict[str, np.ndarray] = {}
        if TRUTH_MEMBER in members:
            with np.load(io.BytesIO(members[TRUTH_MEMBER]), allow_pickle=False) as stored:
                truth = {name: stored[name] for name in stored.files}
        landmarks = _landmarks(record["landmarks"]) if "landmarks" in record else None
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise ShardError(f"a shard's sample is damaged ({error}); run lp-curate again") from error
    if len(frames) != record["num_frames"]:
        raise ShardError(f"sample {record['key']} holds {len(frames)} frames, its record says {record['num_frames']}")
    fields = {k: record[k] for k in ("key", "split", "species", "kind", "start", "fps", "source_id", "identity")}
    return Sample(
        **fields,
        performance=record["performance"],
        licence=record["licence"],
        origin=record["origin"],
        frames=frames,
        points=np.array(record["points"], np.float32),
        source_from_crop=np.array(record["source_from_crop"], np.float32),
        quality=Quality(**record["quality"]),
        truth=truth,
        landmarks=landmarks,
    )


def _landmarks(stored: Mapping[str, Any]) -> Landmarks:
    """The inverse of what `known.with_landmarks` puts into the record."""
    rows = [[(np.nan, np.nan) if point is None else point for point in frame] for frame in stored["points"]]
    return Landmarks(scheme=stored["scheme"], points=np.array(rows, np.float32))


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Like np.savez_compressed, without the time of day in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(arrays):
            payload = io.BytesIO()
            np.save(payload, arrays[name], allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=_ZIP_EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, payload.getvalue())
    return buffer.getvalue()


def read_samples(directory: Path, split: str | None = None) -> Iterator[Sample]:
    """Every sample of a shard folder, decoded, optionally of one split."""
    for path in shard_paths(directory, split):
        for _, members in read_tar(path):
            yield from_members(members)


def shard_paths(directory: Path, split: str | None = None) -> list[Path]:
    """The shards of a folder, in order.

    Raises:
        ShardError: there is no manifest.
    """
    manifest = read_manifest(directory)
    return [directory / s["name"] for s in manifest["shards"] if split is None or s["name"].startswith(f"{split}-")]


def read_manifest(directory: Path) -> dict[str, Any]:
    """`manifest.json` of a shard folder.

    Raises:
        ShardError: not there, or not one of ours.
    """
    path = directory / MANIFEST
    if not path.exists():
        raise ShardError(
            f"{directory} holds no manifest.json; make shards with lp-curate source.path=… out={directory}"
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ShardError(f"{path} cannot be read ({error}); run lp-curate again") from error
    if manifest.get("format") != FORMAT:
        raise ShardError(f"{path} has format {manifest.get('format')!r}; this version reads {FORMAT}")
    return manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardWriter:
    """Packs member groups into shards per split, bounded by samples and bytes."""

    max_samples: int = 256
    max_bytes: int = 256_000_000
    allow_licences: Sequence[str] = ()
    """Names or patterns (`CC-BY-*`, `unknown`) of the licences that are packed; none: all. The rest is counted in the
    manifest's `left_out`."""

    def __call__(
        self, out: Path, groups: Iterable[tuple[dict[str, Any], Mapping[str, bytes]]], about: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Write all shards, ATTRIBUTION.md and, last, the manifest.

        Samples whose licence is not allowed, and those in the folder's takedowns.jsonl, are left out and counted.

        Args:
            out: the folder; shards of an earlier run that are not written again are removed.
            groups: record (the sample's JSON) and members, in the order in which they shall be stored.
            about: config, seed, code version for the manifest.

        Returns:
            The manifest.
        """
        left_out: Counter[str] = Counter()
        gone = taken_down(out)
        tally = Tally()
        with _Packer(out, self.max_samples, self.max_bytes) as packer:
            for record, members in groups:
                if not licence_allowed(record["licence"], self.allow_licences):
                    left_out[f"licence {record['licence'] or UNKNOWN}"] += 1
                elif not gone.isdisjoint(id_hashes(record)):
                    left_out["taken down"] += 1
                else:
                    tally.add(record)
                    packer.add(record["split"], record["key"], members)
            shards = packer.finish()
        manifest = {
            "format": FORMAT,
            **tally.summary(),
            "left_out": dict(sorted(left_out.items())),
            "shards": shards,
            "code_version": code_version(),
            **about,
        }
        write_text(out / ATTRIBUTION, attribution(manifest))
        write_text(out / MANIFEST, manifest_text(manifest))
        return manifest


class _Packer:
    """Fills one tar of each split aside, piece by piece; `finish` lets all of them appear together."""

    def __init__(self, out: Path, max_samples: int, max_bytes: int) -> None:
        self._out, self._max_samples, self._max_bytes = out, max_samples, max_bytes
        self._open: dict[str, GroupWriter] = {}
        self._closed: list[GroupWriter] = []
        self._numbers: Counter[str] = Counter()

    def add(self, split: str, key: str, members: Mapping[str, bytes]) -> None:
        tar = self._open.get(split)
        if tar and tar.num_bytes + sum(map(len, members.values())) > self._max_bytes:
            self._close(split)
        if split not in self._open:
            self._open[split] = GroupWriter(self._out / f"{split}-{self._numbers[split]:05d}.tar")
            self._numbers[split] += 1
        self._open[split].add(key, members)
        if self._open[split].num_groups >= self._max_samples:
            self._close(split)

    def _close(self, split: str) -> None:
        tar = self._open.pop(split)
        self._closed.append(tar)
        tar.close()

    def finish(self) -> list[dict[str, Any]]:
        """Entries for the manifest. From here until that is written the folder has none: nobody reads half a set."""
        for split in sorted(self._open):
            self._close(split)
        tars = sorted(self._closed, key=lambda tar: tar.path.name)
        entries = [shard_entry(tar.part, tar.num_groups, tar.path.name) for tar in tars]
        (self._out / MANIFEST).unlink(missing_ok=True)
        for tar in tars:
            tar.keep()
        for stale in set(self._out.glob("*-[0-9][0-9][0-9][0-9][0-9].tar")) - {tar.path for tar in tars}:
            stale.unlink()
        return entries

    def __enter__(self) -> "_Packer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for tar in [*self._open.values(), *self._closed] if kind is not None else ():
            tar.discard()


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """A manifest as it stands in the file."""
    return json.dumps(manifest, indent=1, sort_keys=True)


def shard_entry(path: Path, num_samples: int, name: str = "") -> dict[str, Any]:
    """What the manifest says about one tar: name, samples, bytes and sha256."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"name": name or path.name, "samples": num_samples, "bytes": path.stat().st_size, "sha256": digest}
