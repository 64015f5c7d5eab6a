"""Small shard folders with candidates, and what the gate left out in .work."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data_pipeline.candidates import Candidate, candidate, write_candidates
from data_pipeline.file_worker import REJECTED
from data_pipeline.hashes import thumbnails
from data_pipeline.quality import QualityGate
from data_pipeline.records import Quality, Sample
from data_pipeline.shards import ShardWriter, to_members, write_tar
from data_pipeline.thumb_store import notes_member

GATE = QualityGate()
SHARPNESS = {0: 20.0, 1: 40.0, 2: 60.0, 3: 80.0, 4: 10.0, 5: 12.0}
"""Samples 4 and above fail the default of 15."""


def scene(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 255, (9, 9, 3), np.uint8), (96, 96), interpolation=cv2.INTER_CUBIC)


def sample(number: int) -> Sample:
    return Sample(
        key=f"{number:016x}-000000-0",
        split="train",
        species="cat" if number % 2 else "dog",
        kind="image",
        frames=scene(number)[None],
        points=np.zeros((1, 5, 2), np.float32),
        source_from_crop=np.float32([[[2, 0, 3], [0, 2, 4]]]),
        start=0,
        fps=0.0,
        source_id=f"{number:016x}",
        identity=f"animal-{number}",
        performance="",
        licence="CC0",
        origin="here",
        quality=Quality(
            min_side_px=99.0, sharpness=SHARPNESS.get(number, 10.0), luminance=120.0, contrast=40.0,
            motion_px=0.0, coverage_frac=1.0, score=0.9,
        ),
    )  # fmt: skip


def worked(one: Sample) -> dict[str, bytes]:
    """Its members in .work."""
    return to_members(one) | notes_member(thumbnails(one.frames), exempt=False)


def line(one: Sample) -> Candidate:
    """Its line in scores.jsonl."""
    place = f"pets/{int(one.source_id, 16)}.jpg#frame0"
    return candidate(one, place, False, GATE.reasons(one.quality, 96, 1, False))


def like(number: int, other: Sample, **fields: Any) -> Sample:
    """A sample of another file that shows what `other` does."""
    return replace(sample(number), frames=other.frames, **fields)


def write_folder(
    out: Path, packed: Sequence[Sample], left_out: Sequence[Sample] = (), config: Mapping[str, Any] | None = None
) -> Path:
    """Shards of two samples each; all have a line in scores.jsonl, those left out their members in .work."""
    (out / ".work").mkdir(parents=True)
    groups = [(json.loads(to_members(one)["json"]) | {"cluster": one.key}, to_members(one)) for one in packed]
    groups = [(record, members | {"json": json.dumps(record).encode()}) for record, members in groups]
    about = {"curation": {"gate": asdict(GATE)}} | dict(config or {})
    ShardWriter(max_samples=2)(out, groups, {"config": about, "duplicates": {}})
    write_candidates(out, [line(one) for one in (*packed, *left_out)])
    write_tar(out / ".work" / f"x{REJECTED}", [(one.key, worked(one)) for one in left_out])
    return out
