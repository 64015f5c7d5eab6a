"""Runs that are killed, stopped, resumed, refused; most of them in forked processes, so that SIGKILL is real."""

import json
import os
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from finetune.augment import Augment
from finetune.checkpoints import Checkpoints
from finetune.cli import seed_all
from finetune.datamodule import PairData
from finetune.export import weights_sha256
from finetune.optimiser import Optimiser
from finetune.pairs import Mixture
from finetune.randomness import random_states, set_random_states
from finetune.recipe import TrainingDivergedError
from finetune.run import Schedule, run
from finetune.shard_index import read_index
from lp_models import load_pretrained
from tests.finetune.ranks import exit_codes
from tests.finetune.rows import module as tiny_module
from tests.finetune.test_ddp import Curve

TERMS = {
    "reconstruction": 20.0, "perceptual": 10.0, "gan": 0.1, "feature_matching": 1.0, "equivariance": 10.0, "prior": 1.0,
    "pose": 0.3, "guide": 10.0, "agreement": 1.0,
}  # fmt: skip
STEPS = 7
CPU = {"accelerator": "cpu", "devices": 1}


def start(
    shards: Path, out: Path, curve: Curve | None = None, max_steps: int = STEPS, every: int = 2,
    options: dict[str, Any] | None = None, data_options: dict[str, Any] | None = None, **schedule: Any,
) -> Any:  # fmt: skip
    seed_all(0)
    chosen = {"optimiser": Optimiser(lr=1e-3, warmup_steps=2, ema_decay=0.9), "gan_from_step": 2, **(options or {})}
    trained = tiny_module(TERMS, **chosen)
    data = PairData(
        shards=shards, batch_size=2, side_px=64, target_scale=2, mixture=Mixture(cross_frac=0.7),
        augment=Augment(), **(data_options or {}),
    )  # fmt: skip
    curve = curve or Curve()
    curve.prepare(trained, data, out)
    plan = Schedule(max_steps=max_steps, log_every=1, grid_every=0, checkpoint_every=every, **schedule)
    return trained, run(trained, data, plan, out, CPU, probe=curve)


def windowed(shards: Path) -> dict[str, Any]:
    """Half of the memory that the clips need, and a loader process."""
    index = read_index(shards, "train")
    largest = max(card.kept_bytes for card in index.cards)
    return {"cache_gb": max(largest * 1.01, index.kept_bytes / 2) / 1e9, "workers": 1}


def killed(rank: int, shards: Path, out: Path, at: int, streamed: bool) -> None:
    # SIGKILL after the step, before anything of it is saved.
    kill = Curve(at, lambda: os.kill(os.getpid(), signal.SIGKILL))
    start(shards, out, kill, data_options=windowed(shards) if streamed else None)


