"""A composed config -> what a run's steps depend on, so that a checkpoint is not gone on from with other options."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

FREE = (
    "out", "resume", "max_steps", "log_every", "grid_every", "grid_rows", "peak_tflops", "checkpoint_every",
    "keep_last", "keep_best", "logger", "trainer", "probe", "data.workers", "data.shards",
)  # fmt: skip
"""Options that may change from one start to the next; `max_steps` moves the end of the learning rates with it."""

Settings = Mapping[str, str]


def settings_of(config: Mapping[str, Any], manifest_sha256: str | None) -> dict[str, str]:
    """Dotted option -> its value as JSON, without those that are free.

    Args:
        config: composed and resolved, of plain values.
        manifest_sha256: of the shards, in place of their path: a folder may be moved.
    """
    found: dict[str, str] = {}

    def walk(node: Mapping[str, Any], prefix: str) -> None:
        for key, value in node.items():
            name = f"{prefix}{key}"
            if name in FREE:
                continue
            if isinstance(value, Mapping) and value:
                walk(value, f"{name}.")
            else:
                found[name] = json.dumps(value, sort_keys=True, default=str)

    walk(config, "")
    found["data.manifest"] = json.dumps(manifest_sha256)
    return dict(sorted(found.items()))


def settings_hash(settings: Settings) -> str:
    """SHA-256 of the settings."""
    return hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode()).hexdigest()


def first_difference(before: Settings, now: Settings) -> str | None:
    """`name was A and is B now` of the first option that differs; None where all agree."""
    for name in [*now, *(name for name in before if name not in now)]:
        if before.get(name) != now.get(name):
            if name == "data.manifest":
                return "data.shards hold other media (the manifest's checksum differs)"
            old, new = (values.get(name, "not there").strip('"') for values in (before, now))
            return f"{name} was {old} and is {new} now"
    return None
