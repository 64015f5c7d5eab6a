"""Finished pairs -> files that a later run takes instead of measuring again, found by what they were made of."""

import functools
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, is_dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from data_pipeline.whole_file import write_errors

if TYPE_CHECKING:
    from evaluation.methods import Method

PIXELS_CRF = 23
"""Quality of the small videos from which examples are put together; nothing is measured on them."""
METHOD_CODE = ("methods", "similarity.py", "engine.py", "driving.py", "retarget.py", "../lp_models")
MEASURE_CODE = ("metrics", "similarity.py")
"""Files whose change makes finished pairs of no use, relative to this package."""
PLACES = ("weights", "folder")
"""Facts of a method that say where its files lie, not what is in them."""


class Finished(NamedTuple):
    """What is kept of a pair and a method."""

    facts: dict[str, Any]
    """Metrics and the other numbers of a row."""
    features: dict[str, dict[str, np.ndarray]]
    """What the pair contributes to each measure of the whole set: measure -> arrays."""


class PairStore:
    """A folder of finished pairs, and perhaps a second one that several runs share.

    Each entry is written whole or not at all, the `.json` last: an entry is there when its `.json` is.

    Args:
        folder: of this run.
        shared: looked into as well, and given a copy of everything; None for none.
    """

    def __init__(self, folder: Path, shared: Path | None = None) -> None:
        self.folder = folder
        self.shared = shared
        for place in self._places():
            place.mkdir(parents=True, exist_ok=True)

    def read(self, key: str) -> Finished | None:
        """What was kept under this key; None when nothing was, or what is there cannot be read."""
        if not self._fetch(key, ".json"):
            return None
        try:
            facts = json.loads((self.folder / f"{key}.json").read_text(encoding="utf-8"))
            features: dict[str, dict[str, np.ndarray]] = {}
            if facts.pop("has_features"):
                self._fetch(key, ".npz")
                with self._arrays(key) as stored:
                    for name in stored.files:
                        measure, _, array = name.partition("/")
                        features.setdefault(measure, {})[array] = stored[name]
        except (OSError, ValueError, KeyError, TypeError):  # damaged from outside: measured again and replaced
            return None
        return Finished(facts, features)

    def features(self, key: str, measure: str) -> dict[str, np.ndarray]:
        """What an entry that was read or kept before contributes to a measure of the whole set.

        Raises:
            ValueError: the file was damaged or removed since.
        """
        mine = f"{measure}/"
        try:
            with self._arrays(key) as stored:
                return {name[len(mine) :]: stored[name] for name in stored.files if name.startswith(mine)}
        except (OSError, ValueError, KeyError) as error:
            path = self.folder / f"{key}.npz"
            raise ValueError(f"{path} changed while the run was going ({error}); run the same command again") from error

    def _arrays(self, key: str) -> np.lib.npyio.NpzFile:
        return np.load(io.BytesIO((self.folder / f"{key}.npz").read_bytes()), allow_pickle=False)

    def keep(self, key: str, finished: Finished) -> None:
        """Write an entry.

        Raises:
            WriteError: the disk does not take it.
        """
        if finished.features:
            buffer = io.BytesIO()
            arrays = {f"{m}/{name}": array for m, found in finished.features.items() for name, array in found.items()}
            np.savez(buffer, **arrays)  # pyright: ignore[reportArgumentType] - arrays by name
            self._write(key, ".npz", buffer.getvalue())
        text = json.dumps(finished.facts | {"has_features": bool(finished.features)}, allow_nan=False, sort_keys=True)
        self._write(key, ".json", text.encode())

    def has_pixels(self, key: str) -> bool:
        """Whether the small video of this key is there."""
        return self._fetch(key, ".mp4")

    def keep_pixels(self, key: str, frames: Sequence[UInt8[np.ndarray, "S W 3"]], fps: Fraction) -> None:
        """Keep a small video, to make examples of."""
        from data_pipeline.video import encode_clip

        self._write(key, ".mp4", encode_clip(frames, fps, crf=PIXELS_CRF, gop=48))

    def pixels(self, key: str) -> Path:
        """The file of a small video that was kept."""
        return self.folder / f"{key}.mp4"

    def _places(self) -> list[Path]:
        return [self.folder, *([self.shared] if self.shared else [])]

    def _fetch(self, key: str, suffix: str) -> bool:
        """Whether the file is in the run's own folder, copied from the shared one if need be."""
        own = self.folder / f"{key}{suffix}"
        if own.exists():
            return True
        if self.shared is None or not (theirs := self.shared / f"{key}{suffix}").exists():
            return False
        with _replacing(own) as part:
            shutil.copyfile(theirs, part)
        return True

    def _write(self, key: str, suffix: str, content: bytes) -> None:
        for place in self._places():
            with _replacing(place / f"{key}{suffix}") as part:
                part.write_bytes(content)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A place of this process alone that becomes the file: several runs may write one entry at a time."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with write_errors(path):
        try:
            yield part
            os.replace(part, path)  # noqa: PTH105
        finally:
            part.unlink(missing_ok=True)


def hash_of(*values: object) -> str:
    """First 24 hex digits over arrays, records, texts and numbers, by content."""
    digest = hashlib.sha256()
    for value in values:
        _feed(digest, value)
    return digest.hexdigest()[:24]


def _feed(digest: Any, value: Any) -> None:  # noqa: ANN401 - hashlib's own type has no name
    if isinstance(value, np.ndarray):
        digest.update(f"array {value.dtype.str} {value.shape};".encode())
        digest.update(np.ascontiguousarray(value).data)
    elif is_dataclass(value) and not isinstance(value, type):
        _feed(digest, {field.name: getattr(value, field.name) for field in fields(value)})
    elif isinstance(value, dict):
        digest.update(f"dict {len(value)};".encode())
        for name in sorted(value, key=str):
            _feed(digest, str(name))
            _feed(digest, value[name])
    elif isinstance(value, bytes):
        digest.update(f"bytes {len(value)};".encode() + value)
    elif isinstance(value, list | tuple):
        digest.update(f"list {len(value)};".encode())
        for one in value:
            _feed(digest, one)
    else:
        digest.update(f"{type(value).__name__} {value!s};".encode())


def method_hash(method: "Method") -> str:
    """Changes when what the method makes may: its kind, its options, the content of its weights, its code."""
    about = {name: value for name, value in method.about.items() if name not in PLACES}
    options = getattr(method, "options", None)
    options = asdict(options) if is_dataclass(options) and not isinstance(options, type) else None
    return hash_of(type(method).__qualname__, about, options, code_hash(METHOD_CODE))


@functools.cache
def code_hash(names: tuple[str, ...]) -> str:
    """Over the sources that these patterns name, relative to this package."""
    here = Path(__file__).resolve().parent
    files = [file for name in names for found in here.glob(name) for file in (found, *found.rglob("*.py"))]
    return hash_of(*((path.name, path.read_bytes()) for path in sorted(set(files)) if path.suffix == ".py"))
