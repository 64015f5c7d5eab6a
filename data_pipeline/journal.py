"""A change of a shard folder -> done whole, whenever its process is killed.

Order of work: new files are laid aside; then the journal says what is to be done (from here on the change is finished
by whoever changes the folder next); then files are renamed or removed, texts are written, the manifest last, and the
journal goes. Every step can be done twice.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from data_pipeline.shards import MANIFEST, ShardError
from data_pipeline.whole_file import write_text

JOURNAL = "change.journal.json"
ASIDE = ".new.part"
"""Ending of new files that wait for the change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of a folder's files; names are relative to it."""

    replace: Sequence[str] = ()
    """Files whose new content lies aside."""
    remove: Sequence[str] = ()
    texts: dict[str, str] = field(default_factory=dict)
    """Other files -> their new content."""
    manifest: str
    """The new manifest.json."""


def aside(folder: Path, name: str) -> Path:
    """Where the new content of a file lies until the change is made."""
    return folder / (name + ASIDE)


def make_change(folder: Path, change: Change) -> None:
    """Make a change whose files lie aside; a kill before the journal is written leaves the folder as it was."""
    for name in change.replace:
        _sync(aside(folder, name))
    plan = asdict(change) | {"manifest_before": _digest_of(folder)}
    write_text(folder / JOURNAL, json.dumps(plan))
    _sync(folder / JOURNAL)
    _finish(folder, change)


def resume_change(folder: Path) -> bool:
    """Finish a change that was stopped after its journal was written; whether there was one.

    What a change that was stopped earlier left aside is removed.

    Raises:
        ShardError: the journal is damaged, or another run has written the folder since.
    """
    path = folder / JOURNAL
    if not path.exists():
        _drop_asides(folder)
        return False
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        before = plan.pop("manifest_before")
        change = Change(**plan)
        if any(Path(name).is_absolute() or ".." in Path(name).parts for name in _names(change)):
            raise ValueError("a name leads out of the folder")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ShardError(f"{path} is damaged ({error!r}); remove it and give the stopped command again") from error
    if _digest_of(folder) not in (before, _digest(change.manifest)):
        raise ShardError(
            f"{folder} was written by another run after a change of it was stopped; remove {path} and give the stopped "
            "command (takedown or requalify) again"
        )
    _finish(folder, change)
    return True


def _names(change: Change) -> list[str]:
    return [*change.replace, *change.remove, *change.texts]


def _finish(folder: Path, change: Change) -> None:
    """Do what the journal says; what is done already stays done."""
    for name in change.replace:
        if aside(folder, name).exists():
            os.replace(aside(folder, name), folder / name)  # noqa: PTH105
    for name in change.remove:
        (folder / name).unlink(missing_ok=True)
    for name, text in change.texts.items():
        write_text(folder / name, text)
    write_text(folder / MANIFEST, change.manifest)
    (folder / JOURNAL).unlink()
    _drop_asides(folder)


def _drop_asides(folder: Path) -> None:
    """What a change that was killed before its journal left behind."""
    for path in [*folder.glob(f"*{ASIDE}"), *folder.glob(f"*{ASIDE}.part"), *folder.glob(f"{JOURNAL}.part")]:
        path.unlink()


def _digest_of(folder: Path) -> str:
    path = folder / MANIFEST
    return _digest(path.read_text(encoding="utf-8")) if path.exists() else ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _sync(path: Path) -> None:
    """Wait until the disk has it: the journal may not come before what it speaks of."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
