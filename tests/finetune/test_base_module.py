from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_module
from safetensors.torch import save_file

from finetune.augment import Augment
from finetune.base_module import BaseModule
from finetune.checkpoints import CheckpointError, Checkpoints
from finetune.cli import build
from finetune.datamodule import PairData
from finetune.discriminator import PatchDiscriminator
from finetune.lora import Lora
from finetune.objective import Guidance, Objective, forward_pass
from finetune.optimiser import MovingAverage, Optimiser, Stage
from finetune.pairs import Mixture
from finetune.perceptual import OrientedFilters, Vgg19, perceptual
from finetune.recipe import TrainingDivergedError
from finetune.run import Schedule, run
from finetune.teachers.puppet_net import PuppetNet
from lp_models import LivePortrait, LivePortraitConfig, load_pretrained
from lp_models.geometry import driven_keypoints
from tests.finetune.rows import CAT, DOG, HUMAN, batch

WEIGHTS = {
    "reconstruction": 20.0, "perceptual": 10.0, "gan": 0.1, "feature_matching": 1.0, "equivariance": 10.0,
    "prior": 1.0, "pose": 0.3, "delta": 1.0, "guide": 10.0, "agreement": 1.0,
}  # fmt: skip
CPU = {"accelerator": "cpu", "devices": 1}
GUIDANCE = Guidance(ties=(((11,), (68,), (37, 38)), ((14,), (48,), (48,))))


def module(weights=None, gan_from=0, lr=1e-3, stages=(), recipe=None, **options):
    torch.manual_seed(0)
    model = LivePortrait(LivePortraitConfig.named("tiny"))
    return BaseModule(
        model,
        Objective(guidance=GUIDANCE, weights=WEIGHTS if weights is None else weights),
        Optimiser(lr=lr, warmup_steps=2, ema_decay=0.9, **options),
        features=OrientedFilters(scales=1),
        discriminator=PatchDiscriminator(width=4, max_width=8, num_layers=2),
        face_discriminator=PatchDiscriminator(width=4, max_width=8, num_layers=2),
        lip_discriminator=PatchDiscriminator(width=4, max_width=8, num_layers=2),
        gan_from_step=gan_from,
        precision="fp32",
        stages=stages,
        seed=1,
        **(recipe or {}),
    )


def data(shards: Path, **options) -> PairData:
    return PairData(
        shards=shards, batch_size=3, side_px=64, target_scale=2, mixture=Mixture(cross_frac=0.7),
        augment=Augment(colour=0.0), **options,
    )  # fmt: skip


def train(shards, out, steps, **options):
    schedule = Schedule(max_steps=steps, log_every=2, grid_every=0, checkpoint_every=2)
    trained = module(**options)
    return trained, run(trained, data(shards), schedule, out, CPU)


def test_loss_falls_on_one_batch(shards):
    trained = module(gan_from=1000, lr=2e-3)
    source = data(shards)
    source.read()
    batch = source.train.batch(0, 3, 64, 128)
    optimiser = trained.optimiser.build(trained.model, ("appearance", "motion", "warping", "generator"))
    totals = []
    for step in range(25):
        trained.optimiser.set_rates(optimiser, step, 1000)
        _, terms = trained.terms(batch, adversarial=False)
        total = trained.objective.total(terms)
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        totals.append(total.item())
    assert totals[-1] < 0.6 * totals[0]


EVERYTHING_ON = {
    "weights": WEIGHTS | {"gan_face": 0.1, "gan_lip": 0.1, "guard": 1.0, "flip": 1.0, "perceptual_face": 1.0},
    "stages": [{"until": 2, "train": ["motion", "generator"], "module_lr": {"motion": 0.5}}],
    "recipe": {"lora": Lora(modules=["motion"], rank=2), "accumulate": 3, "r1": 0.01, "r1_every": 2},
}


