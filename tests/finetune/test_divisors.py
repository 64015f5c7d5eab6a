"""Processes with unequal rows learn as one process with all rows, and talk once for each optimiser's step."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from finetune.datamodule import PairData, Steps
from finetune.divisors import divisors, judges_total, mean_of_processes, weighted
from finetune.lessons import joined, lesson_loss, lessons_of
from finetune.micro_batches import rows
from finetune.objective import REGION_WEIGHTED
from finetune.pairs import Batch
from finetune.run import RANK_STRIDE
from finetune.stitching_module import StitchingModule
from finetune.teachers.panel import Teachers
from finetune.teachers.puppet_net import PuppetLandmarks, PuppetNet
from tests.finetune.ranks import on_ranks
from tests.finetune.rows import CAT, DOG, HUMAN, batch
from tests.finetune.rows import module as tiny_module
from tests.finetune.test_ddp import Curve, data_of, train
from tests.finetune.test_stitching_module import module as untrained

UNEVEN = {
    "reconstruction": 10.0, "moved": 2.0, "painted": 2.0, "perceptual": 1.0, "perceptual_lip": 1.0,
    "gan": 1.0, "gan_lip": 1.0,
    "feature_matching_lip": 1.0, "prior": 1.0, "pose": 0.1, "delta": 1.0, "guide": 1.0, "spans": 1.0,
    "agreement": 1.0, "guard": 1.0, "flip": 1.0,
}  # fmt: skip
PEOPLE_ONLY = {"animals": {"gan_lip": False, "perceptual_lip": False}}
PARTS = ("appearance", "motion", "warping", "generator")
TOLERANCE = 1e-4
"""Norm of the difference of two gradients relative to their own: sums are made in another order."""


def uneven_rows() -> Batch:
    """Of two halves, one has all cross rows, most people, truth and landmarks, and large faces."""
    whole = batch(
        [HUMAN, HUMAN, CAT, DOG, CAT, HUMAN], truth=[True, True, True, False, False, True],
        cross=[True, True, False, False, False, False],
    )  # fmt: skip
    size = torch.tensor([1.6, 1.5, 1.4, 0.5, 0.6, 0.7])[:, None, None]
    truth = whole.target_truth
    return whole._replace(target_truth=truth._replace(points=0.5 + (truth.points - 0.5) * size))


class FixedRows(PairData):
    """The same rows at every step; each process takes its share of them."""

    def train_dataloader(self) -> DataLoader[Batch]:
        rank, num, whole = self.trainer.global_rank, self.batch_size, self.whole
        steps = Steps(start=self.first_step, stop=self.last_step)
        own = rows(whole, rank * num, (rank + 1) * num)
        return DataLoader([own] * self.last_step, batch_size=None, sampler=steps)

    whole: Batch


def fixed(shards: Any, num: int, whole: Batch) -> PairData:
    found = data_of(shards, num, FixedRows)
    found.whole = whole
    return found


class Watch(Curve):
    """Totals and gradient norms of each step, gradients of the first one, and messages of gradients in each step."""

    def __init__(self) -> None:
        super().__init__()
        self.norms: list[float] = []
        self.messages: list[int] = []
        self.slopes: list[dict[str, torch.Tensor]] = []

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
        from torch.nn.parallel import DistributedDataParallel

        self.clip = self.module.clip
        self.module.clip = self.keep
        wrapped = trainer.strategy.model
        if isinstance(wrapped, DistributedDataParallel):

            def counted(group: Any, bucket: torch.distributed.GradBucket) -> torch.futures.Future[torch.Tensor]:
                self.messages[-1] += bucket.is_last()
                return allreduce_hook(group, bucket)

            wrapped.register_comm_hook(None, counted)

    def on_train_batch_start(self, *args: Any, **kwargs: Any) -> None:
        self.messages.append(0)
        # Batch statistics are those of each part, and power iterations go on with each: neither is compared here.
        for part in ("model", "judges"):
            getattr(self.module, part, nn.Identity()).eval()

    def keep(self, module: nn.Module) -> torch.Tensor:
        if self.module.step == 0 and not self.module.is_sharded:
            self.slopes.append({n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None})
        return self.clip(module)

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        terms = self.module.last_terms
        if "grad_norm" in terms:
            self.totals.append(float(terms["total"]))
            self.norms.append(float(terms["grad_norm"]))


def learned(
    rank: int, shards: Any, out: Any, num: int, accumulate: int, weights: Any, kind: str = "ddp", steps: int = 2
) -> Any:
    from finetune.optimiser import Optimiser

    optimiser = Optimiser(lr=1e-3, warmup_steps=2, ema_decay=0.0)
    trained = tiny_module(weights, PEOPLE_ONLY, optimiser=optimiser, accumulate=accumulate, r1=0.1)
    trained.open = lambda stage: None  # puts networks into training mode
    with torch.no_grad():
        torch.manual_seed(3)
        for parameter in trained.model.motion.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))  # the guard's minimum is a kink: its slope is noise
    watch = Watch()
    train(shards, out, steps, trained, fixed(shards, num, uneven_rows()), watch, kind)
    return watch.slopes, watch.norms, watch.totals, watch.messages, trained.training_state()["model"]


def difference(ours: list[dict[str, torch.Tensor]], theirs: list[dict[str, torch.Tensor]]) -> dict[str, float]:
    """Per network and judge, relative to the gradient's own norm."""
    assert [set(part) for part in ours] == [set(part) for part in theirs]
    found = {}
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        for part in PARTS if number == 0 else ("",):
            names = [name for name in one if name.startswith(part)]
            a, b = (torch.cat([side[name].flatten() for name in names]) for side in (one, other))
            assert a.norm() > 0, (number, part)
            found[part or f"judge {number}"] = float((a - b).norm() / a.norm())
    return found


