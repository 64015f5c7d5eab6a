from pathlib import Path

import pytest
import torch

from finetune.augment import Augment
from finetune.datamodule import PairData
from finetune.mixture import Mixture
from tests.finetune.conftest import sample, write_shards

CACHE_GB = 40e-6
"""About six of the clips below."""


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    """Four shards of four samples: performances of a cat and a human, their partners in other shards; stills, real."""
    folder = tmp_path_factory.mktemp("many")
    samples = [
        *(sample(f"cat-{i}", "cat", performance=f"p{i}", colour=20 * i) for i in range(5)),
        *(sample(f"human-{i}", "human", performance=f"p{i}", colour=20 * i) for i in range(5)),
        *(sample(f"real-{i}", ("cat", "human")[i % 2], exact=False) for i in range(4)),
        *(sample(f"still-{s}", s, kind="image") for s in ("cat", "human")),
    ]
    for shard in range(4):
        write_shards(folder / "parts" / str(shard), samples[4 * shard : 4 * shard + 4])
        (folder / "parts" / str(shard) / "train-00000.tar").rename(folder / f"train-{shard:05d}.tar")
    return folder


def data(shards: Path, **options) -> PairData:
    given = {"batch_size": 4, "side_px": 32, "mixture": Mixture(), "augment": Augment(colour=0.0), "seed": 3}
    made = PairData(shards=shards, **{**given, **options})
    made.last_step = 12
    return made


def batches(made: PairData, first_step: int = 0) -> list:
    made.first_step = first_step
    return list(made.train_dataloader())


def assert_same(one, other) -> None:
    for a, b in zip(one, other, strict=True):
        for x, y in zip(a, b, strict=True) if isinstance(a, tuple) else [(a, b)]:
            assert torch.equal(x, y)


def test_a_streamed_run_resumes_with_the_same_bits(many):
    whole = batches(data(many, cache_gb=CACHE_GB))
    made = data(many, cache_gb=CACHE_GB)
    resumed = batches(made, 5)
    assert not made.train.clips.fits
    assert "streamed" in made.train.describe()
    for one, other in zip(whole[5:], resumed, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("cache_gb", [4.0, CACHE_GB])
def test_loader_processes_change_no_batch(many, workers, cache_gb):
    alone = batches(data(many, cache_gb=cache_gb))
    for one, other in zip(alone, batches(data(many, cache_gb=cache_gb, workers=workers)), strict=True):
        assert_same(one, other)


def test_memory_stays_within_what_was_given(many):
    made = data(many, cache_gb=CACHE_GB)
    made.last_step = 40
    made.read()
    store = made.train.clips
    held = []
    for _ in made.train_dataloader():
        held.append(sum(clip.num_bytes for clip in store._clips.values()))
        assert store._bytes == held[-1]
    assert max(held) <= CACHE_GB * 1e9
    assert len(store._clips) < len(store.cards)


def test_streaming_gives_cross_rows_although_partners_lie_in_other_shards(many):
    made = data(many, cache_gb=CACHE_GB, mixture=Mixture(cross_frac=0.5, real_frac=0.0, still_frac=0.0))
    made.last_step = 25
    crosses = sum(int(batch.is_cross.sum()) for batch in batches(made))
    assert crosses == 50


def test_clips_are_read_before_they_are_needed(many):
    made = data(many, cache_gb=CACHE_GB)
    made.read()
    made.train.prefetch(made.rows_of(0))
    pending = dict(made.train.clips._pending)
    assert pending
    number, future = next(iter(pending.items()))
    assert made.train.clips.clip(number) is future.result()


def test_an_error_of_the_reader_reaches_the_step_that_needs_the_clip(many, tmp_path):
    for path in many.glob("*.tar"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    made = data(tmp_path, cache_gb=CACHE_GB)
    made.read()
    for path in tmp_path.glob("*.tar"):
        path.unlink()
    with pytest.raises(ValueError, match=r"train-0000\d\.tar cannot be read"):
        batches(made)


def test_rows_are_numbered_on_through_stages_of_other_sizes(many):
    made = data(many)
    made.stage_rows = [(3, 6), (5, 0), (7, 2)]
    rows = [made.rows_of(step) for step in range(10)]
    assert [len(r) for r in rows] == [6, 6, 6, 4, 4, 2, 2, 4, 4, 4]
    assert [number for r in rows for number in r] == list(range(42))
    assert [made.rows_at(step) for step in range(10)] == [len(r) for r in rows]


def test_ranks_serve_different_rows_and_equally_many_steps(many):
    made = data(many)
    made.read()
    one, two = (made.train.of_rank(rank, 2).batch(0, 4, 32) for rank in range(2))
    assert not torch.equal(one.source, two.source)


def test_frames_of_a_split_without_asked_species_are_not_watched(many, tmp_path):
    write_shards(tmp_path, [sample("cat-1", "cat"), sample("human-1", "human")])
    write_shards(tmp_path, [sample("human-9", "human", split="val")], "val")
    made = data(tmp_path, mixture=Mixture(species={"cat": 1.0}))
    assert made.watched(4).species.tolist() == [1] * 4
