import pytest
import torch

from finetune.micro_batches import micro_batches
from finetune.objective import REGION_WEIGHTED, TERMS
from tests.finetune.rows import CAT, DOG, HUMAN, batch, gradient_norms, module

DETERMINISTIC = {
    "perceptual": 1.0, "perceptual_face": 1.0, "perceptual_lip": 1.0, "gan": 1.0, "gan_lip": 1.0, "prior": 1.0,
    "pose": 0.1, "delta": 1.0, "guide": 1.0, "agreement": 1.0, "guard": 1.0, "flip": 1.0,
}  # fmt: skip


def rows():
    """Every mask differs between the two halves."""
    return batch(
        [HUMAN, HUMAN, HUMAN, CAT, DOG, CAT], truth=[True, False, True, True, False, False],
        cross=[True, False, False, True, False, False],
    )  # fmt: skip


def gradients(accumulate, weights):
    trained = module(weights, {"animals": {"gan_lip": False}}, accumulate=accumulate)
    with torch.no_grad():
        torch.manual_seed(3)
        for parameter in trained.model.motion.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))  # the guard's minimum is a kink: its slope is noise
    # Batch statistics are those of each part by nature; the rest must not notice the parts.
    trained.model.eval()
    trained.judges.eval()
    trained.manual_backward = lambda loss: loss.backward()
    terms, views = trained.accumulated(rows(), adversarial=True)
    return trained, terms, views


def differences(one, other):
    """Norm of the difference of each network's gradient, relative to the gradient's own."""
    found = {}
    for name in ("appearance", "motion", "warping", "generator"):
        ours, theirs = (
            torch.cat([p.grad.flatten() for p in m.model.get_submodule(name).parameters() if p.grad is not None])
            for m in (one, other)
        )
        found[name] = float((ours - theirs).norm() / ours.norm())
    return found


def test_a_part_without_a_row_for_any_term_adds_nothing():
    trained, terms, _ = gradients(3, {"gan_lip": 1.0})
    assert terms["gan_lip"].isfinite()
    assert gradient_norms(trained)


@pytest.mark.parametrize("accumulate", [2, 3])
def test_parts_of_a_batch_give_the_gradients_of_the_whole(accumulate):
    whole, terms, _ = gradients(1, DETERMINISTIC)
    parts, found, views = gradients(accumulate, DETERMINISTIC)
    assert len(views) == accumulate
    assert set(found) == set(terms)
    for name, value in terms.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5, msg=name)
    assert max(differences(whole, parts).values()) < 1e-4


@pytest.mark.parametrize("term", REGION_WEIGHTED)
def test_region_weighted_terms_agree_too(term):
    whole, terms, _ = gradients(1, {term: 1.0})
    parts, found, _ = gradients(3, {term: 1.0})
    assert found[term].item() == pytest.approx(terms[term].item(), rel=1e-4)
    for name, norm in gradient_norms(whole).items():
        assert gradient_norms(parts)[name] == pytest.approx(norm, rel=1e-3), name


def test_parts_follow_each_other_and_hold_every_row_once():
    whole = rows()
    parts = list(micro_batches(whole, 4))
    assert [len(part.source) for part in parts] == [1, 2, 1, 2]
    assert torch.equal(torch.cat([part.target for part in parts]), whole.target)
    marks = torch.cat([part.driving_truth.landmarks for part in parts])
    assert torch.equal(marks, whole.driving_truth.landmarks)
    assert next(micro_batches(whole, 1)) is whole
    with pytest.raises(ValueError, match="accumulate=7"):
        list(micro_batches(whole, 7))


def test_counts_of_parts_add_up_to_those_of_the_batch():
    objective = module(DETERMINISTIC).objective
    whole = objective.counts(rows(), True)
    parts = [objective.counts(part, True) for part in micro_batches(rows(), 2)]
    assert {name: parts[0][name] + parts[1][name] for name in TERMS} == whole
