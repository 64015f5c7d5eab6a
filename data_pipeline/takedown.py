"""Ids that must go -> a shard folder without them: only the shards touched are rewritten, whenever it is killed.

Order of work: rewritten shards are laid aside; then the journal says what is to be done (from here on a takedown is
finished by whoever calls next); then files are renamed or removed, the manifest and the list of takedowns are written,
and the journal goes last. Every step can be done twice.
"""

import datetime
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data_pipeline.candidates import SCORES
from data_pipeline.ledger import TAKEDOWNS, Tally, attribution, id_hashes, taken_down
from data_pipeline.run_lock import run_lock
from data_pipeline.shards import (
    ATTRIBUTION,
    MANIFEST,
    ShardError,
    manifest_text,
    read_manifest,
    read_records,
    read_tar,
    shard_entry,
    write_tar,
    write_text,
)

JOURNAL = "takedown.journal.json"
_ASIDE = ".takedown"
_SHOWS_PICTURES = ("report.html", "doctor.json")
"""Made from samples and able to show or name one that is gone; made anew by their own commands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Takedown:
    """What a takedown did."""

    samples: int
    frames: int
    by_species: dict[str, int]
    rewritten: tuple[str, ...]
    """Shards, and scores.jsonl."""
    deleted: tuple[str, ...]
    """Shards that held nothing else."""
    other_files: tuple[str, ...]
    """Reports, and results of single files in `.work`, that were removed because they may show what is gone."""
    is_resumed: bool = False
    """It finished a takedown that had been stopped before, too."""

    def told(self) -> str:
        """A few lines for people."""
        species = ", ".join(f"{name} {count}" for name, count in self.by_species.items()) or "nothing"
        lines = ["a takedown that had been stopped was finished first"] if self.is_resumed else []
        lines.append(f"taken down: {self.samples} samples, {self.frames} frames ({species})")
        for what, names in (("rewritten", self.rewritten), ("deleted", self.deleted), ("removed", self.other_files)):
            if names:
                lines.append(f"  {what}: {', '.join(names)}")
        return "\n".join(lines)


def takedown(folder: Path, ids: Sequence[str], reason: str, today: datetime.date | None = None) -> Takedown:
    """Remove all samples with one of these ids from a shard folder.

    Args:
        folder: what lp-curate wrote; another run in it is refused, and nobody should read it meanwhile.
        ids: keys, source_ids or identities, as in the samples' JSON.
        reason: why; it is stored in takedowns.jsonl beside the ids' hashes and the date, so it should not name anyone.
        today: the date that is stored.

    Raises:
        RunLockError: another run works in the folder.
        ShardError: no manifest, a damaged shard, or an id that nothing has and that was not taken down before; then
            nothing has been changed.
    """
    wanted = {one.strip() for one in ids if one.strip()}
    if not wanted or not reason.strip():
        raise ShardError("a takedown needs at least one id (key, source_id or identity) and a reason")
    read_manifest(folder)  # a wrong folder is told before a lock is made in it
    with run_lock(folder):
        is_resumed = resume_takedown(folder)
        date = (today or datetime.datetime.now(datetime.UTC).date()).isoformat()
        return replace(_take_down(folder, wanted, reason.strip(), date), is_resumed=is_resumed)


def _take_down(folder: Path, wanted: set[str], reason: str, date: str) -> Takedown:
    manifest = read_manifest(folder)
    _drop_asides(folder)
    hashes = {hashlib.sha256(one.encode()).hexdigest(): one for one in sorted(wanted)}
    tally, hits, found, gone_keys = Tally(), Counter[str](), set[str](), set[str]()
    gone_frames, gone_species = 0, Counter[str]()
    for entry in manifest["shards"]:
        for record in read_records(folder / entry["name"]):
            if matching := id_hashes(record) & hashes.keys():
                found |= matching
                gone_keys.add(record["key"])
                hits[entry["name"]] += 1
                gone_frames += record["num_frames"]
                gone_species[record["species"]] += 1
            else:
                tally.add(record)
    if strangers := hashes.keys() - found - taken_down(folder):
        names = ", ".join(sorted(hashes[one] for one in strangers))
        raise ShardError(f"{folder}: no sample has the key, source_id or identity {names}; nothing was changed")
    shards = [entry for entry in _rewritten(folder, manifest["shards"], hits, set(hashes)) if entry["samples"]]
    new = {**manifest, **tally.summary(), "shards": shards}
    kept = {entry["name"] for entry in shards}
    plan = {
        "delete": sorted(hits.keys() - kept),
        "replace": [*sorted(hits.keys() & kept), *_scores_aside(folder, set(hashes), gone_keys)],
        "remove": _other_files(folder, set(hashes)),
        "manifest": manifest_text(new),
        "attribution": attribution(new),
        "takedowns": [{"id_sha256": one, "date": date, "reason": reason} for one in sorted(hashes)],
    }
    _write_synced(folder / JOURNAL, json.dumps(plan))
    _finish(folder, plan)
    return Takedown(
        samples=hits.total(), frames=gone_frames, by_species=dict(sorted(gone_species.items())),
        rewritten=tuple(plan["replace"]), deleted=tuple(plan["delete"]), other_files=tuple(plan["remove"]),
    )  # fmt: skip


def resume_takedown(folder: Path) -> bool:
    """Finish a takedown that was stopped after its journal was written; whether there was one.

    Raises:
        ShardError: the journal is damaged.
    """
    path = folder / JOURNAL
    if not path.exists():
        return False
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        names = [*plan["delete"], *plan["replace"], *plan["remove"]]
        if any(Path(name).is_absolute() or ".." in Path(name).parts for name in names):
            raise ValueError("a name leads out of the folder")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ShardError(f"{path} is damaged ({error!r}); remove it and take the ids down again") from error
    _finish(folder, plan)
    return True


def _rewritten(
    folder: Path, entries: Sequence[Mapping[str, Any]], hits: Mapping[str, int], hashes: set[str]
) -> Iterator[Mapping[str, Any]]:
    """The manifest's entries; touched shards are laid aside without the samples that go, and entered anew."""
    for entry in entries:
        name, left = entry["name"], entry["samples"] - hits.get(entry["name"], 0)
        if left == entry["samples"]:
            yield entry
        elif left == 0:
            yield {**entry, "samples": 0}
        else:
            aside = folder / (name + _ASIDE)
            write_tar(aside, _kept(folder / name, hashes))
            with aside.open("rb") as stream:
                os.fsync(stream.fileno())
            yield shard_entry(aside, left, name)


