"""Pairs <-> protocol.json: what was measured, so that somebody else measures exactly the same."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_pipeline.whole_file import write_text
from evaluation.protocols.pairs import Pair
from evaluation.protocols.plan import Plan

if TYPE_CHECKING:
    from evaluation.protocols.protocol import PairProtocol

MANIFEST_FORMAT = 1
Entry = dict[str, Any]
"""One pair, as JSON."""
NO_OPTIONS = ("name", "manifest", "drivers")
"""Fields of protocols that are names or places on this machine."""


def entry_of(plan: Plan, offsets: Sequence[int]) -> Entry:
    """A pair in JSON's types: no path and no time, so that the same data give the same bytes on every machine."""
    source, driver = plan.source, plan.driver
    entry: Entry = {
        "id": plan.pair_id,
        "species": plan.species,
        "driver_species": driver.species,
        "source_identity": source.identity,
        "driver_identity": driver.identity,
        "has_truth": plan.truth_at is not None,
        "source": {"clip": source.key, "hash": source.hashed(), "frame": source.start + plan.source_at},
        "driver": {
            "clip": driver.key,
            "hash": driver.hashed(),
            "fps": round(driver.fps, 5),
            "frames": [driver.start + plan.driver_at + offset for offset in offsets],
        },
    }
    if plan.sweep is not None:
        entry |= {"factor": plan.sweep, "commanded": list(plan.commanded)}
        del entry["driver"]
    return entry


def manifest_text(protocol: "PairProtocol", pairs: Sequence[Pair], side_px: int) -> str:
    """Everything that says which pixels are measured, as JSON."""
    about = {
        "format": MANIFEST_FORMAT,
        "protocol": protocol.name,
        "side_px": side_px,
        "options": _options(protocol),
        "pairs": [pair.facts for pair in pairs],
    }
    return json.dumps(about, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def write_manifest(path: Path, protocol: "PairProtocol", pairs: Sequence[Pair], side_px: int) -> None:
    """Write protocol.json; `protocol.manifest=FILE` reads it back."""
    write_text(path, manifest_text(protocol, pairs, side_px))


def read_manifest(path: Path, protocol: "PairProtocol", side_px: int) -> list[Entry]:
    """The pairs of a manifest that was written by the same protocol.

    Raises:
        ValueError: it cannot be read, or is of another protocol, side or format.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        entries = [dict(entry) for entry in found["pairs"]]
        is_whole = all(isinstance(entry["id"], str) and isinstance(entry["source"]["hash"], str) for entry in entries)
        kind = found["format"], found["protocol"], found["side_px"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a protocol.json of lp-evaluate ({error!r}); give one it wrote") from error
    if not entries or not is_whole:
        raise ValueError(f"{path} names no pair, or one without a hash; give a protocol.json that lp-evaluate wrote")
    if kind != (MANIFEST_FORMAT, protocol.name, side_px):
        raise ValueError(
            f"{path} is of format {kind[0]}, protocol={kind[1]}, side_px={kind[2]}, and this run of format "
            f"{MANIFEST_FORMAT}, protocol={protocol.name}, side_px={side_px}; make them equal"
        )
    return entries


def check(path: Path, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Refuse a pair that is not what the manifest says.

    Raises:
        ValueError: its files or frames changed; the message names the clip.
    """
    for role in ("source", "driver"):
        a, b = wanted.get(role, {}), found.get(role, {})
        if a.get("hash") != b.get("hash"):
            raise ValueError(
                f"{path}: the {role} {b.get('clip')} of the pair {wanted['id']} is another file now (hash "
                f"{b.get('hash')}, was {a.get('hash')}); give the data the manifest was made from"
            )
    if differing := sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)):
        raise ValueError(
            f"{path}: the pair {wanted['id']} differs in {', '.join(differing)}; give the data and the protocol "
            "options that the manifest was made from"
        )


def _options(protocol: "PairProtocol") -> dict[str, Any]:
    values = {field.name: getattr(protocol, field.name) for field in fields(protocol) if field.name not in NO_OPTIONS}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
