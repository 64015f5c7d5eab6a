import pytest
from hydra import compose, initialize_config_module

from finetune.cli import build
from finetune.guidance import Guidance
from tests.finetune.rows import GUIDANCE


def test_guided_points_swap_with_those_on_the_mirrored_landmarks():
    partner = dict(zip(*GUIDANCE.partners(), strict=True))
    assert {k: partner[k] for k in (11, 13, 14, 1)} == {11: 15, 13: 16, 14: 17, 1: 2}
    assert {k: partner[k] for k in (12, 19, 20, 5)} == {12: 12, 19: 19, 20: 20, 5: 5}
    assert all(partner[other] == k for k, other in partner.items())


def test_every_guided_point_of_the_shipped_recipe_has_a_partner():
    with initialize_config_module(version_base="1.3", config_module="conf"):
        config = compose("finetune", ["data.shards=x", "out=y"])
    guidance = build(config.recipe.objective.guidance)
    assert sorted(guidance.partners().keypoints) == guidance.keypoints


def test_points_without_a_mirrored_tie_have_no_partner():
    assert Guidance(ties=[[[3], [0], [0]], [[4, 5], [30], [30]]]).partners() == ((), ())


def test_a_span_must_join_tied_keypoints():
    guidance = Guidance(ties=[[[11], [68], [37]], [[13], [68], [40]]], spans=[[11, 14]])
    with pytest.raises(
        ValueError, match=r"spans: \[11, 14\] is no pair of keypoints that are tied alone; those are 11, 13"
    ):
        guidance.span_ties()