@pytest.fixture(scope="module")
def alone(shards, tmp_path_factory):
    """One process with all six rows."""
    return on_ranks(1, learned, shards, tmp_path_factory.mktemp("one"), 6, 1, UNEVEN)[0]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_with_unequal_rows_have_the_gradients_of_one_with_all_rows(shards, tmp_path, alone, accumulate):
    slopes, norms, *_ = alone
    first, second = on_ranks(2, learned, shards, tmp_path, 3, accumulate, UNEVEN)
    for found in (first, second):
        apart = difference(slopes, found[0])
        assert len(apart) == len(PARTS) + 2  # judges of frame and lips
        assert max(apart.values()) < TOLERANCE, apart
        # Adam's first step enlarges what is rounding noise.
        torch.testing.assert_close(torch.tensor(found[1]), torch.tensor(norms), rtol=2e-2, atol=0)
    assert first[2] != second[2]  # each reports its own rows


def test_each_process_with_divisors_of_its_own_would_learn_something_else(shards, tmp_path, alone, monkeypatch):
    monkeypatch.setattr("finetune.base_module.mean_of_processes", lambda counts, device: dict(counts))
    found = on_ranks(2, learned, shards, tmp_path, 3, 1, UNEVEN)[0]
    apart = difference(alone[0], found[0])
    assert min(apart["motion"], apart["generator"], apart["judge 2"]) > 100 * TOLERANCE, apart


def test_divided_networks_have_the_gradient_norm_of_whole_ones(shards, tmp_path, alone):
    for _, norms, *_ in on_ranks(2, learned, shards, tmp_path, 3, 2, UNEVEN, "fsdp", 1):
        assert norms == pytest.approx(alone[1][:1], rel=TOLERANCE)


