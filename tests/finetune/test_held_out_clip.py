from pathlib import Path

import torch

from finetune.augment import Augment
from finetune.datamodule import PairData
from finetune.held_out_clip import held_out_clip
from finetune.mixture import Mixture
from finetune.pairs import Batch
from tests.finetune.conftest import sample, write_shards


def data(shards: Path) -> PairData:
    return PairData(shards=shards, batch_size=2, side_px=64, mixture=Mixture(), augment=Augment())


def equal(a: Batch, b: Batch) -> bool:
    return torch.equal(a.driving, b.driving) and torch.equal(a.source, b.source) and torch.equal(a.target, b.target)


def test_an_animal_is_driven_by_the_person_who_plays_the_same(shards: Path) -> None:
    clip = held_out_clip(data(shards))
    assert clip is not None
    assert clip.name == "cat cat-1 driven by human human-1"
    rows = clip.batch
    assert len(rows.source) == 4  # the frames that both have
    assert bool(rows.is_cross.all())
    assert torch.equal(rows.source[0], rows.source[-1])
    # The truth's yaw tells the native frame: target and driver are in step.
    assert torch.equal(rows.target_truth.pose_deg[:, 1], rows.driving_truth.pose_deg[:, 1])
    assert rows.target_truth.pose_deg[:, 1].diff().eq(2.0).all()
    again = held_out_clip(data(shards), num_frames=3)
    assert again is not None
    assert len(again.batch.source) == 3
    assert torch.equal(again.batch.target, rows.target[:3])


def test_held_out_clips_go_first_with_all_their_frames(tmp_path: Path) -> None:
    write_shards(tmp_path, [sample("cat-1", "cat", num=12), sample("human-1", "human", num=12)])
    write_shards(tmp_path, [sample("human-2", "human", exact=False, num=12, split="val")], "val")
    clip = held_out_clip(data(tmp_path))
    assert clip is not None
    assert clip.name == "human human-2 driven by itself"
    assert (len(clip.batch.source), clip.fps) == (12, 25.0)
    assert torch.equal(clip.batch.driving, clip.batch.target)
    assert not bool(clip.batch.is_cross.any())
    other = held_out_clip(data(tmp_path))
    assert other is not None
    assert equal(clip.batch, other.batch)


def test_stills_alone_give_none(tmp_path: Path) -> None:
    write_shards(tmp_path, [sample("cat-1", "cat", kind="image")])
    assert held_out_clip(data(tmp_path)) is None