@pytest.mark.parametrize("options", [{}, EVERYTHING_ON], ids=["plain", "everything"])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(shards, tmp_path, options):
    whole, _ = train(shards, tmp_path / "whole", 6, **options)
    schedule = Schedule(max_steps=6, log_every=2, grid_every=0, checkpoint_every=2)
    first = module(**options)
    first.max_steps = 6
    stopper = _StopAfter(3)
    from finetune import run as run_module

    original = run_module.fit
    run_module.fit = lambda m, d, callbacks, options, loggers: original(m, d, [*callbacks, stopper], options, loggers)
    try:
        outcome = run(first, data(shards), schedule, tmp_path / "cut", CPU)
    finally:
        run_module.fit = original
    assert outcome.stopped_early
    assert outcome.step == 3
    second = module(**options)
    if second.guard is not None:
        # The folder that the run started from has changed: the checkpoint still knows the first start.
        with torch.no_grad():
            second.guard.motion.detector.fc_exp.bias.add_(1.0)
    outcome = run(second, data(shards), schedule, tmp_path / "cut", CPU)
    assert (outcome.resumed_from, outcome.step, outcome.stopped_early) == (3, 6, False)
    for (name, a), b in zip(whole.model.state_dict().items(), second.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    for name, value in whole.ema.values.items():
        assert torch.equal(value, second.ema.values[name]), name
    for name, helper in whole.helpers().items():
        for a, b in zip(helper.state_dict().values(), second.helpers()[name].state_dict().values(), strict=True):
            assert torch.equal(a, b), name


class _StopAfter(__import__("lightning").Callback):
    """Asks to stop like a SIGTERM would."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if pl_module.step == self.step - 1:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGTERM)


def test_max_steps_means_steps_of_the_networks_with_two_optimisers(shards, tmp_path):
    trained, outcome = train(shards, tmp_path, 3)
    assert (trained.step, outcome.step) == (3, 3)
    assert "discriminator" in trained.last_terms
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", "2", "3"]


def test_the_export_is_the_average_and_loads(shards, tmp_path):
    trained, outcome = train(shards, tmp_path, 3)
    loaded = load_pretrained(outcome.weights)
    for name, value in loaded.state_dict().items():
        torch.testing.assert_close(value, trained.ema.values[name])
    assert not torch.equal(loaded.motion.detector.fc_kp.weight, trained.model.motion.detector.fc_kp.weight)
    assert "LivePortrait" in (outcome.weights / "MODEL_CARD.md").read_text()
    _, outcome = train(shards, tmp_path, 3)
    assert outcome.resumed_from == 3


def test_frozen_modules_do_not_change(shards, tmp_path):
    trained, _ = train(shards, tmp_path, 2, module_lr={"motion": 0.0})
    fresh = module()
    for part, same in (("motion", True), ("warping", False), ("generator", False), ("stitching", True)):
        pairs = zip(getattr(trained.model, part).parameters(), getattr(fresh.model, part).parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs) is same, part


def test_stages_choose_what_learns_and_at_which_side(shards, tmp_path):
    stages = [{"until": 1, "train": ["motion"]}, {"until": 2, "train": ["generator"], "side_px": 32}]
    fresh = module().model
    first, _ = train(shards, tmp_path / "one", 1, stages=stages)
    assert "reconstruction" not in first.last_terms
    second, _ = train(shards, tmp_path / "two", 2, stages=stages)
    assert changed(first.model, fresh) == {"motion"}
    assert changed(second.model, first.model) == {"generator"}
    batch = data(shards).watched(2)
    out = forward_pass(second.model, batch, stage=Stage(until=9, side_px=32, motion_px=32))
    assert out.image.shape[-1] == 64
    with pytest.raises(ValueError, match="order"):
        module(stages=[{"until": 5}, {"until": 2}])


def changed(model, other):
    parts = ("appearance", "motion", "warping", "generator", "stitching")
    return {
        part
        for part in parts
        if any(
            not torch.equal(a, b)
            for a, b in zip(getattr(model, part).parameters(), getattr(other, part).parameters(), strict=True)
        )
    }


def test_the_discriminator_waits_for_its_step(shards, tmp_path):
    trained, _ = train(shards, tmp_path, 2, gan_from=5)
    fresh = module()
    pairs = zip(trained.discriminator.parameters(), fresh.discriminator.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert "gan" not in trained.last_terms


def test_no_adversarial_weight_builds_no_discriminator():
    assert module({"reconstruction": 1.0}).discriminator is None


def test_a_number_that_is_not_finite_is_named(shards):
    broken = module({"reconstruction": 1.0, "delta": 1.0})
    with torch.no_grad():
        broken.model.motion.detector.fc_exp.bias[0] = float("nan")
    source = data(shards)
    source.read()
    out, terms = broken.terms(source.train.batch(0, 3, 64, 128), adversarial=False)
    with pytest.raises(TrainingDivergedError, match=r"reconstruction|delta"):
        broken.check({**terms, "frame": out.image})


def test_without_cross_rows_the_forward_pass_is_the_models_own(shards):
    trained = module()
    trained.model.eval()
    source = data(shards)
    source.mixture = Mixture(cross_frac=0.0)
    source.read()
    batch = source.train.batch(0, 2, 64, 128)
    with torch.no_grad():
        out = forward_pass(trained.model, batch, None)
        theirs = trained.model(batch.source, batch.driving)
        kp = driven_keypoints(trained.model.motion(batch.source), trained.model.motion(batch.driving))
    torch.testing.assert_close(out.kp_driving, kp)
    torch.testing.assert_close(out.image, theirs)


def test_every_term_reaches_what_it_must_train(shards):
    source = data(shards)
    source.read()
    batch = source.train.batch(0, 4, 64, 128)
    for term, parts in {
        "reconstruction": {"appearance", "motion", "warping", "generator"},
        "perceptual": {"appearance", "motion", "warping", "generator"},
        "equivariance": {"motion"}, "prior": {"motion"}, "pose": {"motion"}, "delta": {"motion"}, "guide": {"motion"},
        "agreement": {"motion"},
    }.items():  # fmt: skip
        trained = module({term: 1.0})
        _, terms = trained.terms(batch, adversarial=False)
        terms[term].backward()
        reached = {
            part
            for part in ("appearance", "motion", "warping", "generator", "stitching")
            if any(p.grad is not None and p.grad.abs().sum() > 0 for p in getattr(trained.model, part).parameters())
        }
        assert reached == parts, term


def test_a_damaged_checkpoint_makes_way_for_the_one_before(tmp_path, capsys):
    checkpoints = Checkpoints(folder=tmp_path)
    for step in (1, 2, 3):
        checkpoints.save(step, {"x": torch.tensor(step)})
    assert [p.name for p in checkpoints.found()] == ["step-0000003.ckpt", "step-0000002.ckpt"]
    checkpoints.path(3).write_bytes(b"half")
    assert checkpoints.latest()["step"] == 2
    assert "step-0000003" in capsys.readouterr().err
    checkpoints.path(2).write_bytes(b"")
    with pytest.raises(CheckpointError, match="delete the folder"):
        checkpoints.latest()


def test_a_checkpoint_of_another_size_is_refused(shards, tmp_path):
    train(shards, tmp_path, 2)
    other = module()
    object.__setattr__(other.model, "config", LivePortraitConfig.named("starter"))
    state = Checkpoints(folder=tmp_path / "checkpoints").latest()
    with pytest.raises(ValueError, match="another out"):
        other.load_networks(state)


def test_schedule_warms_up_and_ends_low():
    numbers = Optimiser(warmup_steps=10, final_lr_frac=0.1)
    assert numbers.schedule(0, 100) == pytest.approx(0.1)
    assert numbers.schedule(10, 100) == pytest.approx(1)
    assert numbers.schedule(100, 100) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="learning rate"):
        Optimiser(lr=4.0)
    with pytest.raises(ValueError, match="generater"):
        Optimiser(module_lr={"generater": 1.0})


def test_a_stage_scales_rates_beside_the_recipes_own_factors():
    trained = module(module_lr={"motion": 0.5})
    optimiser = trained.optimiser.build(trained.model, ("motion", "generator"))
    trained.optimiser.set_rates(optimiser, 50, 100, {"motion": 0.2})
    motion, generator = (group["lr"] for group in optimiser.param_groups)
    assert motion == pytest.approx(0.1 * generator)
    with pytest.raises(ValueError, match="does not learn there"):
        Stage(until=1, train=["generator"], module_lr={"motion": 0.1})


def test_networks_that_wait_keep_their_batch_statistics(shards, tmp_path):
    stages = [{"until": 9, "train": ["motion", "generator"]}]
    trained, _ = train(shards, tmp_path, 2, stages=stages)
    fresh = module().model.state_dict()
    moved = {name.split(".")[0] for name, value in trained.model.state_dict().items() if not value.equal(fresh[name])}
    assert moved == {"motion", "generator"}


def test_the_moving_average_is_the_formula():
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    average = MovingAverage(net, 0.9)
    start = net[0].weight.detach().clone()
    with torch.no_grad():
        net[0].weight.add_(1.0)
        net[1].running_mean.add_(2.0)
        net[1].num_batches_tracked.add_(5)
    average.update(net, 1000)
    torch.testing.assert_close(average.values["0.weight"], start + 0.1)
    torch.testing.assert_close(average.values["1.running_mean"], torch.full((3,), 2.0))
    assert average.values["1.num_batches_tracked"].item() == 5


def test_fused_and_plain_adam_agree():
    found = []
    for fused in (False, True):
        torch.manual_seed(0)
        net = torch.nn.ModuleDict({"motion": torch.nn.Linear(4, 4)})
        optimiser = Optimiser(fused=fused, weight_decay=0.01).build(net, ("motion",))
        for step in range(3):
            Optimiser().set_rates(optimiser, step, 10)
            optimiser.zero_grad()
            net["motion"](torch.ones(2, 4)).square().sum().backward()
            optimiser.step()
        found.append(net["motion"].weight.detach())
    torch.testing.assert_close(*found)


def test_the_animal_recipe_steps_with_a_puppet_teacher_and_says_what_is_absent(tmp_path):
    torch.manual_seed(0)
    save_file(PuppetNet().state_dict(), tmp_path / "puppet.safetensors")
    rows = batch([HUMAN, CAT, DOG], truth=[False, False, True])
    for path, absent in (("null", True), (tmp_path / "puppet.safetensors", False)):
        with initialize_config_module(version_base="1.3", config_module="conf"):
            words = ["recipe=animals", "model=tiny", "data.shards=x", "out=y", f"teachers.puppet.path={path}"]
            config = compose("finetune", words)
        model = LivePortrait(LivePortraitConfig.named("tiny"))
        trained = build(config.recipe)(model=model, features=build(config.features), seed=0)
        said = trained.announce()
        assert any("asked for and left out: identity" in line for line in said) is absent
        assert any("stand-in trained on puppets" in line for line in said) is not absent
        assert ("perceptual: stand-in: fixed" in said[0]) is absent
        trained.step = 6000
        _, terms = trained.terms(rows, adversarial=True)
        wanted = {name for name, weight in trained.objective.weights.items() if weight}
        assert wanted - set(terms) == ({"identity"} if absent else set())
        trained.objective.total(terms).backward()


def test_stand_in_features_prefer_the_sharp_and_aligned():
    net = OrientedFilters()
    target = torch.rand(1, 3, 64, 64)
    blurred = torch.nn.functional.avg_pool2d(target, 5, 1, 2)
    assert perceptual(net, target, target).item() == 0
    slightly = perceptual(net, 0.5 * target + 0.5 * blurred, target)
    assert 0 < slightly < perceptual(net, blurred, target)


def test_stand_in_features_are_the_same_everywhere():
    image = torch.linspace(0, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)
    first, second = OrientedFilters()(image), OrientedFilters()(image)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_missing_vgg_file_is_one_clear_sentence(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        Vgg19(tmp_path / "vgg.pth")
