"""Records of samples -> counts and the licence ledger: how much came from where, and under which licence."""

import hashlib
import importlib.metadata
import json
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

UNKNOWN = "unknown"
"""How an empty licence or origin is called, in the ledger and in `allow_licences`."""
TAKEDOWNS = "takedowns.jsonl"
COUNTED = ("split", "species", "kind", "licence")
"""Fields whose values are counted in the manifest."""


class LedgerError(ValueError):
    """A list beside the shards that cannot be read; the message names it and the remedy."""


def licence_allowed(licence: str, allow_licences: Sequence[str]) -> bool:
    """Whether a licence is one of those allowed.

    Args:
        licence: of a sample; empty counts as `unknown`.
        allow_licences: names or patterns such as `CC-BY-*`, in any case; none of them allows everything.
    """
    name = (licence or UNKNOWN).lower()
    return not allow_licences or any(fnmatchcase(name, pattern.lower()) for pattern in allow_licences)


def code_version() -> str:
    """`git describe` of the checkout that this code runs in; of an installed package its version."""
    root = Path(__file__).resolve().parent.parent
    if (root / ".git").exists() and (root / "pyproject.toml").exists():
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--tags"]
        try:
            described = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired):  # no git on this machine: the package knows its version too
            described = None
        if described and described.returncode == 0 and described.stdout.strip():
            return f"{importlib.metadata.version('pawtrait')}+{described.stdout.strip()}"
    return importlib.metadata.version("pawtrait")


def seconds_of(record: Mapping[str, Any]) -> float:
    """Playing time of a sample; 0 for a still."""
    return record["num_frames"] / record["fps"] if record["kind"] == "video" and record["fps"] > 0 else 0.0


def id_hashes(record: Mapping[str, Any]) -> set[str]:
    """sha256 of each name under which a sample can be taken down: key, source_id, identity."""
    ids = (record.get(name) for name in ("key", "source_id", "identity"))
    return {hashlib.sha256(one.encode()).hexdigest() for one in ids if one}


def taken_down(directory: Path) -> set[str]:
    """Hashes of the ids that `takedown` removed from this folder, which packing leaves out for ever.

    Raises:
        LedgerError: the list is damaged: nobody shall come back because of that.
    """
    path = directory / TAKEDOWNS
    if not path.exists():
        return set()
    try:
        return {json.loads(line)["id_sha256"] for line in path.read_text(encoding="utf-8").splitlines()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LedgerError(f"{path} is damaged ({error!r}); mend the line before packing again") from error


@dataclass(slots=True, kw_only=True)
class _Row:
    samples: int = 0
    frames: int = 0
    seconds: float = 0.0
    identities: set[bytes] = field(default_factory=set)
    species: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Tally:
    """Adds up the records of a shard folder; the order in which they come does not show in the sums.

    Identities are kept as eight bytes each, so a million of them take some ten megabytes.
    """

    counts: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in COUNTED})
    frames: Counter[str] = field(default_factory=Counter)
    rows: defaultdict[tuple[str, str], _Row] = field(default_factory=lambda: defaultdict(_Row))

    def add(self, record: Mapping[str, Any]) -> None:
        """Count one sample's JSON record."""
        for name, counter in self.counts.items():
            counter[record[name] or UNKNOWN] += 1
        self.frames[record["split"]] += record["num_frames"]
        row = self.rows[record["licence"] or UNKNOWN, record["origin"] or UNKNOWN]
        row.samples += 1
        row.frames += record["num_frames"]
        # Rounded to microseconds so that sums of the same numbers in another order stay the same.
        row.seconds = round(row.seconds + round(seconds_of(record), 6), 6)
        row.identities.add(hashlib.sha256((record["identity"] or record["source_id"]).encode()).digest()[:8])
        row.species[record["species"]] += 1

    def summary(self) -> dict[str, Any]:
        """The manifest's `samples`, `frames`, `counts` and `ledger`."""
        return {
            "samples": sum(row.samples for row in self.rows.values()),
            "frames": dict(sorted(self.frames.items())),
            "counts": {name: dict(sorted(counter.items())) for name, counter in self.counts.items()},
            "ledger": [
                {
                    "licence": licence,
                    "origin": origin,
                    "samples": row.samples,
                    "frames": row.frames,
                    "seconds": round(row.seconds, 3),
                    "identities": len(row.identities),
                    "species": dict(sorted(row.species.items())),
                }
                for (licence, origin), row in sorted(self.rows.items())
            ],
        }


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a Markdown table; what would end a cell is escaped."""

    def line(cells: Sequence[object]) -> str:
        safe = (" ".join(str(cell).split()).replace("\\", "\\\\").replace("|", "\\|") for cell in cells)
        return "| " + " | ".join(safe) + " |"

    return [line(titles), "|" + "---|" * len(titles), *(line(row) for row in rows)]


def ledger_table(manifest: Mapping[str, Any]) -> list[str]:
    """The licence ledger as lines of a Markdown table."""
    titles = ("licence", "origin", "samples", "frames", "seconds", "identities", "species")
    rows = [
        (*(row[name] for name in titles[:-1]), ", ".join(f"{name} {n}" for name, n in row["species"].items()))
        for row in manifest["ledger"]
    ]
    return table(titles, rows)


def attribution(manifest: Mapping[str, Any]) -> str:
    """Manifest -> the text of ATTRIBUTION.md."""
    lines = ["# Where does this media come from?", "", "Licences and origins are those given to lp-curate."]
    missing = sum(row["samples"] for row in manifest["ledger"] if row["licence"] == UNKNOWN)
    if missing:
        lines += ["", f"{missing} samples carry no licence: find out theirs before you pass them on."]
    lines += ["", *ledger_table(manifest), ""]
    return "\n".join(lines)
