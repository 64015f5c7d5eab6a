"""Member groups <-> tar, one group in memory at a time; a tar appears whole or not at all."""

import io
import json
import os
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from data_pipeline.whole_file import aside, write_errors


class ShardError(ValueError):
    """Shards that cannot be read or written; the message names the file and the remedy."""


class Group(NamedTuple):
    """The members of one sample."""

    key: str
    offset: int
    """Where the first member's header lies in the tar, in bytes: `read_group` starts there."""
    members: dict[str, bytes]


class GroupWriter:
    """Adds groups to a tar without times or owners; closed, it lies aside until `keep` gives it its name.

    Args:
        path: the tar's name in the end.
        part: where it is written until then, on the same disk; None: `<path>.part`.

    Raises:
        WriteError: from every method, when the disk does not take it.
    """

    def __init__(self, path: Path, part: Path | None = None) -> None:
        self.path = path
        self.part = part or aside(path)
        self.num_groups = self.num_bytes = 0
        with write_errors(path):
            self._handle = self.part.open("wb")
        self._tar = tarfile.open(fileobj=self._handle, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115

    def add(self, key: str, members: Mapping[str, bytes]) -> None:
        """Append a group, its members in the order of their endings."""
        with write_errors(self.path):
            for suffix in sorted(members):
                info = tarfile.TarInfo(f"{key}.{suffix}")
                info.size = len(members[suffix])
                info.mode = 0o644
                self._tar.addfile(info, io.BytesIO(members[suffix]))
        self.num_groups += 1
        self.num_bytes += sum(map(len, members.values()))

    def close(self) -> None:
        """End the tar; it stays aside."""
        with write_errors(self.path):
            self._tar.close()
            self._handle.close()

    def keep(self) -> None:
        """Give the closed tar its name."""
        with write_errors(self.path):
            os.replace(self.part, self.path)  # noqa: PTH105

    def discard(self) -> None:
        """Forget what was written."""
        if not self._handle.closed:
            self._handle.raw.close()  # what is still buffered is not wanted, and a full disk would not take it
        self.part.unlink(missing_ok=True)

    def __enter__(self) -> "GroupWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.discard()
            return
        try:
            self.close()
            self.keep()
        except BaseException:
            self.discard()
            raise


def write_tar(path: Path, groups: Iterable[tuple[str, Mapping[str, bytes]]]) -> None:
    """Write member groups as a tar without times or owners; the file appears whole or not at all.

    Raises:
        WriteError: the disk does not take it.
    """
    with GroupWriter(path) as tar:
        for key, members in groups:
            tar.add(key, members)


def read_groups(path: Path, only: Collection[str] | None = None) -> Iterator[Group]:
    """Each sample of a shard, in order; with `only`, members of other endings are passed over, not read.

    Raises:
        ShardError: the tar is damaged or cut off.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            yield from _grouped(tar, only)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ShardError(f"{path} is not a whole tar ({error}); run lp-curate again to rewrite it") from error


def read_group(path: Path, offset: int) -> Group:
    """The one sample whose first header lies at `offset`.

    Raises:
        ShardError: there is none, or it is damaged.
    """
    try:
        with path.open("rb") as handle:
            handle.seek(offset)
            with tarfile.open(fileobj=handle, mode="r:") as tar:
                return next(_grouped(tar, None))._replace(offset=offset)
    except (tarfile.TarError, OSError, EOFError, StopIteration) as error:
        raise ShardError(f"{path} is not a whole tar ({error!r}); run lp-curate again to rewrite it") from error


def _grouped(tar: tarfile.TarFile, only: Collection[str] | None) -> Iterator[Group]:
    group = Group("", 0, {})
    is_any = False
    while (info := tar.next()) is not None:
        tar.members = []  # pyright: ignore[reportAttributeAccessIssue] - tarfile would remember every header
        key, _, suffix = info.name.partition(".")
        if key != group.key or not is_any:
            if is_any:
                yield group
            group, is_any = Group(key, info.offset, {}), True
        if only is None or suffix in only:
            handle = tar.extractfile(info)
            group.members[suffix] = handle.read() if handle else b""
    if is_any:
        yield group


def read_tar(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Key and members of each sample of a shard, in order.

    Raises:
        ShardError: the tar is damaged or cut off.
    """
    for group in read_groups(path):
        yield group.key, group.members


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON records of a shard, in order; pictures are passed over, not read.

    Raises:
        ShardError: the tar is damaged, or a record is.
    """
    try:
        for group in read_groups(path, {"json"}):
            if "json" in group.members and isinstance(record := json.loads(group.members["json"]), dict):
                yield record
    except ValueError as error:
        if isinstance(error, ShardError):
            raise
        raise ShardError(f"{path} cannot be read ({error}); run lp-curate again to rewrite it") from error