def _kept(path: Path, hashes: set[str]) -> Iterator[tuple[str, dict[str, bytes]]]:
    for key, members in read_tar(path):
        if hashes.isdisjoint(id_hashes(json.loads(members["json"]))):
            yield key, members


def _scores_aside(folder: Path, hashes: set[str], gone_keys: set[str]) -> list[str]:
    """Lay scores.jsonl aside without the lines of what goes, where it has any; a key begins with its source_id."""
    path, aside = folder / SCORES, folder / (SCORES + _ASIDE)
    if not path.exists():
        return []
    is_changed = False
    try:
        with path.open(encoding="utf-8") as lines, aside.open("w", encoding="utf-8") as kept:
            for line in lines:
                key = str(json.loads(line)["key"])
                names = {"key": key, "source_id": key.partition("-")[0]}
                if key in gone_keys or not hashes.isdisjoint(id_hashes(names)):
                    is_changed = True
                else:
                    kept.write(line)
            kept.flush()
            os.fsync(kept.fileno())
    except (ValueError, KeyError, TypeError) as error:
        raise ShardError(f"{path} is damaged ({error!r}); mend or remove it, nothing was changed") from error
    return [SCORES] if is_changed else []


def _other_files(folder: Path, hashes: set[str]) -> list[str]:
    """Reports, and results of single files from which a later curation would pack the samples again."""
    found = [name for name in _SHOWS_PICTURES if (folder / name).exists()]
    for path in sorted((folder / ".work").glob("*.tar")):
        if any(not hashes.isdisjoint(id_hashes(record)) for record in read_records(path)):
            found.append(path.relative_to(folder).as_posix())
    return found


def _finish(folder: Path, plan: Mapping[str, Any]) -> None:
    """Do what the journal says; what is done already stays done."""
    for name in plan["replace"]:
        if (folder / (name + _ASIDE)).exists():
            os.replace(folder / (name + _ASIDE), folder / name)  # noqa: PTH105
    for name in (*plan["delete"], *plan["remove"]):
        (folder / name).unlink(missing_ok=True)
    write_text(folder / ATTRIBUTION, plan["attribution"])
    _list(folder, plan["takedowns"])
    write_text(folder / MANIFEST, plan["manifest"])
    (folder / JOURNAL).unlink()
    _drop_asides(folder)


def _list(folder: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Append to takedowns.jsonl what it does not hold."""
    path, known = folder / TAKEDOWNS, taken_down(folder)
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    new = "".join(json.dumps(entry, sort_keys=True) + "\n" for entry in entries if entry["id_sha256"] not in known)
    write_text(path, old + new)


def _write_synced(path: Path, text: str) -> None:
    """Write a file and wait until the disk has it: the journal may not come before what it speaks of."""
    write_text(path, text)
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _drop_asides(folder: Path) -> None:
    """What a takedown that was killed before its journal left behind."""
    for path in [*folder.glob(f"*{_ASIDE}"), *folder.glob(f"*{_ASIDE}.part")]:
        path.unlink()


def takedown_action(folder: Path | str, ids: Sequence[str] | str, reason: str) -> Takedown:
    """`lp-curate action=takedown`: ids from a list or, one a line, from a text file; prints what was removed."""
    listed = Path(ids).read_text(encoding="utf-8").splitlines() if isinstance(ids, str) else [str(one) for one in ids]
    done = takedown(Path(folder), listed, reason)
    print(done.told())  # noqa: T201
    if (Path(folder) / "README.md").exists():
        print("the dataset card is of before: write it again")  # noqa: T201
    return done
