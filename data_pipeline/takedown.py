"""Ids that must go -> a shard folder without them: only the shards touched are rewritten, whenever it is killed.

Rewritten files are laid aside, then `journal.py` makes the change.
"""

import datetime
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data_pipeline.candidates import SCORES
from data_pipeline.journal import JOURNAL, Change, aside, make_change, resume_change
from data_pipeline.ledger import TAKEDOWNS, Tally, attribution, id_hashes, taken_down
from data_pipeline.run_lock import run_lock
from data_pipeline.shards import (
    ATTRIBUTION,
    ShardError,
    manifest_text,
    read_manifest,
    read_records,
    read_tar,
    shard_entry,
    write_tar,
)

__all__ = ["JOURNAL", "Takedown", "takedown", "takedown_action"]

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
    """It finished a change (takedown or requalify) that had been stopped before, too."""

    def told(self) -> str:
        """A few lines for people."""
        species = ", ".join(f"{name} {count}" for name, count in self.by_species.items()) or "nothing"
        lines = ["a change that had been stopped was finished first"] if self.is_resumed else []
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
        is_resumed = resume_change(folder)
        date = (today or datetime.datetime.now(datetime.UTC).date()).isoformat()
        return replace(_take_down(folder, wanted, reason.strip(), date), is_resumed=is_resumed)


def _take_down(folder: Path, wanted: set[str], reason: str, date: str) -> Takedown:
    manifest = read_manifest(folder)
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
    change = Change(
        replace=[*sorted(hits.keys() & kept), *_scores_aside(folder, set(hashes), gone_keys)],
        remove=[*sorted(hits.keys() - kept), *(other := _other_files(folder, set(hashes)))],
        texts={ATTRIBUTION: attribution(new), TAKEDOWNS: _list(folder, sorted(hashes), date, reason)},
        manifest=manifest_text(new),
    )
    make_change(folder, change)
    return Takedown(
        samples=hits.total(), frames=gone_frames, by_species=dict(sorted(gone_species.items())),
        rewritten=tuple(change.replace), deleted=tuple(sorted(hits.keys() - kept)), other_files=tuple(other),
    )  # fmt: skip


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
            new = aside(folder, name)
            write_tar(new, _kept(folder / name, hashes))
            yield shard_entry(new, left, name)


def _kept(path: Path, hashes: set[str]) -> Iterator[tuple[str, dict[str, bytes]]]:
    for key, members in read_tar(path):
        if hashes.isdisjoint(id_hashes(json.loads(members["json"]))):
            yield key, members


def _scores_aside(folder: Path, hashes: set[str], gone_keys: set[str]) -> list[str]:
    """Lay scores.jsonl aside without the lines of what goes, where it has any; a key begins with its source_id."""
    path = folder / SCORES
    if not path.exists():
        return []
    is_changed = False
    try:
        with path.open(encoding="utf-8") as lines, aside(folder, SCORES).open("w", encoding="utf-8") as kept:
            for line in lines:
                key = str(json.loads(line)["key"])
                names = {"key": key, "source_id": key.partition("-")[0]}
                if key in gone_keys or not hashes.isdisjoint(id_hashes(names)):
                    is_changed = True
                else:
                    kept.write(line)
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


def _list(folder: Path, hashes: Sequence[str], date: str, reason: str) -> str:
    """takedowns.jsonl with what it does not hold yet."""
    path, known = folder / TAKEDOWNS, taken_down(folder)
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    entries = [{"id_sha256": one, "date": date, "reason": reason} for one in hashes if one not in known]
    return old + "".join(json.dumps(entry, sort_keys=True) + "\n" for entry in entries)


def takedown_action(folder: Path | str, ids: Sequence[str] | str, reason: str) -> Takedown:
    """`lp-curate action=takedown`: ids from a list or, one a line, from a text file; prints what was removed."""
    listed = Path(ids).read_text(encoding="utf-8").splitlines() if isinstance(ids, str) else [str(one) for one in ids]
    done = takedown(Path(folder), listed, reason)
    print(done.told())  # noqa: T201
    if (Path(folder) / "README.md").exists():
        print("the dataset card is of before: write it again")  # noqa: T201
    return done
