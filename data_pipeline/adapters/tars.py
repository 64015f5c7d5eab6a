"""Existing webdataset tars -> their photos and clips, taken out into a cache folder, with what their JSON says.

A member is written whole or not at all. Names that lead out of the cache, links and devices are never written.
"""

import errno
import hashlib
import json
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from data_pipeline.adapters.folder import MediaFile, SourceError
from data_pipeline.adapters.walk import picked, species_named
from data_pipeline.whole_file import WriteError, shown, whole_binary, whole_file, write_errors

MEDIA = {"jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "mp4", "m4v", "mov", "mkv", "webm", "avi"}
_TARS = (".tar", ".tar.gz", ".tgz")
_INDEX = "members.json"
_END_BYTES = 1024
_BLOCK_BYTES = 1 << 20
_NAME_ERRORS = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.EILSEQ, errno.EINVAL}
"""What the operating system says of names, not of the disk."""
_MAX_JSON_BYTES = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WebdatasetSource:
    """A tar, or a folder of them, as img2dataset, video2dataset or lp-curate write: `KEY.jpg|mp4|...` and `KEY.json`.

    From the JSON come species, identity, licence and origin (else url). Text and other members stay in the tar.
    """

    path: str
    cache: str
    """Folder for the members; a tar that has not changed is not read again."""
    fields: dict[str, str] | None = None
    """species, identity, licence, origin -> the JSON's own key, where it has another name."""
    classes: dict[str, str] | None = None
    licence: str = "unknown"
    origin: str = ""
    max_member_bytes: int = 4_000_000_000
    limit: int = 0

    def __call__(self) -> list[MediaFile]:
        """The members' files, sorted by path; what cannot be taken out becomes a drop.

        Raises:
            SourceError: no tar there, or none of them holds media.
        """
        root = Path(self.path)
        if not root.exists():
            raise SourceError(f"source.path {shown(root)} does not exist; give a tar or a folder of tars")
        tars = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.name.lower().endswith(_TARS))
        if not tars:
            raise SourceError(f"source.path {shown(root)} holds no tar; give webdataset shards, or dataset=folder")
        return picked(
            (file for tar in tars for file in self._files(tar)), self.limit, root, "photo or clip in the tars"
        )

    def _files(self, tar: Path) -> Iterator[MediaFile]:
        where = hashlib.sha256(str(tar.resolve()).encode()).hexdigest()[:8]
        folder = Path(self.cache) / f"{tar.name.split('.')[0]}-{where}"
        state = tar.stat()
        stamp = [state.st_size, state.st_mtime_ns, self.max_member_bytes]
        index = folder / _INDEX
        stored = json.loads(index.read_text()) if index.is_file() else {}
        if stored.get("stamp") != stamp:
            stored = {"stamp": stamp, **self._extract(tar, folder)}
            with whole_file(index) as aside:
                aside.write_text(json.dumps(stored))
        for name, problem, detail in stored["problems"]:
            yield MediaFile(path=tar / name if name else tar, problem=problem, detail=detail)
        for name, about in stored["members"].items():
            yield self._file(folder / name, about)

    def _file(self, path: Path, about: Mapping[str, Any]) -> MediaFile:
        def said(name: str, *others: str) -> str:
            values = [about.get(key) for key in ((self.fields or {}).get(name, name), *others)]
            return next((str(value) for value in values if isinstance(value, str | int) and str(value)), "")

        return MediaFile(
            path=path,
            licence=said("licence", "license") or self.licence,
            origin=said("origin", "url", "source") or self.origin,
            identity=said("identity"),
            species=species_named(said("species"), self.classes),
        )

    def _extract(self, tar: Path, folder: Path) -> dict[str, Any]:
        """Take the media members out; `members`: file -> its sample's JSON, `problems`: [member, reason, detail]."""
        folder.mkdir(parents=True, exist_ok=True)
        media: dict[str, str] = {}
        about: dict[str, Any] = {}
        problems: list[tuple[str, str, str]] = []
        try:
            with tarfile.open(tar, "r:*") as stream:
                for info in stream:
                    self._member(stream, info, folder, media, about, problems)
                while stream.fileobj and stream.fileobj.read(_BLOCK_BYTES):
                    pass  # a compressed tar's checksum stands at its end
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            problems.append(("", "tar cut short", f"{shown(tar)} breaks off ({error}); what came before is used"))
        else:
            if tar.suffix == ".tar" and not _has_end(tar):
                problems.append(("", "tar cut short", f"{shown(tar)} has no end mark: its end is missing"))
        return {"members": {name: about.get(key, {}) for name, key in media.items()}, "problems": problems}

    def _member(
        self,
        stream: tarfile.TarFile,
        info: tarfile.TarInfo,
        folder: Path,
        media: dict[str, str],
        about: dict[str, Any],
        problems: list[tuple[str, str, str]],
    ) -> None:
        place = PurePosixPath(info.name)
        key, _, ending = place.name.partition(".")
        key = str(place.with_name(key or place.name))
        ending = ending.lower()
        if info.isdir() or (ending not in MEDIA and ending != "json" and not ending.endswith(".json")):
            return
        source = stream.extractfile(info) if info.isreg() else None
        if source is None:
            problems.append((info.name, "no plain file", "links and devices are not taken out of a tar"))
        elif place.is_absolute() or ".." in place.parts or "\0" in info.name:
            problems.append((info.name, "leads out of its tar", "the name is absolute or holds .."))
        elif ending == "json":
            if info.size <= _MAX_JSON_BYTES:
                about[key] = _record(source.read())
        elif ending in MEDIA:
            if info.size > self.max_member_bytes:
                problems.append((info.name, "member too large", f"{info.size} bytes; raise source.max_member_bytes"))
                return
            if said := _take_out(source, folder.joinpath(*place.parts)):
                problems.append((info.name, "name cannot be used", said))
            else:
                media[str(place)] = key


def _take_out(source: Any, target: Path) -> str:  # noqa: ANN401
    """Write a member's bytes; what is wrong with its name, or nothing."""
    try:
        _write(source.read, target)
    except WriteError as error:
        if getattr(error.__cause__, "errno", None) in _NAME_ERRORS:
            return str(error)
        raise  # a full disk is not the tar's fault
    return ""


def _write(read: Callable[[int], bytes], target: Path) -> None:
    """Copy a member; what goes wrong with reading it stays apart from what goes wrong with writing."""
    with whole_binary(target) as handle:
        while block := read(_BLOCK_BYTES):
            with write_errors(target):
                handle.write(block)


def _record(data: bytes) -> Mapping[str, Any]:
    try:
        record = json.loads(data)
    except ValueError:
        return {}  # the picture beside it is still good
    kept = ("species", "identity", "licence", "license", "origin", "url", "source")
    return {k: v for k, v in record.items() if k in kept or isinstance(v, str)} if isinstance(record, dict) else {}


def _has_end(tar: Path) -> bool:
    with tar.open("rb") as handle:
        handle.seek(max(0, tar.stat().st_size - _END_BYTES))
        tail = handle.read()
    return len(tail) == _END_BYTES and not tail.strip(b"\0")
