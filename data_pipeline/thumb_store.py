"""Thumbnails of all samples -> one file on disk, read piece by piece: a million clips are 48 GB, not in memory."""

import base64
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import UInt8

from data_pipeline.whole_file import write_errors

NOTES = "notes"
"""The member of a sample in `.work` that shards do not hold."""


def thumbs_to_note(thumbs: UInt8[np.ndarray, "N P P"]) -> dict[str, Any]:
    """Thumbnails -> what can stand in a sample's notes."""
    packed = base64.b64encode(zlib.compress(thumbs.tobytes(), 6)).decode()
    return {"thumbs": packed, "thumbs_shape": list(thumbs.shape)}


def note_to_thumbs(note: Mapping[str, Any]) -> UInt8[np.ndarray, "N P P"]:
    """The inverse.

    Raises:
        ValueError: the note is of another version.
    """
    if "thumbs" not in note:
        raise ValueError(
            "a file's result in .work has no thumbnails: delete the folder's .work and run lp-curate again"
        )
    return np.frombuffer(zlib.decompress(base64.b64decode(note["thumbs"])), np.uint8).reshape(note["thumbs_shape"])


class ThumbStore:
    """Append thumbnails while the `with` block lasts; afterwards get them back as views of a memory map."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: list[tuple[int, tuple[int, ...]]] = []
        self._size = 0

    def __enter__(self) -> "ThumbStore":
        with write_errors(self._path):
            self._handle = self._path.open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with write_errors(self._path):
            self._handle.close()

    def append(self, thumbs: UInt8[np.ndarray, "N P P"]) -> None:
        """Store one sample's."""
        self._places.append((self._size, thumbs.shape))
        with write_errors(self._path):
            self._size += self._handle.write(thumbs.tobytes())

    def views(self) -> list[UInt8[np.ndarray, "N P P"]]:
        """What was stored, in order; pages are read when they are touched."""
        if not self._places:
            return []
        whole = np.asarray(np.memmap(self._path, np.uint8, "r"))
        return [whole[start : start + int(np.prod(shape))].reshape(shape) for start, shape in self._places]


def notes_member(thumbs: UInt8[np.ndarray, "N P P"], exempt: bool) -> dict[str, bytes]:
    """The member `notes` of a sample: what near-duplicates are found by, so that no media is decoded for it."""
    return {NOTES: json.dumps(thumbs_to_note(thumbs) | {"exempt": exempt}).encode()}
