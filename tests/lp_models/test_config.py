"""The schema of the three sizes: what it accepts, what it refuses and how it says so."""

from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from lp_models import LivePortraitConfig


@pytest.mark.parametrize("name", ["official", "starter", "tiny"])
def test_every_size_survives_the_trip_through_plain_values(name: str) -> None:
    config = LivePortraitConfig.named(name)
    assert config.name == name
    assert LivePortraitConfig.from_dict(config.as_dict()) == config
    assert hash(config) == hash(LivePortraitConfig.named(name))


@pytest.mark.parametrize(("name", "side", "output"), [("official", 64, 512), ("starter", 32, 256), ("tiny", 16, 128)])
def test_sides_follow(name: str, side: int, output: int) -> None:
    config = LivePortraitConfig.named(name)
    assert (config.volume_side, config.output_px) == (side, output)


def test_hydra_builds_the_same_config() -> None:
    config = LivePortraitConfig.named("tiny")
    node = OmegaConf.create({"_target_": "lp_models.config.LivePortraitConfig", **config.as_dict()})
    assert instantiate(node) == config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_px": 0}, "image_px is 0; give 1 or more"),
        ({"motion_dims": [8, 0, 8, 8]}, "motion_dims"),
        ({"mask_kernel": 4}, "mask_kernel is 4; give an odd number"),
        ({"image_px": 60, "motion_px": 0}, "divisible by 32"),
        ({"motion_px": 128}, "motion_px is 128, above image_px 64"),
        ({"hourglass_blocks": 5}, "hourglass_blocks = 5 needs a side divisible by 32, but it meets one of 16"),
        ({"motion_depths": [1, 1]}, "same two or more stages"),
        ({"mask_kernal": 3}, "no field mask_kernal"),
        ({"motion_dims": "wide"}, "motion_dims"),
    ],
)
def test_a_bad_number_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LivePortraitConfig.from_dict(LivePortraitConfig.named("tiny").as_dict() | change)


def test_a_missing_number_and_an_unknown_name_are_named() -> None:
    with pytest.raises(ValueError, match="image_px"):
        LivePortraitConfig.from_dict({"name": "x"})
    with pytest.raises(ValueError, match="no model 'huge'; choose one of official, starter, tiny"):
        LivePortraitConfig.named("huge")
