"""Pairs of a protocol -> a folder that any method can work on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_pipeline.progress import track
from data_pipeline.whole_file import write_text
from evaluation.pair_folder import PAIRS_FILE, entry_of, pairs_text, write_pair
from evaluation.protocols.pairs import Pair


def export(folder: Path, pairs: Sequence[Pair], about: Mapping[str, Any] | None = None) -> Path:
    """Write the pairs of any protocol that has drivers; the truth stays with the protocol.

    Args:
        folder: is made.
        pairs: of a protocol; their predictions are scored by the same protocol with `methods.external=<folder>`.
        about: goes into pairs.json.

    Returns:
        pairs.json.

    Raises:
        ValueError: a pair is a sweep, which has no driver.
    """
    entries = []
    for pair in track(pairs, what="writing pairs", unit="pairs"):
        frames = pair.load()
        if frames.commanded is not None:
            raise ValueError(f"{pair.pair_id} is a sweep, which has no driver to be written; export another protocol")
        facts = {name: pair.facts[name] for name in ("level", "factor") if name in pair.facts}
        facts |= {"species": pair.species, "driver_species": pair.driver_species}
        entry = entry_of(pair.pair_id, len(frames.driving), frames.fps or 25.0, facts)
        write_pair(folder, entry, frames.source, frames.driving)
        entries.append(entry)
    path = folder / PAIRS_FILE
    write_text(path, pairs_text(entries, about or {"protocol": pairs[0].protocol if pairs else ""}))
    return path
