"""A folder of shards -> a loader whose n-th batch belongs to step n, so that a run resumes with the same batches."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import lightning
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from data_pipeline.records import SPECIES, Split
from finetune.augment import Augment
from finetune.mixture import Mixture
from finetune.pairs import Batch, PairSampler
from finetune.shard_index import has_split, read_index
from finetune.shard_stream import ClipStore

AHEAD_STEPS = 4
"""Steps whose clips are read in the background while one is being made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps(Sampler[int]):
    """The step numbers from `start` to `stop`."""

    start: int
    stop: int

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.stop))

    def __len__(self) -> int:
        return self.stop - self.start


class StepBatches(Dataset[Batch]):
    """Step number -> its batch."""

    def __init__(self, sampler: PairSampler, data: "PairData") -> None:
        self.sampler, self.data = sampler, data

    def __getitem__(self, step: int) -> Batch:
        data, worker = self.data, get_worker_info()
        stride = worker.num_workers if worker else 1
        coming = range(step, min(step + AHEAD_STEPS * stride + 1, data.last_step), stride)
        self.sampler.prefetch(row for s in coming for row in data.rows_of(s))
        rows = data.rows_of(step)
        return self.sampler.batch(step, len(rows), data.side_px, data.side_px * data.target_scale, rows.start)


@dataclass(kw_only=True, eq=False)
class PairData(lightning.LightningDataModule):
    """Reads the shards once and serves batches; the fields are the `data` options.

    Raises:
        ValueError: a number is out of range, or the side schedule does not begin at step 0.
    """

    shards: Path | str
    batch_size: int = 8
    """Rows per step and process."""
    side_px: int = 256
    """Side of the pictures: the model's image_px; `lp-finetune` sets it."""
    target_scale: int = 1
    """Side of the targets over side of the sources: 2 for models that give twice their input; `lp-finetune` sets it."""
    mixture: Mixture = field(default_factory=Mixture)
    augment: Augment = field(default_factory=Augment)
    frame_stride: int = 1
    cache_gb: float = 4.0
    """Memory of a process for clips. What does not fit is streamed: read while training, a rolling window at a time."""
    workers: int = 0
    """Loader processes; 0 is right on a CPU that also trains. They share the memory and change no batch."""
    seed: int = 0
    with_labels: bool = False

    def __post_init__(self) -> None:
        super().__init__()
        if self.batch_size < 1 or self.frame_stride < 1:
            raise ValueError("data.batch_size and data.frame_stride must be at least 1")
        self.train: PairSampler | None = None
        self.val: PairSampler | None = None
        self.first_step, self.last_step = 0, 0
        self.stage_rows: list[tuple[int, int]] = []

    def read(self) -> None:
        """Read the shards into memory.

        Raises:
            ShardError: there are none, or they are damaged.
        """
        if self.train is not None:
            return
        self.train = PairSampler(self._store("train", self.cache_gb), self.mixture, self.augment, seed=self.seed)
        if has_split(Path(self.shards), "val"):
            # A quarter of the room is plenty for watching a run.
            held_out = self._store("val", self.cache_gb / 4)
            if any(self.mixture.species.get(SPECIES[card.species], 0.0) > 0 for card in held_out.cards):
                self.val = PairSampler(held_out, self.mixture, self.augment, seed=self.seed + 1)

    def _store(self, split: Split, cache_gb: float) -> ClipStore:
        stride = self.frame_stride if split == "train" else max(4, self.frame_stride)
        store = ClipStore(read_index(Path(self.shards), split, stride, self.with_labels), cache_gb)
        store.processes = max(1, self.workers)
        store.read_all()
        return store

    def rows_at(self, step: int) -> int:
        """Rows of a step: a recipe's stages may want more than batch_size (`stage_rows`: until step, rows)."""
        return next((rows for until, rows in self.stage_rows if step < until), 0) or self.batch_size

    def rows_of(self, step: int) -> range:
        """The numbers of a step's rows among all rows of this process, from the first step of the run on."""
        first, since = 0, 0
        for until, rows in self.stage_rows:
            first += max(0, min(step, until) - since) * (rows or self.batch_size)
            since = max(since, until)
        first += max(0, step - since) * self.batch_size
        return range(first, first + self.rows_at(step))

    def watched(self, num_rows: int) -> Batch:
        """The same rows every time, most of them cross rows, for sample grids.

        Held out where the val split has every species that the train split has; else from the train split.
        """
        self.read()
        assert self.train is not None
        held_out = self.val is not None and self.val.species >= self.train.species
        clips = self.val.clips if self.val is not None and held_out else self.train.clips
        mixture = replace(self.mixture, cross_frac=max(0.6, self.mixture.cross_frac))
        sampler = PairSampler(clips, mixture, self.augment, seed=self.seed + 1)
        return sampler.batch(0, num_rows, self.side_px, self.side_px * self.target_scale)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of the steps from `first_step` on."""
        self.read()
        assert self.train is not None
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        batches = StepBatches(self.train.of_rank(rank, world), self)
        steps = Steps(start=self.first_step, stop=self.last_step)
        return DataLoader(
            batches, batch_size=None, sampler=steps, num_workers=self.workers, persistent_workers=False,
            multiprocessing_context="fork" if self.workers else None,
        )  # fmt: skip
