"""Two cats and two people that perform the same, with a photo of each."""

import json
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def family(tmp_path_factory) -> Path:
    from data_pipeline.puppets.make import PuppetSet

    folder = tmp_path_factory.mktemp("family")
    PuppetSet(
        out=folder, identities=2, clips=1, stills=1, seconds=0.6, fps=10.0, species=("human", "cat"), size_px=64,
        workers=1,
    )()  # fmt: skip
    return folder


@pytest.fixture
def family_shards(family, tmp_path) -> Path:
    """The same puppets as shards, by copying them into samples without curation; all in the split `test`."""
    import numpy as np

    from data_pipeline.crop import crop_transform
    from data_pipeline.records import Quality, Sample
    from data_pipeline.shards import ShardWriter, to_members
    from evaluation.clips import find_clips

    quality = Quality(
        min_side_px=64.0, sharpness=1.0, luminance=1.0, contrast=1.0, motion_px=0.0, coverage_frac=1.0, score=1.0,
    )  # fmt: skip
    groups = []
    for i, clip in enumerate(find_clips(family, side_px=64, stills=True)):
        found = clip.load()
        square = crop_transform(found.points[0], clip.species, 64)
        truth = {"landmarks": found.landmarks, "eye_open": found.openings[:, :2], "lip_open": found.openings[:, 2]}
        truth |= {"pose_deg": np.stack(found.signals[:3], axis=1), "labels": found.labels}
        members = to_members(
            Sample(
                key=f"{i:016x}", split="test", species=clip.species, kind="video" if clip.num_frames > 1 else "image",
                frames=found.frames, points=found.points,
                source_from_crop=np.repeat(square[None], len(found.frames), 0),
                start=0, fps=clip.fps, source_id=f"{i:016x}", identity=clip.identity, performance=clip.performance,
                licence="", origin="", quality=quality, truth=truth,
            )
        )  # fmt: skip
        groups.append((json.loads(members["json"]), members))
    (tmp_path / "shards").mkdir()
    ShardWriter()(tmp_path / "shards", groups, {"config": {}})
    return tmp_path / "shards"
