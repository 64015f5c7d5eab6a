"""A path -> a place aside that becomes the file when all went well, or one sentence why it cannot be written."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_LONGEST = 120
"""Characters of a path that a message shows; the end is what tells files apart."""


class WriteError(ValueError):
    """A file that cannot be written; the message names it and says why."""


def shown(path: Path) -> str:
    """A path as a message shows it: one line, and not longer than a message may be."""
    text = "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in str(path))
    if len(text) <= _LONGEST:
        return text
    return f"…{text[-max(len(path.name), 1) :][-_LONGEST:]}"


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says while `path` is written into one sentence.

    Raises:
        WriteError: instead of any OSError of the body.
    """
    try:
        yield
    except OSError as error:
        raise WriteError(f"{shown(path)} {_why(error)}") from error


def _why(error: OSError) -> str:
    match error.errno:
        case errno.ENOSPC:
            return "cannot be written: the disk is full; free some space or write to another disk"
        case errno.EDQUOT:
            return "cannot be written: your quota of disk space is used up; free some space or write elsewhere"
        case errno.EFBIG:
            return "cannot be written: it grew larger than files may be here; write elsewhere or make it shorter"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return "cannot be written: its folder does not allow it; write to a folder of your own"
        case errno.ENOTDIR | errno.EEXIST:
            return "cannot be written: a part of its path is a file and not a folder; give another path"
        case errno.EISDIR:
            return "is a folder and cannot be written as a file; give a file name"
    return f"cannot be written ({error.strerror or error}); write elsewhere"


def aside(path: Path) -> Path:
    """Where `path` is written until it is whole."""
    return path.with_name(f"{path.name}.part")


def check_writable(path: Path) -> None:
    """Make the folder of `path` and try to write there: for refusing an output before any work is done.

    Raises:
        WriteError: it cannot be written.
    """
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = aside(path)
        _remove(part)
        part.touch()
        part.unlink()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path to write to; it is renamed to `path` at the end, and removed after an error.

    Raises:
        WriteError: the folder cannot be made, or `path` is a folder.
    """
    part = aside(path)
    with write_errors(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(part)
    try:
        yield part
        with write_errors(path):
            os.replace(part, path)  # noqa: PTH105
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all; bytes of a file's name that are no text become an escape.

    Raises:
        WriteError: the disk does not take it.
    """
    with whole_file(path) as part, write_errors(path):
        part.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        WriteError: the disk does not take it.
    """
    with whole_file(path) as part, write_errors(path):
        part.write_bytes(data)


@contextmanager
def whole_binary(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing bytes; it becomes `path` at the end, and is removed after an error.

    Raises:
        WriteError: the folder cannot be made, `path` is a folder, or its last bytes find no place.
    """
    with whole_file(path) as part:
        with write_errors(path):
            file = part.open("wb")
        try:
            yield file
        except BaseException:
            with suppress(OSError):  # the file is thrown away, and its first error is on its way
                file.close()
            raise
        with write_errors(path):
            file.close()


@contextmanager
def whole_folder(path: Path, suffix: str) -> Iterator[Path]:
    """Give a folder to write files that end in `suffix` to; it is renamed to `path` at the end, or removed.

    An older folder of this name is replaced if it holds nothing but such files: somebody's other files stay.

    Raises:
        WriteError: the folder cannot be made, or `path` holds other files.
    """
    part, old = aside(path), path.with_name(f"{path.name}.old.part")
    _refuse_foreign(path, suffix)
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(part)
        _remove(old)
        part.mkdir()
    try:
        yield part
        _refuse_foreign(path, suffix)
        with write_errors(path):
            # A folder cannot be renamed over one that holds files.
            if path.exists():
                path.rename(old)
            part.rename(path)
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        _remove(old)
        _remove(part)


def _refuse_foreign(path: Path, suffix: str) -> None:
    if path.exists() and not path.is_dir():
        raise WriteError(f"{shown(path)} is a file, and a folder is to be written; give another name")
    if path.is_dir() and any(entry.suffix != suffix or entry.is_dir() for entry in path.iterdir()):
        raise WriteError(f"{shown(path)} holds other files than {suffix[1:]} frames; give the name of a new folder")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
