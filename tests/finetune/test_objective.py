import dataclasses

import pytest
import torch

from finetune.base_module import BaseModule
from finetune.objective import TERMS, Objective
from finetune.optimiser import Optimiser
from finetune.teachers.panel import Teachers
from lp_models import LivePortrait, LivePortraitConfig
from tests.finetune.rows import CAT, DOG, GUIDANCE, HUMAN, batch, gradient_norms, module

ALL = {"appearance", "motion", "warping", "generator"}
REACHES = {
    "reconstruction": ALL, "perceptual": ALL, "perceptual_face": ALL, "perceptual_lip": ALL, "identity": ALL,
    "gan": ALL, "gan_face": ALL, "gan_lip": ALL, "feature_matching": ALL, "feature_matching_face": ALL,
    "feature_matching_lip": ALL, "equivariance": {"motion"}, "prior": {"motion"}, "pose": {"motion"},
    "delta": {"motion"}, "guide": {"motion"}, "spans": {"motion"},
    "moved": ALL - {"generator"}, "painted": ALL,
    "agreement": {"motion"}, "guard": {"motion"}, "flip": {"motion"},
}  # fmt: skip


class Told(torch.nn.Module):
    """A teacher that remembers what it was asked about."""

    def __init__(self, answer):
        super().__init__()
        self.answer, self.asked, self.summary = answer, [], "told"

    def forward(self, image, points=None):
        self.asked.append(image)
        return self.answer(image)


def with_teachers(trained, **nets):
    trained.teachers = Teachers(**nets)
    return trained


def embed(image):
    return torch.nn.functional.adaptive_avg_pool2d(image, 4).flatten(1)


def species_rows():
    return batch([HUMAN, CAT, DOG, HUMAN], truth=[False, False, True, True], cross=[False, False, True, False])


def test_every_term_is_listed_here():
    assert set(REACHES) == set(TERMS)


@pytest.mark.parametrize("term", TERMS)
def test_every_term_reaches_what_it_must_train_and_nothing_else(term):
    trained = with_teachers(module({term: 1.0}), identity=Told(embed))
    if term == "guard":
        with torch.no_grad():
            trained.model.motion.detector.fc_exp.bias.add_(0.05)
    adversarial = term.startswith(("gan", "feature_matching"))
    _, terms = trained.terms(species_rows(), adversarial)
    assert terms[term].isfinite()
    terms[term].backward()
    assert set(gradient_norms(trained)) == REACHES[term]


def test_terms_about_the_moved_source_are_refused_for_models_that_do_not_copy():
    with pytest.raises(ValueError, match="copies_pixels=false; leave them at 0"):
        BaseModule(
            LivePortrait(LivePortraitConfig.named("tiny")), Objective(guidance=GUIDANCE, weights={"painted": 1.0}),
            Optimiser(),
        )  # fmt: skip


def test_terms_with_weight_0_are_not_computed():
    trained = module({"delta": 1.0})
    _, terms = trained.terms(species_rows(), adversarial=False)
    assert set(terms) == {"delta"}


def switched(name, on, **objective):
    return {"animals": {name: on}, **objective}


def test_identity_looks_at_people_only_unless_animals_are_switched_on():
    rows = species_rows()
    for on, expected in ((False, 2), (True, 4)):
        net = Told(embed)
        trained = with_teachers(module({"identity": 1.0}, switched("identity", on)), identity=net)
        trained.terms(rows, adversarial=False)
        assert [len(image) for image in net.asked] == [expected, expected]


def test_the_pose_teacher_is_asked_about_rows_without_truth_and_animals_only_when_switched_on():
    rows = species_rows()
    for on, expected in ((False, [0]), (True, [0, 1])):
        net = Told(lambda image: torch.full((len(image), 3), 50.0))
        trained = with_teachers(module({"pose": 1.0}, switched("pose_teacher", on)), pose=net)
        _, terms = trained.terms(rows, adversarial=False)
        assert torch.equal(net.asked[0], torch.cat((rows.source[expected], rows.driving[expected])))
        _, without = module({"pose": 1.0}).terms(rows, adversarial=False)
        assert terms["pose"] > without["pose"] + 5


def test_exact_pose_of_animals_counts_whatever_the_switch_says():
    rows = batch([CAT, CAT], truth=[True, False])
    for on in (False, True):
        _, terms = module({"pose": 1.0}, switched("pose_teacher", on)).terms(rows, adversarial=False)
        assert terms["pose"] > 1


def test_the_landmark_teacher_refines_rows_that_know_five_points_only():
    rows = batch([HUMAN, CAT], truth=[False, False])
    marks = rows.driving_truth.landmarks[:1]
    net = Told(lambda image: marks.expand(len(image), -1, -1))
    trained = with_teachers(module({"guide": 1.0}, switched("guide_teacher", False)), landmarks=net)
    _, terms = trained.terms(rows, adversarial=False)
    assert len(net.asked[0]) == 2
    exact = rows._replace(
        has_truth=torch.tensor([True, False]),
        has_landmarks=torch.tensor([True, False]),
        source_truth=rows.source_truth._replace(landmarks=marks.expand(2, -1, -1)),
    )
    _, wanted = module({"guide": 1.0}).terms(exact, adversarial=False)
    torch.testing.assert_close(terms["guide"], wanted["guide"])


