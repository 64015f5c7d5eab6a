"""weights.lock.json: where downloaded weight files come from and which bytes they must have."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lp_models.state_files import WeightsError, one_line, staged

LOCK = "weights.lock.json"
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedFile:
    """One downloaded file."""

    num_bytes: int
    sha256: str
    when: str
    """UTC, ISO 8601: when the file was found to be whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """What was downloaded into one folder."""

    repo: str
    revision: str
    """The commit."""
    asked: str
    """The revision that was asked for at the first download, such as main."""
    files: dict[str, LockedFile]
    """Path in the repository, and below the folder -> the file."""

    def adding(self, name: str, file: LockedFile) -> "Lock":
        """A lock with one more file."""
        return replace(self, files=self.files | {name: file})


def read_lock(root: Path) -> Lock | None:
    """What `lp-weights download` recorded in a folder; None if nothing.

    Raises:
        WeightsError: the file is damaged or of a newer format.
    """
    path = root / LOCK
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        number = content["format"]
        files = {
            str(name): LockedFile(num_bytes=int(f["bytes"]), sha256=str(f["sha256"]), when=str(f["when"]))
            for name, f in content["files"].items()
        }
        lock = Lock(repo=content["repo"], revision=content["revision"], asked=content["asked"], files=files)
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise WeightsError(
            f"{path} is damaged ({one_line(error)}); delete it and run lp-weights download again: whole files are kept"
        ) from error
    if number != FORMAT:
        raise WeightsError(f"{path} has format {number}, this version reads {FORMAT}; update pawtrait")
    return lock


def write_lock(root: Path, lock: Lock) -> None:
    """Write weights.lock.json, whole or not at all."""
    content = {
        "format": FORMAT,
        "repo": lock.repo,
        "asked": lock.asked,
        "revision": lock.revision,
        "files": {
            name: {"bytes": f.num_bytes, "sha256": f.sha256, "when": f.when} for name, f in sorted(lock.files.items())
        },
    }
    with staged(root) as aside:
        aside(LOCK).write_text(json.dumps(content, indent=2) + "\n")


def lock_above(path: Path) -> tuple[Path, Lock] | None:
    """The download folder that a file or folder belongs to, and its lock."""
    full = path.resolve()
    for root in (full, *full.parents[:3]):
        if lock := read_lock(root):
            return root, lock
    return None


def locked_sum(path: Path) -> str | None:
    """The sha256 of a downloaded file according to its lock."""
    if (found := lock_above(path)) is None:
        return None
    root, lock = found
    entry = lock.files.get(path.resolve().relative_to(root).as_posix())
    return entry.sha256 if entry else None
