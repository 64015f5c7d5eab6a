"""One tar of a shard folder -> its sha256, its sample groups and what is wrong with it, in one pass."""

import hashlib
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

Severity = Literal["error", "warning", "note"]
SUFFIXES = ("json", "jpg", "mp4", "truth.npz")
"""Members that a sample can have."""
MAX_MEMBER_BYTES = 1_000_000_000
"""Larger members are told and not read: no shard of ours holds one, and memory is finite."""
REWRITE = "curate again, or restore the shard from a copy"
_END_BYTES = 1024
"""A tar ends with two empty blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong, or worth knowing."""

    severity: Severity
    kind: str
    """A few stable words, for counting."""
    place: str
    """Shard, shard/member or file."""
    message: str
    remedy: str


@dataclass(slots=True)
class _Hashing:
    """Reads a file while adding up its sha256; keeps its last bytes."""

    stream: object
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    num_bytes: int = 0
    tail: bytes = b""

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)  # pyright: ignore[reportAttributeAccessIssue]
        self.digest.update(data)
        self.num_bytes += len(data)
        self.tail = (self.tail + data)[-_END_BYTES:]
        return data


@dataclass(slots=True)
class TarCheck:
    """Walk `groups` to the end; then `sha256`, `num_bytes` and `findings` are complete."""

    path: Path
    wants: Callable[[str], bool]
    """Whether the pictures of a key are read, too; its JSON always is."""
    findings: list[Finding] = field(default_factory=list)
    sha256: str = ""
    num_bytes: int = 0
    num_samples: int = 0
    keys: set[str] = field(default_factory=set)
    """For whoever walks the groups: the keys of this tar so far."""

    def groups(self) -> Iterator[tuple[str, dict[str, bytes]]]:
        """Key and members of each sample; members that are not wanted are empty."""
        with self.path.open("rb") as stream:
            source = _Hashing(stream)
            try:
                yield from self._groups(source)
            except (tarfile.TarError, EOFError, OSError) as error:
                self.add("error", "tar cut short", "", f"the tar ends or breaks in the middle ({error})", REWRITE)
            else:
                while source.read(1 << 20):
                    pass
                if len(source.tail) < _END_BYTES or source.tail.strip(b"\0"):
                    self.add("error", "tar cut short", "", "the tar has no end mark: its end is missing", REWRITE)
            while source.read(1 << 20):
                pass
        self.sha256, self.num_bytes = source.digest.hexdigest(), source.num_bytes

    def _groups(self, source: _Hashing) -> Iterator[tuple[str, dict[str, bytes]]]:
        key, members = "", dict[str, bytes]()
        with tarfile.open(fileobj=source, mode="r|", bufsize=1 << 20) as tar:  # pyright: ignore[reportCallIssue, reportArgumentType]
            for info in tar:
                tar.members = []  # tarfile would keep every entry that has passed
                if not self._is_member(info):
                    continue
                name, _, suffix = info.name.partition(".")
                if name != key and members:
                    self.num_samples += 1
                    yield key, members
                    members = {}
                key = name
                if suffix in members:
                    again = f"{info.name} is there twice in a row"
                    self.add("error", "duplicate member", info.name, again, REWRITE)
                handle = tar.extractfile(info) if suffix == "json" or self.wants(key) else None
                members[suffix] = handle.read() if handle else b""
        if members:
            self.num_samples += 1
            yield key, members

    def _is_member(self, info: tarfile.TarInfo) -> bool:
        """Whether a tar entry may belong to a sample; what does not is told."""
        path = PurePosixPath(info.name)
        if path.is_absolute() or ".." in path.parts or "\\" in info.name:
            message = f"the member {info.name!r} leads out of the folder it would be unpacked into"
            self.add("error", "path escape", info.name, message, "do not unpack this tar; " + REWRITE)
        elif not info.isreg():
            message = f"{info.name!r} is a link, folder or device, not a file"
            self.add("error", "foreign member", info.name, message, REWRITE)
        elif len(path.parts) > 1 or info.name.partition(".")[2] not in SUFFIXES:
            message = f"{info.name!r} is none of KEY.json, KEY.jpg, KEY.mp4, KEY.truth.npz"
            self.add("warning", "foreign member", info.name, message, "loaders pass it over; " + REWRITE)
        elif info.size > MAX_MEMBER_BYTES:
            message = f"{info.name!r} says it has {info.size} bytes"
            self.add("error", "member too large", info.name, message, REWRITE)
        else:
            return True
        return False

    def add(self, severity: Severity, kind: str, member: str, message: str, remedy: str) -> None:
        """Note a finding at this tar or one of its members."""
        place = f"{self.path.name}/{member}" if member else self.path.name
        self.findings.append(Finding(severity=severity, kind=kind, place=place, message=message, remedy=remedy))
