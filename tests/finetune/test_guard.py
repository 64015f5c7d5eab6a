import torch

from finetune.guard import FrozenMotion, motion_drift
from lp_models import LivePortrait, LivePortraitConfig
from tests.finetune.rows import CAT, HUMAN, batch, module


def moved(trained, by=0.05):
    with torch.no_grad():
        trained.model.motion.detector.fc_exp.bias.add_(by)
    return trained


def test_the_guard_is_zero_at_the_start_and_grows_with_the_change():
    trained = module({"guard": 1.0})
    rows = batch([HUMAN, CAT, HUMAN], truth=[True, True, False])
    assert trained.terms(rows, False)[1]["guard"].item() < 1e-5
    small = moved(trained).terms(rows, False)[1]["guard"].item()
    assert abs(small - 0.05) < 1e-3
    assert moved(trained).terms(rows, False)[1]["guard"].item() > small


def test_animals_do_not_hold_the_motion_network_back():
    trained = moved(module({"guard": 1.0}))
    assert trained.terms(batch([CAT, CAT]), False)[1]["guard"].item() == 0
    # Who drives a cross row is not known; its human source still counts.
    rows = batch([HUMAN, CAT], cross=[True, True])
    assert trained.terms(rows, False)[1]["guard"].item() > 0.04


def test_the_frozen_start_never_learns_nor_leaves_eval_mode():
    trained = module({"guard": 1.0})
    trained.train()
    assert not trained.guard.training
    assert not trained.guard.motion.training
    assert not any(p.requires_grad for p in trained.guard.parameters())
    moved(trained).terms(batch([HUMAN]), False)[1]["guard"].backward()
    assert all(p.grad is None for p in trained.guard.parameters())


def test_the_frozen_start_travels_with_the_checkpoint():
    first = module({"guard": 1.0})
    state = {name: helper.state_dict() for name, helper in first.helpers().items()}
    second = moved(module({"guard": 1.0}), by=1.0)
    second.guard = FrozenMotion(second.model.motion)
    for name, helper in second.helpers().items():
        helper.load_state_dict(state[name])
    for a, b in zip(first.guard.parameters(), second.guard.parameters(), strict=True):
        assert torch.equal(a, b)


def test_drift_measures_people_only_in_units_that_can_be_read():
    torch.manual_seed(0)
    old = LivePortrait(LivePortraitConfig.named("tiny")).motion
    new = FrozenMotion(old).motion
    rows = batch([HUMAN, CAT, HUMAN])
    assert motion_drift(new, old, rows) == (0.0, 0.0, 0.0, 0.0, 4)
    with torch.no_grad():
        new.detector.fc_scale.bias.add_(0.1)
        new.detector.fc_t.bias.add_(0.02)
    drift = motion_drift(new, old, rows)
    assert abs(drift.scale - 0.1) < 1e-5
    assert abs(drift.shift - 0.02) < 1e-5
    assert drift.pose_deg < 1e-5
    assert motion_drift(new, old, batch([CAT])).num_pictures == 0


def test_the_module_reports_its_own_drift():
    assert module({"delta": 1.0}).drift(batch([HUMAN])) is None
    assert moved(module({"guard": 1.0})).drift(batch([HUMAN])).delta > 0.04
