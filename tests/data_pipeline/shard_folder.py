"""Small shard folders for the tests of the tools around them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_pipeline.records import Quality, Sample
from data_pipeline.shards import ShardWriter, to_members

QUALITY = Quality(
    min_side_px=99.0, sharpness=50.0, luminance=120.0, contrast=40.0, motion_px=1.0, coverage_frac=1.0, score=0.9
)


def sample(number: int, count: int = 1, split: str = "train", **fields: Any) -> Sample:
    """A sample of 32 px; by default each has an identity of its own."""
    ramp = np.linspace(0, 200, 32, dtype=np.uint8)[None, None, :, None] + np.zeros((count, 32, 32, 3), np.uint8)
    base: dict[str, Any] = {
        "key": f"{number:016x}-000000-0",
        "split": split,
        "species": "panda",
        "kind": "image" if count == 1 else "video",
        "frames": ramp + np.arange(count, dtype=np.uint8)[:, None, None, None] * 5,
        "points": np.random.default_rng(number).uniform(0, 32, (count, 5, 2)).astype(np.float32),
        "source_from_crop": np.tile(np.float32([[2, 0, 3], [0, 2, 4]]), (count, 1, 1)),
        "start": 7,
        "fps": 25.0,
        "source_id": f"{number:016x}",
        "identity": f"panda-{number}",
        "performance": "",
        "licence": "CC0",
        "origin": "here",
        "quality": QUALITY,
    }
    return Sample(**(base | fields))


def groups(samples: list[Sample]) -> list[tuple[dict[str, Any], Mapping[str, bytes]]]:
    """Samples -> what a ShardWriter takes."""
    return [(json.loads(members["json"]), members) for members in map(to_members, samples)]


def write(out: Path, samples: list[Sample], **options: Any) -> dict[str, Any]:
    """Write a shard folder; options are the ShardWriter's."""
    out.mkdir(exist_ok=True)
    return ShardWriter(**options)(out, groups(samples), {"config": {"a": 1}})


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
