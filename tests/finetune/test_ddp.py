"""Two processes on the CPU: DDP and FSDP by gloo, started as torchrun starts them."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from finetune.augment import Augment
from finetune.base_module import BaseModule
from finetune.checkpoints import Checkpoints
from finetune.datamodule import PairData, Steps
from finetune.micro_batches import rows
from finetune.pairs import Batch, Mixture
from finetune.probes import Probe
from finetune.recipe import Recipe, TrainingDivergedError
from finetune.run import Schedule, run
from finetune.strategies import Several, trainer_options
from lp_models import load_pretrained
from tests.finetune.ranks import exit_codes, on_ranks
from tests.finetune.rows import module as tiny_module

# The sums of these are means over rows that are alike: the mean over processes is the mean over all rows.
ROW_MEANS = {
    "reconstruction": 20.0,
    "perceptual": 10.0,
    "gan": 0.1,
    "feature_matching": 1.0,
    "prior": 1.0,
    "delta": 1.0,
}
EVERYTHING = ROW_MEANS | {
    "gan_face": 0.1, "gan_lip": 0.1, "equivariance": 10.0, "pose": 0.3, "guide": 10.0, "agreement": 1.0, "flip": 1.0,
}  # fmt: skip


class Slices(Dataset[Batch]):
    """Rows `rank * n` to `(rank + 1) * n` of the batches that one process would be given."""

    def __init__(self, data: "GlobalRows", rank: int, world: int) -> None:
        self.data, self.rank, self.world = data, rank, world

    def __getitem__(self, step: int) -> Batch:
        data, num = self.data, self.data.batch_size
        assert data.train is not None
        batch = data.train.batch(step, num * self.world, data.side_px, data.side_px * data.target_scale)
        return rows(batch, self.rank * num, (self.rank + 1) * num)


class GlobalRows(PairData):
    """The same rows for any number of processes. (Our own plan deals other rows to each rank: docs/loader.md.)"""

    def train_dataloader(self) -> DataLoader[Batch]:
        self.read()
        slices = Slices(self, self.trainer.global_rank, self.trainer.world_size)
        return DataLoader(slices, batch_size=None, sampler=Steps(start=self.first_step, stop=self.last_step))


class Curve(Probe):
    """The total of each step; does what a test wants at one."""

    def __init__(self, at: int = -1, action: Any = None) -> None:
        self.totals: list[float] = []
        self.at, self.action = at, action

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.totals.append(float(self.module.last_terms["total"]))
        if self.module.step == self.at:
            self.action()


def data_of(shards: Path, rows_each: int, kind: type[PairData] = PairData) -> PairData:
    return kind(
        shards=shards, batch_size=rows_each, side_px=64, target_scale=2, augment=Augment(colour=0.0),
        mixture=Mixture(cross_frac=0.0 if kind is GlobalRows else 0.7),
    )  # fmt: skip


def without_batch_statistics(trained: BaseModule) -> BaseModule:
    """Batch norms see the rows of one process only; where processes are compared they are left out."""
    for parent in list(trained.model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d | nn.BatchNorm3d):
                parent.add_module(name, nn.GroupNorm(1, child.num_features))
    assert trained.ema is None
    return trained


def train(
    shards: Path, out: Path, steps: int, trained: Recipe, data: PairData, curve: Curve, kind: str = "ddp",
    timeout_s: int = 60,
) -> list[float]:  # fmt: skip
    options, _ = trainer_options({"accelerator": "cpu", "strategy": Several(kind=kind, timeout_s=timeout_s)})
    schedule = Schedule(max_steps=steps, log_every=1, grid_every=0, checkpoint_every=2)
    curve.prepare(trained, data, out)
    run(trained, data, schedule, out, options, probe=curve)
    return curve.totals


def curve_of(rank: int, shards: Path, out: Path, rows_each: int) -> list[float]:
    # Eyes and mouths weigh more, divided by the sum of the weights: a mean over rows only without them.
    evenly = {"region_boost": 0.0}
    trained = without_batch_statistics(tiny_module(ROW_MEANS, evenly, optimiser=_optimiser(ema_decay=0.0)))
    return train(shards, out, 4, trained, data_of(shards, rows_each, GlobalRows), Curve())


def _optimiser(**options: Any) -> Any:
    from finetune.optimiser import Optimiser

    return Optimiser(**{"lr": 1e-3, "warmup_steps": 2, **options})


def test_two_processes_learn_as_one_with_twice_the_rows(shards, tmp_path, monkeypatch):
    # model.json says that the tiny model has batch norms; this one has none.
    monkeypatch.setattr("finetune.run.export", lambda *args: None)
    halves = on_ranks(2, curve_of, shards, tmp_path / "two", 2)
    whole = on_ranks(1, curve_of, shards, tmp_path / "one", 4)[0]
    mean = (torch.tensor(halves[0]) + torch.tensor(halves[1])) / 2
    # Sums are made in another order, and Adam's first steps enlarge tiny differences.
    torch.testing.assert_close(mean, torch.tensor(whole), rtol=1e-4, atol=0)
    assert whole[0] != pytest.approx(whole[-1], rel=1e-2)


def everything(rank: int, shards: Path, out: Path, steps: int, curve: Curve | None = None, kind: str = "ddp") -> Any:
    from finetune.optimiser import Stage

    stages = [Stage(until=1, train=["motion"]), Stage(until=2, train=["appearance", "warping", "generator"])]
    trained = tiny_module(EVERYTHING, optimiser=_optimiser(ema_decay=0.9), stages=stages, accumulate=2)
    totals = train(shards, out, steps, trained, data_of(shards, 3), curve or Curve(), kind)
    return totals, {name: value for name, value in trained.training_state()["model"].items() if "running" not in name}


@pytest.mark.slow
def test_all_processes_have_the_same_weights_and_resuming_goes_on_bit_for_bit(shards, tmp_path):
    """Stages, several backward passes a step, three judges: other parameters are unused at each of them."""
    (first, weights), (second, others) = on_ranks(2, everything, shards, tmp_path / "whole", 6)
    assert first != second  # each has rows of its own
    for name, value in weights.items():
        assert torch.equal(value, others[name]), name
    on_ranks(2, everything, shards, tmp_path / "parts", 4)
    saved = Checkpoints(folder=tmp_path / "parts" / "checkpoints").latest()
    assert (saved["world"], len(saved["rng"])) == (2, 2)
    # The length of a run shapes its learning rates: the first part must believe in six steps too.
    on_ranks(2, stopped_at_four, shards, tmp_path / "again")
    (rest, resumed), _ = on_ranks(2, everything, shards, tmp_path / "again", 6)
    assert rest == first[4:]
    for name, value in weights.items():
        assert torch.equal(value, resumed[name]), name
    assert (tmp_path / "again" / "metrics.csv").read_text().count("\n") == 7


def stopped_at_four(rank: int, shards: Path, out: Path) -> Any:
    """Only the second process is asked to stop."""
    ask = (lambda: os.kill(os.getpid(), signal.SIGTERM)) if rank == 1 else (lambda: None)
    return len(everything(rank, shards, out, 6, Curve(4, ask))[0])


def test_a_signal_to_one_process_stops_all_after_the_same_step(shards, tmp_path):
    assert on_ranks(2, stopped_at_four, shards, tmp_path) == [4, 4]
    assert Checkpoints(folder=tmp_path / "checkpoints").latest()["step"] == 4


def test_no_process_waits_for_a_dead_one(shards, tmp_path):
    began = time.monotonic()
    codes = exit_codes(2, dies_at_two, shards, tmp_path, folder=str(tmp_path))
    assert codes[1] == 9
    assert codes[0] == 1  # not -1: it left by itself
    assert time.monotonic() - began < 60
    assert Checkpoints(folder=tmp_path / "checkpoints").latest() is not None


def dies_at_two(rank: int, shards: Path, out: Path) -> Any:
    die = (lambda: os._exit(9)) if rank == 1 else (lambda: None)
    return everything(rank, shards, out, 6, Curve(3, die))


def test_a_full_disk_ends_every_process_with_the_sentence(shards, tmp_path):
    codes = exit_codes(2, full_disk, shards, tmp_path, folder=str(tmp_path))
    assert codes == [1, 1]
    for rank in (0, 1):
        told = (tmp_path / f"{rank}.txt").read_text()
        assert "step-0000004.ckpt could not be written (No space left" in told
        assert "from the checkpoint before (step-0000002.ckpt)" in told
    assert Checkpoints(folder=tmp_path / "checkpoints").latest()["step"] == 2


def full_disk(rank: int, shards: Path, out: Path) -> Any:
    real = torch.save

    def fails(value: Any, file: Any, **options: Any) -> None:
        if str(getattr(file, "name", "")).endswith("step-0000004.ckpt.part"):
            raise OSError("No space left on device")
        real(value, file, **options)

    torch.save = fails
    return everything(rank, shards, out, 6)


def test_processes_with_different_checkpoints_are_refused(shards, tmp_path):
    everything(0, shards, tmp_path / "0", 2)
    codes = exit_codes(2, separate_folders, shards, tmp_path, folder=str(tmp_path))
    assert codes == [1, 1]
    assert "one folder that all machines share" in (tmp_path / "1.txt").read_text()


def separate_folders(rank: int, shards: Path, out: Path) -> Any:
    return everything(rank, shards, out / str(rank), 4)


def divided(rank: int, shards: Path, out: Path, steps: int, kind: str) -> Any:
    trained = tiny_module(ROW_MEANS | {"gan_face": 0.1}, optimiser=_optimiser(ema_decay=0.9))
    totals = train(shards, out, steps, trained, data_of(shards, 2), Curve(), kind)
    local = sum(
        p.to_local().numel() if hasattr(p, "to_local") else p.numel() for p in trained.model.motion.parameters()
    )
    return totals, local


@pytest.mark.slow
def test_fsdp_divides_the_networks_and_learns_what_ddp_learns(shards, tmp_path):
    plain = on_ranks(2, divided, shards, tmp_path / "ddp", 3, "ddp")
    shared = on_ranks(2, divided, shards, tmp_path / "fsdp", 3, "fsdp")
    for (whole, num), (parts, local) in zip(plain, shared, strict=True):
        assert local < 0.6 * num
        torch.testing.assert_close(torch.tensor(parts), torch.tensor(whole), rtol=2e-3, atol=0)
    ddp, fsdp = (load_pretrained(tmp_path / name / "weights").state_dict() for name in ("ddp", "fsdp"))
    assert ddp.keys() == fsdp.keys()
    for name, value in ddp.items():
        # Adam divides by the gradient's size: where that is rounding noise, steps of one rate differ in sign.
        if "running" not in name:
            torch.testing.assert_close(fsdp[name], value, rtol=0, atol=6e-3, msg=name)


@pytest.mark.slow
def test_fsdp_goes_on_from_its_checkpoint_and_from_one_of_ddp(shards, tmp_path):
    whole = on_ranks(2, divided, shards, tmp_path / "whole", 4, "fsdp")[0][0]
    on_ranks(2, fsdp_stopped_at_two, shards, tmp_path / "parts")
    resumed = on_ranks(2, divided, shards, tmp_path / "parts", 4, "fsdp")[0][0]
    # Batch statistics are each process' own under FSDP on CPUs; the checkpoint holds the first one's.
    assert resumed == pytest.approx(whole[2:], rel=1e-6)
    on_ranks(2, divided, shards, tmp_path / "ddp", 2, "ddp")
    assert len(on_ranks(2, divided, shards, tmp_path / "ddp", 3, "fsdp")[0][0]) == 1


def fsdp_stopped_at_two(rank: int, shards: Path, out: Path) -> Any:
    trained = tiny_module(ROW_MEANS | {"gan_face": 0.1}, optimiser=_optimiser(ema_decay=0.9))
    stop = Curve(2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    return train(shards, out, 4, trained, data_of(shards, 2), stop, "fsdp")


def test_low_rank_updates_cannot_be_divided(shards, tmp_path):
    codes = exit_codes(2, divided_lora, shards, tmp_path, folder=str(tmp_path))
    assert codes == [1, 1]
    assert "take trainer=gpu instead of trainer=fsdp" in (tmp_path / "0.txt").read_text()


def divided_lora(rank: int, shards: Path, out: Path) -> Any:
    from finetune.lora import Lora

    trained = tiny_module(ROW_MEANS, lora=Lora(modules=["motion"], rank=2))
    return train(shards, out, 2, trained, data_of(shards, 2), Curve(), "fsdp")


def test_low_rank_updates_are_the_same_on_all_processes(shards, tmp_path):
    first, second = on_ranks(2, ddp_lora, shards, tmp_path)
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def ddp_lora(rank: int, shards: Path, out: Path) -> Any:
    from finetune.lora import Lora

    trained = tiny_module(ROW_MEANS, lora=Lora(modules=["motion"], rank=2))
    train(shards, out, 3, trained, data_of(shards, 2), Curve(), "ddp")
    return trained.helpers()["lora"].state_dict()


def test_a_number_that_is_not_finite_on_one_process_ends_both(shards, tmp_path):
    codes = exit_codes(2, diverges_on_one, shards, tmp_path, folder=str(tmp_path))
    assert codes == [1, 1]
    told = (tmp_path / "1.txt").read_text()
    assert TrainingDivergedError.__name__ in told
    assert "the last good state is" in told


def diverges_on_one(rank: int, shards: Path, out: Path) -> Any:
    trained = tiny_module(ROW_MEANS)

    def spoil() -> None:
        if rank == 1:
            with torch.no_grad():
                trained.model.generator.get_parameter("fc.bias").fill_(float("nan"))

    return train(shards, out, 6, trained, data_of(shards, 2), Curve(3, spoil))