@pytest.mark.parametrize("streamed", [
    pytest.param(False, id="in-memory"), pytest.param(True, id="window-and-worker", marks=pytest.mark.slow),
])  # fmt: skip
def test_a_killed_run_ends_with_the_same_bytes(shards, tmp_path, streamed):
    options = windowed(shards) if streamed else None
    trained, _ = start(shards, tmp_path / "whole", data_options=options)
    if streamed:
        trained.trainer.datamodule.read()
        assert not trained.trainer.datamodule.train.clips.fits
    at = random.Random(0).sample(range(3, STEPS), 2)
    for step in sorted(at):
        codes = exit_codes(1, killed, shards, tmp_path / "killed", step, streamed, folder=str(tmp_path))
        assert codes == [-signal.SIGKILL]
    _, outcome = start(shards, tmp_path / "killed", data_options=options)
    assert 0 < outcome.resumed_from < STEPS
    whole, resumed = (tmp_path / name for name in ("whole", "killed"))
    assert weights_sha256(whole / "weights") == weights_sha256(resumed / "weights")
    states = [Checkpoints(folder=folder / "checkpoints").latest() for folder in (whole, resumed)]
    for state in states:
        del state["rng"]["python"]  # beartype, which checks calls in tests, draws from it
    assert differences(*states) == []
    numbers = [(f / "metrics.csv").read_text().splitlines() for f in (whole, resumed)]
    steps = [[line.split(",")[0] for line in lines] for lines in numbers]
    assert steps[0] == steps[1] == ["step", *map(str, range(1, STEPS + 1))]


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Names of whatever differs between two states."""
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [f"{where}: {one.keys() ^ other.keys()}"]
        return [line for key in one for line in differences(one[key], other[key], f"{where}.{key}")]
    if isinstance(one, list | tuple):
        return [
            line for i, pair in enumerate(zip(one, other, strict=True)) for line in differences(*pair, f"{where}[{i}]")
        ]
    same = torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
    return [] if same else [where]


def test_sigterm_finishes_the_step_saves_and_the_next_start_goes_on(shards, tmp_path):
    stop = Curve(3, lambda: os.kill(os.getpid(), signal.SIGTERM))
    _, outcome = start(shards, tmp_path, stop, every=100)
    assert (outcome.step, outcome.stopped_early, outcome.signal_number) == (3, True, signal.SIGTERM)
    assert [path.name for path in Checkpoints(folder=tmp_path / "checkpoints").found()] == ["step-0000003.ckpt"]
    assert (tmp_path / "weights" / "model.json").is_file()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    _, outcome = start(shards, tmp_path)
    assert (outcome.resumed_from, outcome.step, outcome.stopped_early) == (3, STEPS, False)


def test_a_nan_keeps_the_last_good_state_and_names_it(shards, tmp_path):
    curve = Curve(5)

    def spoil() -> None:
        with torch.no_grad():
            curve.module.model.generator.get_parameter("fc.bias").fill_(float("nan"))

    curve.action = spoil
    with pytest.raises(TrainingDivergedError) as caught:
        start(shards, tmp_path, curve)
    said = str(caught.value)
    assert said.startswith("step 5: frame is not finite; the last good state is ")
    assert "step-0000004.ckpt: run again from there with resume=force and a lower recipe.optimiser.lr" in said
    good = Checkpoints(folder=tmp_path / "checkpoints").latest()
    assert good["step"] == 4
    assert all(bool(value.isfinite().all()) for value in good["model"].values())
    _, outcome = start(shards, tmp_path)
    assert (outcome.resumed_from, outcome.step) == (4, STEPS)


def test_weights_that_are_not_finite_are_not_saved(shards, tmp_path):
    curve = Curve(2)

    def spoil() -> None:  # after the step, before the checkpoint of the same step
        curve.module.ema.values["generator.fc.bias"].fill_(float("inf"))

    curve.action = spoil
    with pytest.raises(
        TrainingDivergedError, match=r"moving average of generator.fc.bias .*nothing was saved; there is no"
    ):
        start(shards, tmp_path, curve)
    assert not (tmp_path / "weights").exists()


def test_a_damaged_newest_checkpoint_is_set_aside(shards, tmp_path, capsys):
    start(shards, tmp_path, max_steps=4)
    newest = Checkpoints(folder=tmp_path / "checkpoints").found()[0]
    newest.write_bytes(newest.read_bytes()[:-1000])
    _, outcome = start(shards, tmp_path, max_steps=5, every=100)
    assert outcome.resumed_from == 2
    assert "step-0000004.ckpt cannot be read" in capsys.readouterr().err
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-0000002.ckpt", "step-0000004.ckpt.damaged", "step-0000005.ckpt"]


def test_the_best_checkpoint_and_its_weights_stay(shards, tmp_path):
    curve = Curve()
    start(shards, tmp_path, curve, every=1, keep_last=1, keep_best="total")
    best = int(np.argmin(curve.totals)) + 1
    note = json.loads((tmp_path / "checkpoints" / "best.json").read_text())
    assert (note["step"], note["term"], note["score"]) == (best, "total", pytest.approx(min(curve.totals)))
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["best.ckpt", "best.json", f"step-{STEPS:07d}.ckpt"]
    model = json.loads((tmp_path / "weights_best" / "model.json").read_text())
    assert model["provenance"]["steps"] == best
    kept = load_pretrained(tmp_path / "checkpoints" / "best.ckpt").state_dict()
    for name, value in load_pretrained(tmp_path / "weights_best").state_dict().items():
        assert torch.equal(kept[name], value), name


def test_best_is_a_mean_over_the_steps_between_two_checkpoints(shards, tmp_path):
    curve = Curve()
    start(shards, tmp_path, curve, max_steps=4, keep_best="total")
    means = [np.mean(curve.totals[:2]), np.mean(curve.totals[2:])]
    note = json.loads((tmp_path / "checkpoints" / "best.json").read_text())
    assert note["score"] == pytest.approx(min(means))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns_and_resumes_bit_for_bit(shards, tmp_path, precision):
    whole, _ = start(shards, tmp_path / "whole", max_steps=4, options={"precision": precision})
    stop = Curve(2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    start(shards, tmp_path / "parts", stop, max_steps=4, options={"precision": precision})
    resumed, _ = start(shards, tmp_path / "parts", max_steps=4, options={"precision": precision})
    assert differences(whole.training_state()["model"], resumed.training_state()["model"]) == []
    assert (whole.loss_scale is not None) == (precision == "fp16")
    if whole.loss_scale is not None:
        assert whole.loss_scale.state() == resumed.loss_scale.state()


def test_an_fp16_overflow_skips_the_update_and_halves_the_scale(shards, tmp_path):
    trained = tiny_module(TERMS, precision="fp16", gan_from_step=0)
    trained.loss_scale.value = 2.0**120  # beyond what gradients of this size can be multiplied with
    data = PairData(shards=shards, batch_size=2, side_px=64, target_scale=2)
    before = {name: value.clone() for name, value in trained.model.named_parameters()}
    run(trained, data, Schedule(max_steps=1, grid_every=0), tmp_path, CPU)
    assert trained.loss_scale.skipped > 0
    assert trained.loss_scale.state()["value"] == 2.0**119
    assert all(torch.equal(before[name], value) for name, value in trained.model.named_parameters())


def test_random_states_of_all_generators_come_back():
    state = random_states()
    drawn = [torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()]  # noqa: NPY002
    set_random_states(state)
    assert drawn == [torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()]  # noqa: NPY002
    set_random_states(torch.get_rng_state())
