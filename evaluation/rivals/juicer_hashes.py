"""Paths on stdin, one a line -> one JSON line each: the hash by which Data-Juicer's operators tell copies.

Run by Data-Juicer's own Python (not ours): python juicer_hashes.py images|videos
"""

import importlib
import json
import sys


def main(kind: str) -> None:
    """Hash every file with the operator that a recipe would use."""
    ops = importlib.import_module("data_juicer.ops.deduplicator")
    op = ops.ImageDeduplicator(method="phash") if kind == "images" else ops.VideoDeduplicator()
    for line in sys.stdin:
        path = line.rstrip("\n")
        sample = op.compute_hash({kind: [path], "text": ""})
        found = next(value for key, value in sample.items() if key not in (kind, "text"))
        sys.stdout.write(json.dumps([path, found]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
