import numpy as np
import pytest
import torch

from data_pipeline.records import SPECIES
from finetune.augment import Augment
from finetune.datamodule import PairData
from finetune.pairs import Mixture, PairSampler
from finetune.shard_index import read_index
from finetune.shard_stream import ClipStore
from tests.finetune.conftest import sample, write_shards

PLAIN = Augment(flip_prob=0.0, scale=(1.0, 1.0), shift_frac=0.0, roll_deg=0.0, colour=0.0)


@pytest.fixture(scope="module")
def clips(shards):
    return ClipStore(read_index(shards, with_labels=True))


def draw(clips, mixture=None, augment=PLAIN, num=200, side=32, seed=0):
    return PairSampler(clips, mixture or Mixture(), augment, seed=seed).batch(0, num, side)


def test_shares_are_exactly_those_of_the_mixture(clips):
    batch = draw(clips, Mixture(real_frac=0.25, still_frac=0.2, cross_frac=0.5), num=200)
    truth, video, cross = batch.has_truth, batch.is_video, batch.is_cross
    assert int(video.sum()) == 160
    assert abs(int(truth.sum()) - 150) <= 2
    assert abs(int(cross.sum()) - 0.5 * int((truth & video).sum())) <= 2


def test_species_follow_their_shares(clips):
    batch = draw(clips, Mixture(species={"cat": 3.0, "human": 1.0}, still_frac=0.0), num=200)
    assert abs(int((batch.species == SPECIES.index("cat")).sum()) - 150) <= 1
    only = draw(clips, Mixture(species={"cat": 1.0}), num=50)
    assert (only.species == SPECIES.index("cat")).all()


def test_rows_of_a_step_come_in_another_order_each_time(clips):
    sampler = PairSampler(clips, Mixture(still_frac=0.5), PLAIN)
    kinds = [tuple(sampler.batch(step, 8, 32).is_video.tolist()) for step in range(12)]
    assert all(sum(kind) == 4 for kind in kinds)
    assert len(set(kinds)) > 6


def test_self_rows_drive_with_the_target_itself(clips):
    batch = draw(clips, Mixture(cross_frac=0.0))
    assert not batch.is_cross.any()
    assert torch.equal(batch.driving, batch.target)


def test_cross_rows_hold_one_native_frame_of_two_identities(clips):
    batch = draw(clips, Mixture(cross_frac=1.0, real_frac=0.0, still_frac=0.0))
    cross = batch.is_cross
    assert cross.all()
    # Yaw encodes the native frame in these shards; both identities exist from native frame 2 to 5.
    driving, target = batch.driving_truth.pose_deg[cross, 1], batch.target_truth.pose_deg[cross, 1]
    torch.testing.assert_close(driving, target)
    assert set((target / 2).round().int().tolist()) <= {2, 3, 4, 5}
    assert (batch.driving[cross] - batch.target[cross]).abs().mean() > 0.02


def test_source_and_target_are_the_same_identity(clips):
    # The backgrounds' blue is the identity's colour in these shards.
    batch = draw(clips, Mixture(cross_frac=1.0, still_frac=0.0))
    corner = (slice(None), 2, slice(0, 3), slice(0, 3))
    torch.testing.assert_close(batch.source[corner], batch.target[corner], atol=0.06, rtol=0)


def test_roll_offset_is_the_difference_of_the_two_crops(clips):
    augment = Augment(roll_deg=20.0, colour=0.0)
    batch = draw(clips, Mixture(cross_frac=1.0, real_frac=0.0, still_frac=0.0), augment)
    difference = batch.target_truth.pose_deg[:, 2] - batch.driving_truth.pose_deg[:, 2]
    torch.testing.assert_close(batch.roll_offset_deg, difference, atol=1e-3, rtol=0)
    assert difference.abs().max() > 5


def test_stills_are_moved_a_little(clips):
    batch = draw(clips, Mixture(still_frac=1.0), num=40)
    assert not batch.is_video.any()
    moved = (batch.source_truth.points - batch.target_truth.points).abs().mean(dim=(1, 2))
    assert (moved > 1e-3).float().mean() > 0.9
    assert moved.max() < 0.15


def test_a_batch_is_a_function_of_seed_step_and_rank(clips):
    sampler = PairSampler(clips, Mixture(), Augment(), seed=1)
    again = PairSampler(clips, Mixture(), Augment(), seed=1)
    sampler.batch(3, 4, 32)
    for one, two in zip(sampler.batch(7, 4, 32), again.batch(7, 4, 32), strict=True):
        if torch.is_tensor(one):
            assert torch.equal(one, two)
    assert not torch.equal(sampler.batch(7, 4, 32).source, sampler.batch(8, 4, 32).source)
    assert not torch.equal(sampler.batch(7, 4, 32).source, sampler.of_rank(1, 2).batch(7, 4, 32).source)


def test_targets_may_have_another_side(clips):
    batch = PairSampler(clips, Mixture(), Augment(), seed=0).batch(0, 8, 32, 64)
    assert batch.source.shape[-1] == batch.driving.shape[-1] == 32
    assert batch.target.shape[-1] == 64
    same = ~batch.is_cross
    small = torch.nn.functional.avg_pool2d(batch.target, 2)
    assert (small - batch.driving)[same].abs().mean() < 0.02


def test_labels_follow_the_crop(clips):
    batch = draw(
        clips, Mixture(real_frac=0.0), Augment(roll_deg=0.0, shift_frac=0.0, scale=(1.0, 1.0), colour=0.0), num=10
    )
    assert batch.has_labels.all()
    assert (batch.source_labels[:, -1] == 1).all()


def test_bad_mixtures_are_refused(clips):
    with pytest.raises(ValueError, match="cross_frac"):
        Mixture(cross_frac=2.0)
    with pytest.raises(ValueError, match="kat"):
        Mixture(species={"kat": 1.0})
    with pytest.raises(ValueError, match="gives those no share"):
        PairSampler(clips, Mixture(species={"panda": 1.0}), PLAIN)


def test_pictures_are_rgb_between_0_and_1(clips):
    batch = draw(clips, num=8)
    assert batch.source.dtype == torch.float32
    assert 0 <= float(batch.source.min()) <= float(batch.source.max()) <= 1
    assert np.isfinite(batch.source.numpy()).all()


def test_watched_rows_show_every_species_of_training(shards, tmp_path):
    write_shards(tmp_path, [sample("cat-1", "cat"), sample("human-1", "human")])
    write_shards(tmp_path, [sample("cat-9", "cat", split="val")], "val")
    data = PairData(shards=tmp_path, side_px=32)
    assert set(data.watched(12).species.tolist()) == {0, 1}
    write_shards(tmp_path, [sample(f"{s}-9", s, split="val", exact=False) for s in ("cat", "human")], "val")
    assert not PairData(shards=tmp_path, side_px=32).watched(12).has_truth.any()


def test_landmarks_that_a_detector_read_come_with_real_rows(tmp_path):
    folder = write_shards(tmp_path, [sample("human-read", "human", exact=False, read=True, performance="p")])
    sampler = PairSampler(ClipStore(read_index(folder, "train")), Mixture(), Augment(flip_prob=0.0))
    batch = sampler.batch(0, 4, 64)
    assert batch.has_landmarks.all()
    assert not batch.has_truth.any()
    assert not batch.is_cross.any()
    assert (batch.source_truth.eye_open > 0).all()
