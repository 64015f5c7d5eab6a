import pytest
import torch

from finetune.adversary import Judges
from finetune.base_module import BaseModule
from tests.finetune.rows import CAT, HUMAN, batch, module, tiny_judge

WEIGHTS = {"gan": 1.0, "gan_face": 1.0, "gan_lip": 1.0, "feature_matching": 1.0}


def judges(**options) -> Judges:
    torch.manual_seed(0)
    return Judges({region: tiny_judge() for region in ("", "_face", "_lip")}, **options)


def views(num=2):
    return {region: (torch.rand(num, 3, 32, 32), torch.rand(num, 3, 32, 32)) for region in ("", "_face", "_lip")}


def test_each_judge_scores_its_own_crops_real_as_real_and_fake_as_fake():
    # Bugs of community trainers (research notes 1.9): real and fake swapped, one judge's score used for all.
    panel, seen = judges(), views()
    for region, net in panel.named():
        verdicts = []
        net.register_forward_hook(lambda _, given, out, kept=verdicts: kept.append((given[0], out)))
        found = panel.discriminator_terms(seen)[f"discriminator{region}"]
        (first, real), (second, fake) = verdicts
        assert torch.equal(first, seen[region][1])
        assert torch.equal(second, seen[region][0])
        wanted = (1 - real.scores[0]).relu().mean() + (1 + fake.scores[0]).relu().mean()
        torch.testing.assert_close(found, wanted)


def test_generator_terms_reach_the_pictures_and_not_the_judges():
    panel, seen = judges(), views()
    seen = {region: (fake.requires_grad_(True), real.requires_grad_(True)) for region, (fake, real) in seen.items()}
    terms = panel.generator_terms(seen)
    assert set(terms) == {f"{name}{region}" for name in ("gan", "feature_matching") for region in seen}
    torch.stack(list(terms.values())).sum().backward()
    assert all(fake.grad is not None and real.grad is None for fake, real in seen.values())
    assert all(p.grad is None for p in panel.parameters())
    assert all(p.requires_grad for p in panel.parameters())


def test_discriminator_terms_reach_every_judge_and_no_picture():
    panel, seen = judges(), views()
    seen = {region: (fake.requires_grad_(True), real) for region, (fake, real) in seen.items()}
    torch.stack(list(panel.discriminator_terms(seen).values())).sum().backward()
    assert all(fake.grad is None for fake, _ in seen.values())
    for _, net in panel.named():
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_a_few_steps_teach_each_judge_to_tell_real_from_fake():
    panel = judges()
    dark, bright = torch.rand(4, 3, 32, 32) * 0.3, 0.7 + torch.rand(4, 3, 32, 32) * 0.3
    optimiser = torch.optim.Adam(panel.parameters(), lr=5e-3)
    for _ in range(40):
        optimiser.zero_grad()
        terms = panel.discriminator_terms(dict.fromkeys(("", "_face", "_lip"), (dark, bright)))
        torch.stack(list(terms.values())).sum().backward()
        optimiser.step()
    for _, net in panel.named():
        assert net(bright).scores[0].mean() > 0 > net(dark).scores[0].mean()


def test_the_penalty_is_lazy_scaled_and_reaches_the_weights():
    panel = judges(r1=2.0, r1_every=4)
    assert [step for step in range(9) if panel.wants_penalty(step)] == [0, 4, 8]
    assert not judges().wants_penalty(0)
    seen = views()
    terms = panel.penalties(seen)
    torch.stack(list(terms.values())).sum().backward()
    for region, net in panel.named():
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
        real = seen[region][1].requires_grad_(True)
        (slope,) = torch.autograd.grad(net(real).scores[0].sum(), real)
        wanted = 2.0 * 4 * 0.5 * slope.square().sum(dim=(1, 2, 3)).mean()
        # Each pass moves the spectral norm's vectors a little.
        assert terms[f"r1{region}"].item() == pytest.approx(wanted.item(), rel=0.1)


def test_regions_without_rows_are_left_out():
    panel, seen = judges(), views()
    del seen["_lip"]
    assert "gan_lip" not in panel.generator_terms(seen)
    assert "discriminator_lip" not in panel.discriminator_terms(seen)


def test_all_judges_are_in_one_optimiser_and_in_the_checkpoint():
    trained = module(WEIGHTS)
    _, optimiser = trained.configure_optimizers()
    held = {id(p) for group in optimiser.param_groups for p in group["params"]}
    assert held == {id(p) for p in trained.judges.parameters()}
    assert set(trained.helpers()) == {"discriminator", "face_discriminator", "lip_discriminator"}


def test_a_judge_is_kept_only_where_its_terms_have_weight():
    trained = module({"gan_face": 1.0})
    assert [region for region, _ in trained.judges.named()] == ["_face"]
    with pytest.raises(ValueError, match="face_discriminator"):
        BaseModule(trained.model, trained.objective, trained.optimiser)


def test_all_three_judge_a_step():
    trained = module(WEIGHTS, {"animals": {"gan_lip": False}})
    _, terms = trained.terms(batch([HUMAN, CAT]), adversarial=True)
    assert {"gan", "gan_face", "gan_lip"} <= set(terms)
