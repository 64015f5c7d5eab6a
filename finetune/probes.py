"""Ways to look into a run: does it learn one clip by heart, where does the time go, which operation made a NaN."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
import torch

if TYPE_CHECKING:
    from finetune.datamodule import PairData
    from finetune.recipe import Recipe


class Probe(lightning.Callback):
    """What `experiment=` adds to a run."""

    module: "Recipe"
    out: Path

    def prepare(self, module: "Recipe", data: "PairData", out: Path) -> list[str]:
        """Take hold of the run before it starts; returns lines for the start of the log."""
        del data
        self.module, self.out = module, out
        return []

    def verdict(self) -> list[str]:
        """What was found, for the end of the log.

        Raises:
            ValueError: the run did not do what it was to show.
        """
        return []


@dataclass(kw_only=True, eq=False)
class Overfit(Probe):
    """One clip again and again: a recipe that cannot learn it by heart cannot learn anything."""

    term: str = "reconstruction"
    below: float = 0.05
    clip: int = 0
    """Number of the sample among those of the train split."""
    _lowest: float = float("inf")
    _lowest_step: int = 0
    _reached: bool = False

    def prepare(self, module: "Recipe", data: "PairData", out: Path) -> list[str]:
        """Leave one clip of the data.

        Raises:
            ValueError: there is no such clip.
        """
        from dataclasses import replace

        from finetune.pairs import PairSampler
        from finetune.shard_stream import ClipStore

        super().prepare(module, data, out)
        data.read()
        assert data.train is not None
        index = data.train.clips.index
        if not 0 <= self.clip < len(index.cards):
            raise ValueError(f"probe.clip is {self.clip}; the train shards hold samples 0 to {len(index.cards) - 1}")
        card = index.cards[self.clip]
        store = ClipStore(replace(index, cards=(card,)), data.cache_gb)
        data.train, data.val = PairSampler(store, data.mixture, data.augment, seed=data.seed), None
        return [f"overfit: sample {card.key} only; stops when {self.term} is below {self.below:g}"]

    def on_train_batch_end(self, trainer: lightning.Trainer, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Stop when it is learnt.

        Raises:
            ValueError: the recipe has no such term.
        """
        if self.term not in self.module.last_terms:
            raise ValueError(
                f"probe.term={self.term} is not computed; the terms are {', '.join(self.module.last_terms)}"
            )
        value = float(self.module.last_terms[self.term])
        if value < self._lowest:
            self._lowest, self._lowest_step = value, self.module.step
        if value < self.below and not self._reached:
            self._reached = trainer.should_stop = True

    def verdict(self) -> list[str]:
        """Whether the clip was learnt.

        Raises:
            ValueError: it was not.
        """
        if not self._reached:
            raise ValueError(
                f"overfit: {self.term} did not fall below {self.below:g} in {self.module.step} steps (lowest "
                f"{self._lowest:.4g} at step {self._lowest_step}); give more max_steps, or look for what does not learn"
            )
        return [
            f"overfit: {self.term} is {self._lowest:.4g} at step {self._lowest_step}, below {self.below:g}: it learns"
        ]


@dataclass(kw_only=True, eq=False)
class Profile(Probe):
    """A table of the dearest operations, and a trace for chrome://tracing or ui.perfetto.dev."""

    skip: int = 2
    """Steps before: the first ones warm up caches."""
    steps: int = 4
    rows: int = 25
    with_memory: bool = False
    _profiler: Any = None
    _table: str = ""

    def prepare(self, module: "Recipe", data: "PairData", out: Path) -> list[str]:
        """Nothing but the announcement.

        Raises:
            ValueError: no step would be measured.
        """
        super().prepare(module, data, out)
        if self.steps < 1 or self.skip < 0:
            raise ValueError(f"probe.steps is {self.steps} and probe.skip {self.skip}; give 1 and 0 or more")
        return [f"profile: steps {self.skip + 2} to {self.skip + 1 + self.steps}"]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start counting steps."""
        from torch.profiler import ProfilerActivity, profile, schedule

        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
        self._profiler = profile(
            activities=kinds, schedule=schedule(wait=self.skip, warmup=1, active=self.steps, repeat=1),
            on_trace_ready=self._finish, record_shapes=True, profile_memory=self.with_memory, acc_events=True,
        )  # fmt: skip
        self._profiler.start()

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """One step is done."""
        self._profiler.step()

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Close the profiler."""
        self._profiler.stop()

    def _finish(self, found: Any) -> None:  # noqa: ANN401  (torch's profiler)
        by = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
        self._table = found.key_averages().table(sort_by=by, row_limit=self.rows, max_name_column_width=60)
        part = self.out / "trace.json.part"
        found.export_chrome_trace(str(part))
        part.replace(self.out / "trace.json")
        part = self.out / "profile.txt.part"
        part.write_text(self._table + "\n")
        part.replace(self.out / "profile.txt")

    def verdict(self) -> list[str]:
        """The table and where the trace is.

        Raises:
            ValueError: the run was too short.
        """
        if not self._table:
            raise ValueError(f"profile: nothing was measured; give max_steps={self.skip + 1 + self.steps} or more")
        return [self._table, f"profile: {self.out / 'profile.txt'}   trace: {self.out / 'trace.json'}"]


@dataclass(kw_only=True, eq=False)
class Anomalies(Probe):
    """autograd's anomaly detection: a backward pass that makes a NaN shows the forward line that it belongs to."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Slow, therefore only here."""
        torch.autograd.set_detect_anomaly(True)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Off again."""
        torch.autograd.set_detect_anomaly(False)

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Off again."""
        torch.autograd.set_detect_anomaly(False)