def test_a_process_without_a_row_for_any_term_does_not_keep_the_others_waiting(shards, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.finetune.test_divisors.uneven_rows", lambda: batch([HUMAN, HUMAN, CAT, CAT]))
    weights = {"gan_lip": 1.0}
    whole = on_ranks(1, learned, shards, tmp_path / "one", 4, 1, weights)[0]
    parts = on_ranks(2, learned, shards, tmp_path / "two", 2, 2, weights)
    for name, value in parts[0][4].items():
        assert torch.equal(value, parts[1][4][name]), name
    apart = difference(whole[0], parts[1][0])
    assert max(apart.values()) < TOLERANCE, apart


def test_one_process_without_a_row_for_any_term_goes_on(shards, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.finetune.test_divisors.uneven_rows", lambda: batch([CAT, CAT]))
    slopes, norms, totals, *_ = on_ranks(1, learned, shards, tmp_path, 2, 2, {"gan_lip": 1.0})[0]
    assert (norms, totals) == ([0, 0], [0, 0])
    assert slopes == [{}, {}]


@pytest.mark.slow  # four processes
def test_gradients_travel_once_for_each_optimisers_step(shards, tmp_path, monkeypatch):
    once = on_ranks(2, learned, shards, tmp_path / "once", 3, 3, UNEVEN, "ddp", 4)
    monkeypatch.setattr("finetune.base_module.held_back", lambda strategy: nullcontext())
    often = on_ranks(2, learned, shards, tmp_path / "often", 3, 3, UNEVEN, "ddp", 4)
    for (*_, totals, messages, weights), (*_, others, more, theirs) in zip(once, often, strict=True):
        assert messages == [2] * 4  # networks, judges
        assert more == [6] * 4  # three parts of each
        assert totals == pytest.approx(others, rel=1e-5)
        assert weights.keys() == theirs.keys()
    for name, value in once[0][4].items():
        assert torch.equal(value, once[1][4][name]), name


def test_terms_that_are_no_plain_means_have_exact_divisors():
    objective, whole = tiny_module(UNEVEN).objective, uneven_rows()
    counts = objective.counts(whole)
    found = divisors(objective, whole, None)
    halves = [divisors(objective, rows(whole, begin, begin + 3), None) for begin in (0, 3)]
    for name, value in found.items():
        assert halves[0][name] + halves[1][name] == pytest.approx(value), name
    assert {name for name in found if found[name] != counts[name]} == {*REGION_WEIGHTED, "spans"}
    assert found["spans"] == 3 * 4 + 2
    assert halves[0]["reconstruction"] > 1.1 * halves[1]["reconstruction"]
    taught = Teachers(landmarks=PuppetLandmarks(PuppetNet(), "untrained"))
    assert divisors(objective, whole, taught)["spans"] == 3 * 6 + 2


def test_means_of_parts_weigh_by_their_rows():
    values = torch.tensor([1.0, 2.0, 6.0, 9.0])
    parts = [weighted({"x": values[a:b].mean()}, {"x": float(b - a)}, {"x": 4.0})["x"] for a, b in ((0, 1), (1, 4))]
    assert sum(parts).item() == pytest.approx(4.5)
    assert weighted({"x": values.mean()}, {"x": 0.0}, {"x": 0.0})["x"].item() == 0
    assert mean_of_processes({"x": 3.0}, torch.device("cpu")) == {"x": 3.0}


def test_judges_weigh_by_what_they_see():
    view = {"": (torch.zeros(3, 3, 4, 4),) * 2, "_lip": (torch.zeros(1, 3, 4, 4),) * 2}
    terms = {"discriminator": torch.tensor(2.0), "discriminator_lip": torch.tensor(5.0), "r1_lip": torch.tensor(1.0)}
    assert judges_total(terms, view, {}).item() == pytest.approx(8.0)  # nothing beside this part
    assert not judges_total({}, {}, {}).requires_grad
    assert judges_total(terms, view, {"gan": 3.0, "gan_lip": 2.0}).item() == pytest.approx(2 + 6 / 2)


def stitching_module(ruler_steps: int, rank: int) -> StitchingModule:
    """Correction networks that correct, and the draws of a rank."""
    own = untrained(ruler_steps=ruler_steps)
    torch.manual_seed(4)
    with torch.no_grad():
        for parameter in own.model.stitching.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    own.seed = 5 + rank * RANK_STRIDE
    own.eval()
    return own


def stitched(rank: int, shards: Any, out: Any, ruler_steps: int) -> list[dict[str, torch.Tensor]]:
    watch, own = Watch(), stitching_module(ruler_steps, 0)  # `run` adds the rank
    train(shards, out, 1, own, fixed(shards, 3, uneven_rows()), watch)
    assert watch.messages == [1]
    return watch.slopes


def slopes_of(loss: torch.Tensor, network: nn.Module) -> torch.Tensor:
    found = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True, materialize_grads=True)
    return torch.cat([slope.flatten() for slope in found])


def test_two_processes_stitch_as_one_that_divides_by_the_rows_of_both(shards, tmp_path):
    found = on_ranks(2, stitched, shards, tmp_path, 0)
    each = [stitching_module(0, rank) for rank in (0, 1)]
    terms, asked = zip(*(m._pass(rows(uneven_rows(), 3 * r, 3 * r + 3)) for r, m in enumerate(each)), strict=True)
    counts = [{"eyes": float(a.sets_eyes.sum()), "lips": float(a.sets_lips.sum()), "stitch": 3.0} for a in asked]
    assert counts[0]["eyes"] != counts[1]["eyes"]
    wanted = plain = torch.zeros(())
    for own, mine, num in zip(each, terms, counts, strict=True):
        for name, value in mine.items():
            slope = own.objective.weights[name] * slopes_of(value, own.model.stitching)
            kind = name.split("_")[0]
            wanted = wanted + slope * num[kind] / (counts[0][kind] + counts[1][kind])
            plain = plain + slope / 2
    for slopes in found:
        ours = torch.cat([slopes[0][name].flatten() for name, _ in each[0].model.stitching.named_parameters()])
        assert (ours - wanted).norm() < TOLERANCE * wanted.norm()
        assert (ours - plain).norm() > 30 * TOLERANCE * wanted.norm()


def test_two_processes_train_the_ruler_as_one_that_divides_by_the_truth_of_both(shards, tmp_path):
    found = on_ranks(2, stitched, shards, tmp_path, 1)
    wanted = plain = torch.zeros(())
    weights = []
    for rank in (0, 1):
        own, part = stitching_module(1, rank), rows(uneven_rows(), 3 * rank, 3 * rank + 3)
        sides = ((part.source, part.source_truth), (part.driving, part.driving_truth))
        given = joined([lessons_of(image, truth, part.has_truth) for image, truth in sides])
        slope = slopes_of(lesson_loss(own.ruler, given, own._draw()), own.ruler)
        weights.append(float(given.weight.sum()))
        wanted, plain = wanted + slope * weights[-1], plain + slope / 2
    assert weights[0] == 3 * weights[1] > 0
    wanted = wanted / sum(weights)
    for slopes in found:
        ours = torch.cat([slopes[0][name].flatten() for name, _ in own.ruler.named_parameters()])
        assert (ours - wanted).norm() < TOLERANCE * wanted.norm()
        assert (ours - plain).norm() > 30 * TOLERANCE * wanted.norm()
