"""Every crop that was measured, kept or not -> one line of `scores.jsonl` each, and back."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from data_pipeline.quality import QualityGate
from data_pipeline.records import Quality, Rejected, Sample
from data_pipeline.shards import ShardError
from data_pipeline.whole_file import write_text

SCORES = "scores.jsonl"
NEAR_DUPLICATE = "near-duplicate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What the gate needs to decide again."""

    key: str
    place: str
    """path#frame of its first frame."""
    species: str
    kind: str
    """image or video: of the file, for a video's piece may be one frame."""
    num_frames: int
    side_px: int
    scores: Quality
    reasons: tuple[str, ...]
    """Why it was left out; empty: it is in the shards."""
    square: tuple[float, ...] = ()
    """`source_from_crop` of its first frame, row by row: where a report finds its picture. Empty in older folders."""

    def judged(self, gate: QualityGate) -> "Candidate":
        """The same with the reasons of another gate; a near-duplicate stays one."""
        reasons = gate.reasons(self.scores, self.side_px, self.num_frames, self.kind == "video")
        twin = [NEAR_DUPLICATE] if NEAR_DUPLICATE in self.reasons and not reasons else []
        return replace(self, reasons=(*reasons, *twin))


def candidate(sample: Sample, place: str, is_video: bool, reasons: Sequence[str] = ()) -> Candidate:
    """A measured sample -> its line."""
    return Candidate(
        key=sample.key,
        place=place,
        species=sample.species,
        kind="video" if is_video else "image",
        num_frames=len(sample.frames),
        side_px=int(sample.frames.shape[1]),
        scores=sample.quality,
        reasons=tuple(reasons),
        square=tuple(round(float(value), 3) for value in sample.source_from_crop[0].ravel()),
    )


def outcome(made: Sample | Rejected, path: Path) -> Candidate:
    """A result of curation -> its line."""
    sample = made.sample if isinstance(made, Rejected) else made
    reasons = made.reasons if isinstance(made, Rejected) else ()
    # Stills have no rate; a clip's piece of one frame has one.
    return candidate(sample, f"{path.as_posix()}#frame{sample.start}", sample.fps > 0, reasons)


def as_row(one: Candidate) -> dict[str, Any]:
    """JSON of a candidate; scores to four digits, as in the shards."""
    row = asdict(one)
    row["scores"] = {name: round(value, 4) for name, value in row["scores"].items()}
    row |= {"reasons": list(one.reasons), "square": list(one.square)}
    return row


def from_row(row: Mapping[str, Any]) -> Candidate:
    """The inverse of as_row; raises KeyError or TypeError when a field is missing."""
    plain: dict[str, Any] = {f.name: row[f.name] for f in fields(Candidate) if f.name != "square"}
    plain |= {"scores": Quality(**row["scores"]), "reasons": tuple(row["reasons"])}
    return Candidate(**plain, square=tuple(row.get("square", ())))


def write_candidates(folder: Path, found: Iterable[Candidate]) -> Path:
    """Write scores.jsonl, sorted by key, whole or not at all."""
    write_text(folder / SCORES, candidates_text(found))
    return folder / SCORES


def candidates_text(found: Iterable[Candidate]) -> str:
    """The text of scores.jsonl."""
    rows = sorted((as_row(one) for one in found), key=lambda row: row["key"])
    return "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)


def read_candidates(folder: Path) -> list[Candidate]:
    """The candidates of a shard folder.

    Raises:
        ShardError: there is no scores.jsonl, or a line of it is damaged.
    """
    return list(each_candidate(folder))


def each_candidate(folder: Path) -> Iterator[Candidate]:
    """The same one by one, for what need not hold a million of them.

    Raises:
        ShardError: as for `read_candidates`, while it is read.
    """
    path = folder / SCORES
    if not path.is_file():
        raise ShardError(f"{folder} has no {SCORES}: its shards were made before scores were kept; run lp-curate again")
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield from_row(json.loads(line))
            except (KeyError, TypeError, ValueError) as error:
                raise ShardError(f"{path}, line {number} is damaged ({error!r}); run lp-curate again") from error


def counted(found: Iterable[Candidate]) -> dict[str, dict[str, int]]:
    """The funnel: species (and "all") -> candidates, kept, and how many each reason hits.

    A crop with several reasons counts for each, so reasons add up to more than what was left out.
    """
    funnel: dict[str, dict[str, int]] = {}
    for one in found:
        for name in (one.species, "all"):
            row = funnel.setdefault(name, {"candidates": 0, "kept": 0})
            row["candidates"] += 1
            row["kept"] += not one.reasons
            for reason in one.reasons:
                row[reason] = row.get(reason, 0) + 1
    return funnel