def test_landmarks_read_from_real_media_guide_and_leave_the_pose_alone():
    rows = batch([HUMAN, HUMAN], truth=[False, False])
    read = rows._replace(has_landmarks=torch.tensor([True, True]))
    exact = read._replace(has_truth=torch.tensor([True, True]))
    guide, pose = module({"guide": 1.0}), module({"pose": 1.0})
    wanted = guide.terms(exact, adversarial=False)[1]["guide"]
    assert guide.terms(read, adversarial=False)[1]["guide"] == wanted
    assert guide.terms(rows, adversarial=False)[1]["guide"] != wanted
    assert pose.terms(read, adversarial=False)[1]["pose"] == 0 < pose.terms(exact, adversarial=False)[1]["pose"]


def test_the_lip_judge_sees_people_only_unless_animals_are_switched_on():
    rows = species_rows()
    for on, expected in ((False, 2), (True, 4)):
        trained = module({"gan_lip": 1.0, "gan": 1.0}, switched("gan_lip", on))
        _, _, views = trained._pass(rows, True, 0)
        assert len(views["_lip"][0]) == len(views["_lip"][1]) == expected
        assert len(views[""][0]) == 4


def test_lips_of_animals_are_compared_while_their_judge_is_off():
    trained = module({"gan_lip": 1.0, "perceptual_lip": 1.0}, switched("gan_lip", False))
    rows = species_rows()
    out, _, views = trained._pass(rows, True, 0)
    cuts = trained.objective.cuts(out.image, rows, adversarial=True)
    assert (len(cuts.lip[0]), len(views["_lip"][0])) == (4, 2)


def test_a_batch_of_animals_alone_trains_without_lips_and_identity():
    weights = {"gan_lip": 1.0, "identity": 1.0, "guard": 1.0, "reconstruction": 1.0}
    animals = {"gan_lip": False, "identity": False}
    trained = with_teachers(module(weights, {"animals": animals}), identity=Told(embed))
    _, terms = trained.terms(batch([CAT, DOG], truth=[True, False]), adversarial=True)
    assert "gan_lip" not in terms
    assert (terms["identity"].item(), terms["guard"].item()) == (0, 0)
    trained.objective.total(terms).backward()


def test_flip_looks_at_animals_without_truth_only():
    objective = Objective(guidance=GUIDANCE, weights={"flip": 1.0})
    assert objective.mirror_rows(species_rows()).tolist() == [False, True, False, False]
    trained = module({"flip": 1.0})
    _, terms = trained.terms(batch([HUMAN, CAT], truth=[False, True]), adversarial=False)
    assert terms["flip"].item() == 0


def test_the_perceptual_target_side_takes_no_gradient_and_the_image_side_does():
    # Bug of a community trainer (research notes 1.9): features of the generated picture under no_grad.
    trained = module({"perceptual_face": 1.0})
    rows = species_rows()
    target = rows.target.clone().requires_grad_(True)
    out, _ = trained.terms(rows, adversarial=False)
    image = out.image.detach().requires_grad_(True)
    rows = rows._replace(target=target)
    found = trained.objective.terms(out._replace(image=image), rows, trained.features)["perceptual_face"]
    found.backward()
    assert image.grad.abs().sum() > 0
    assert target.grad is None


def test_points_of_the_forward_pass_are_not_changed_by_any_term():
    # Bug of a community trainer (research notes 1.9): predicted points changed in place.
    trained = module(dict.fromkeys(("guide", "prior", "equivariance", "agreement", "pose"), 1.0))
    rows = species_rows()
    out, _ = trained.terms(rows, adversarial=False)
    before = [value.clone() for value in (out.own, out.kp_driving, out.kp_source, out.warped)]
    trained.objective.terms(out, rows, None)
    after = (out.own, out.kp_driving, out.kp_source, out.warped)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_unknown_terms_and_switches_are_named():
    with pytest.raises(ValueError, match="gann"):
        Objective(guidance=GUIDANCE, weights={"gann": 1.0})
    with pytest.raises(ValueError, match="lips"):
        Objective(guidance=GUIDANCE, animals={"lips": False})


def test_counts_say_over_how_many_rows_a_term_is_a_mean():
    objective = dataclasses.replace(
        Objective(guidance=GUIDANCE, weights={}), animals={"identity": False, "gan_lip": False, "pose_teacher": False}
    )
    counts = objective.counts(species_rows(), has_pose_teacher=True)
    wanted = {"identity": 2, "gan_lip": 2, "perceptual_lip": 4, "agreement": 1, "flip": 1, "guard": 4, "gan": 4}
    assert {name: counts[name] for name in wanted} == wanted
    assert counts["pose"] == 2 * 2 + 1 + 2
