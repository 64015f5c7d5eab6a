"""Copies that fall into different splits by their names end in one split of the shards."""

import json
from pathlib import Path

import pytest
from PIL import Image

from data_pipeline.adapters.folder import FolderSource
from data_pipeline.crop import Cropper
from data_pipeline.curate import FileWorker, curate
from data_pipeline.curation import Curation
from data_pipeline.dedup import NearDuplicates
from data_pipeline.executors.local import LocalExecutor
from data_pipeline.quality import QualityGate
from data_pipeline.shards import ShardWriter, read_manifest, read_tar, shard_paths
from data_pipeline.shots import ShotSplitter
from data_pipeline.split import Splitter
from data_pipeline.track import TrackLinker


@pytest.mark.parametrize("drop", [True, False])
def test_copies_share_cluster_and_split(drop: bool, tmp_path: Path, head_picture, ball_detector) -> None:
    root = tmp_path / "media"
    root.mkdir()
    for i in range(6):
        picture = Image.fromarray(head_picture(seed=i + 5))
        for quality in (95, 60):
            picture.save(root / f"{i}-{quality}.jpg", quality=quality)
    curation = Curation(
        detector=ball_detector,
        shots=ShotSplitter(),
        linker=TrackLinker(),
        cropper=Cropper(side_px=64),
        gate=QualityGate(min_side_px=20.0, min_coverage_frac=0.2),
        splitter=Splitter(val_frac=0.4, test_frac=0.3),
    )
    out = tmp_path / "out"
    curate(
        source=FolderSource(path=str(root)),
        worker=FileWorker(curation=curation),
        duplicates=NearDuplicates(drop=drop),
        writer=ShardWriter(),
        executor=LocalExecutor(workers=1),
        out=out,
        config={},
    )
    split_of: dict[str, set[str]] = {}
    for shard in shard_paths(out):
        for key, members in read_tar(shard):
            record = json.loads(members["json"])
            assert record["key"] == key
            assert shard.name.startswith(record["split"])
            assert "notes" not in members
            split_of.setdefault(record["cluster"], set()).add(record["split"])
    assert len(split_of) == 6
    assert all(len(splits) == 1 for splits in split_of.values())
    assert {split for splits in split_of.values() for split in splits} == {"train", "val", "test"}
    manifest = read_manifest(out)
    assert manifest["samples"] == (6 if drop else 12)
    assert manifest["duplicates"] == {"clusters": 6, "samples_in_clusters": 12, "dropped": 6 if drop else 0}
