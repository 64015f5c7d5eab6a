"""A curated folder -> the numbers of its report: the funnel, balance, scores, reasons, each read once."""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from data_pipeline.candidates import NEAR_DUPLICATE, Candidate, each_candidate
from data_pipeline.charts import Level
from data_pipeline.ledger import seconds_of
from data_pipeline.records import Drop
from data_pipeline.shards import read_groups, shard_paths

FILES = "files.jsonl"
_PLACE = re.compile(r"#(?:shot|frame)\d+(?:#.*)?$")
_UNREADABLE = ("source", "probe", "truth", "curation")
"""Stages whose drops are whole files that gave no frame."""


class Tile(NamedTuple):
    """A packed sample that may be shown: where its members are."""

    order: bytes
    """A hash of its key: the smallest are shown, whatever the order of files."""
    key: str
    shard: Path
    offset: int
    title: str


@dataclass(slots=True)
class Balance:
    """Of one species: how much, and of whom."""

    splits: Counter[str] = field(default_factory=Counter)
    clips: int = 0
    frames: int = 0
    seconds: float = 0.0
    identities: set[bytes] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)
    tiles: list[Tile] = field(default_factory=list)


@dataclass(slots=True)
class Numbers:
    """Everything that is drawn, but for pictures."""

    species: dict[str, Balance] = field(default_factory=lambda: defaultdict(Balance))
    clip_seconds: list[float] = field(default_factory=list)
    scores: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    is_kept: list[bool] = field(default_factory=list)
    is_clip: list[bool] = field(default_factory=list)
    sides_px: set[int] = field(default_factory=set)
    fails: Counter[str] = field(default_factory=Counter)
    """Reason -> crops that have it."""
    fails_only: Counter[str] = field(default_factory=Counter)
    """Reason -> crops that have no other."""
    shown: dict[str, list[tuple[bytes, Candidate]]] = field(default_factory=lambda: defaultdict(list))
    """First reason -> some of the crops dropped for it."""
    at: dict[str, Candidate] = field(default_factory=dict)
    """Place -> candidate, for places that were asked for."""
    place_of: dict[str, str] = field(default_factory=dict)
    """Key of a sample that may be shown -> where it is from."""
    files_with_head: set[str] = field(default_factory=set)
    files_with_sample: set[str] = field(default_factory=set)


def gather(folder: Path, drops: Iterable[Drop], num_tiles: int, places: frozenset[str] = frozenset()) -> Numbers:
    """Read records and scores.

    Args:
        folder: what lp-curate wrote.
        drops: of the run.
        num_tiles: of each species and of each reason.
        places: candidates that are to be remembered.
    """
    numbers = Numbers()
    for shard in shard_paths(folder):
        for group in read_groups(shard, {"json"}):
            _add_record(numbers, json.loads(group.members["json"]), shard, group.offset, num_tiles)
    shown = {tile.key for row in numbers.species.values() for tile in sorted(row.tiles)[:num_tiles]}
    for one in each_candidate(folder):
        if one.key in shown:
            numbers.place_of[one.key] = one.place
        _add_candidate(numbers, one, num_tiles)
        if one.place in places:
            numbers.at[one.place] = one
    numbers.files_with_head |= {file_of(drop.key) for drop in drops if drop.stage == "track"}
    return numbers


def file_of(place: str) -> str:
    """path#frame12 -> path."""
    return _PLACE.sub("", place)


def digest(key: str) -> bytes:
    """By which samples are drawn: evenly, and the same ones each time."""
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()[:8]


def _add_record(numbers: Numbers, record: Mapping[str, Any], shard: Path, offset: int, num_tiles: int) -> None:
    row = numbers.species[record["species"]]
    row.splits[record["split"]] += 1
    row.frames += record["num_frames"]
    if record["kind"] == "video":
        row.clips += 1
        row.seconds += seconds_of(record)
        numbers.clip_seconds.append(seconds_of(record))
    row.identities.add(digest(record["identity"] or record["source_id"]))
    row.sources.add(record["source_id"])
    length = f"{seconds_of(record):.1f} s" if record["kind"] == "video" else "still"
    title = f"{record['split']} · {length} · {record['quality']['min_side_px']:.0f} px"
    row.tiles.append(Tile(digest(record["key"]), record["key"], shard, offset, title))
    if len(row.tiles) > 4 * num_tiles:
        row.tiles = sorted(row.tiles)[:num_tiles]


def _add_candidate(numbers: Numbers, one: Candidate, num_tiles: int) -> None:
    for name, value in asdict(one.scores).items():
        numbers.scores[name].append(value)
    numbers.is_kept.append(not one.reasons)
    numbers.is_clip.append(one.num_frames > 1)
    numbers.sides_px.add(one.side_px)
    path = file_of(one.place)
    numbers.files_with_head.add(path)
    if not one.reasons:
        numbers.files_with_sample.add(path)
        return
    numbers.fails.update(one.reasons)
    if len(one.reasons) == 1:
        numbers.fails_only[one.reasons[0]] += 1
    some = numbers.shown[one.reasons[0]]
    some.append((digest(one.place), one))
    if len(some) > 4 * num_tiles:
        numbers.shown[one.reasons[0]] = sorted(some, key=lambda pair: pair[0])[:num_tiles]


def funnel(numbers: Numbers, drops: Iterable[Drop], num_files: int, packed: int) -> list[Level]:
    """From files to samples; shots and tracks stand between where `files.jsonl` counts them."""
    by_stage: dict[str, Counter[str]] = defaultdict(Counter)
    headless: set[str] = set()
    for drop in drops:
        by_stage[drop.stage][drop.reason] += 1
        headless |= {file_of(drop.key)} if drop.stage in ("detect", "shots") else set()
    whole = sum((by_stage[stage] for stage in _UNREADABLE), Counter())
    readable = num_files - whole.total()
    with_head = len(numbers.files_with_head)
    nothing = Counter({"no head in any shot": readable - with_head}) if readable > with_head else Counter()
    pieces = len(numbers.is_kept)
    twins = numbers.fails[NEAR_DUPLICATE]
    passed = sum(numbers.is_kept) + twins
    tracks = by_stage["track"]
    return [
        Level("files", "files", num_files, {}),
        Level("readable, each content once", "files", readable, dict(whole)),
        Level("with a head", "files", with_head, dict(nothing)),
        Level("pieces cut out and measured", "pieces", pieces, dict(tracks)),
        Level("passed the gate", "pieces", passed, dict(by_stage["quality"])),
        Level("no near-duplicate", "pieces", passed - twins, {NEAR_DUPLICATE: twins} if twins else {}),
        Level(
            "samples in the shards", "pieces", packed,
            {"licence or taken down": passed - twins - packed} if passed - twins > packed else {},
        ),
    ]  # fmt: skip


def read_file_rows(folder: Path) -> list[dict[str, Any]] | None:
    """Lines of files.jsonl; None where it was not written."""
    path = folder / FILES
    if not path.is_file():
        return None
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
