"""Samples -> tar shards with a manifest, byte for byte the same for the same samples; and back.

A member group is `{key}.json` + `{key}.jpg` (still) or `{key}.mp4` (clip, every frame a key frame) and, where exact
annotations exist, `{key}.truth.npz`. docs/data.md has the table of fields.
"""

import hashlib
import io
import json
import os
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_pipeline.ledger import UNKNOWN, Tally, attribution, code_version, id_hashes, licence_allowed, taken_down
from data_pipeline.photo import decode_jpeg, encode_jpeg
from data_pipeline.records import Quality, Sample
from data_pipeline.video import encode_clip, read_member

FORMAT = 1
MANIFEST, ATTRIBUTION = "manifest.json", "ATTRIBUTION.md"
TRUTH_MEMBER = "truth.npz"
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


class ShardError(ValueError):
    """Shards that cannot be read or written; the message names the file and the remedy."""


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
    except (KeyError, ValueError, OSError) as error:
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
    )


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


def write_tar(path: Path, groups: Iterable[tuple[str, Mapping[str, bytes]]]) -> None:
    """Write member groups as a tar without times or owners; the file appears whole or not at all."""
    aside = path.with_name(path.name + ".part")
    with tarfile.open(aside, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, members in groups:
            for suffix in sorted(members):
                info = tarfile.TarInfo(f"{key}.{suffix}")
                info.size = len(members[suffix])
                info.mode = 0o644
                tar.addfile(info, io.BytesIO(members[suffix]))
    os.replace(aside, path)  # noqa: PTH105


def read_tar(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Key and members of each sample of a shard, in order.

    Raises:
        ShardError: the tar is damaged or cut off.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            key, members = "", {}
            for info in tar:
                name, _, suffix = info.name.partition(".")
                if name != key and members:
                    yield key, members
                    members = {}
                key = name
                handle = tar.extractfile(info)
                members[suffix] = handle.read() if handle else b""
            if members:
                yield key, members
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ShardError(f"{path} is not a whole tar ({error}); run lp-curate again to rewrite it") from error


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON records of a shard, in order; pictures are passed over, not read.

    Raises:
        ShardError: the tar is damaged, or a record is.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            for info in tar:
                handle = tar.extractfile(info) if info.name.partition(".")[2] == "json" else None
                if handle and isinstance(record := json.load(handle), dict):
                    yield record
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise ShardError(f"{path} cannot be read ({error}); run lp-curate again to rewrite it") from error


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
        pending: dict[str, list[tuple[str, Mapping[str, bytes]]]] = {}
        sizes: Counter[str] = Counter()
        numbers: Counter[str] = Counter()
        left_out: Counter[str] = Counter()
        gone = taken_down(out)
        tally = Tally()
        shards: list[dict[str, Any]] = []

        def flush(split: str) -> None:
            path = out / f"{split}-{numbers[split]:05d}.tar"
            write_tar(path, pending[split])
            shards.append(shard_entry(path, len(pending[split])))
            numbers[split] += 1
            pending[split], sizes[split] = [], 0

        for record, members in groups:
            split = record["split"]
            if not licence_allowed(record["licence"], self.allow_licences):
                left_out[f"licence {record['licence'] or UNKNOWN}"] += 1
                continue
            if not gone.isdisjoint(id_hashes(record)):
                left_out["taken down"] += 1
                continue
            tally.add(record)
            weight = sum(map(len, members.values()))
            if pending.get(split) and sizes[split] + weight > self.max_bytes:
                flush(split)
            pending.setdefault(split, []).append((record["key"], members))
            sizes[split] += weight
            if len(pending[split]) >= self.max_samples:
                flush(split)
        for split in sorted(pending):
            if pending[split]:
                flush(split)
        shards.sort(key=lambda s: s["name"])
        for stale in set(out.glob("*-[0-9][0-9][0-9][0-9][0-9].tar")) - {out / s["name"] for s in shards}:
            stale.unlink()
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


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """A manifest as it stands in the file."""
    return json.dumps(manifest, indent=1, sort_keys=True)


def shard_entry(path: Path, num_samples: int, name: str = "") -> dict[str, Any]:
    """What the manifest says about one tar: name, samples, bytes and sha256."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"name": name or path.name, "samples": num_samples, "bytes": path.stat().st_size, "sha256": digest}


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    aside = path.with_name(path.name + ".part")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)  # noqa: PTH105
