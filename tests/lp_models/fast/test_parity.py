"""The inference twin at official size against the reference implementation itself, not only against the plain twin."""

from typing import Any

import numpy as np
import pytest
import torch

from lp_models import LivePortrait, LivePortraitConfig
from lp_models.fast import FastPortrait
from lp_models.geometry import angle_from_bins

CHILDREN = {
    "appearance_feature_extractor": "appearance",
    "motion_extractor": "motion",
    "warping_module": "warping",
    "spade_generator": "generator",
}


@pytest.fixture(scope="module")
def official(golden: Any) -> LivePortrait:
    """The official size with the golden weights; stitching stays as it comes."""
    with torch.device("meta"):
        model = LivePortrait(LivePortraitConfig.named("official"))
    for name, child in CHILDREN.items():
        state = {key: torch.from_numpy(value) for key, value in golden.weights(name).items()}
        model.get_submodule(child).load_state_dict(state, strict=True, assign=True)
    return model.eval()


@pytest.mark.slow
def test_the_fast_networks_give_the_references_numbers(golden: Any, official: LivePortrait) -> None:
    """Tolerances are those of tests/lp_models/test_parity.py for the plain networks."""
    fast = FastPortrait(official)
    images = torch.from_numpy(np.concatenate((golden.image("src"), golden.image("drv"))))
    volume = torch.from_numpy(golden.tensor("W.feature_3d", (2, 32, 16, 64, 64), 1.7))
    kp_source = torch.from_numpy(golden.outputs["in.W.kp_source"])
    kp_driving = torch.from_numpy(golden.outputs["in.W.kp_driving"])
    features = torch.from_numpy(golden.tensor("G.feature", (1, 256, 64, 64), 1.2))
    with torch.inference_mode():
        heads = fast.motion.detector(images)
        warp = fast.warping(fast.prepare(volume, kp_source), kp_driving)
        picture = fast.generator(features)
    for name in ("pitch", "yaw", "roll"):
        assert golden.difference(f"M.{name}.degree", angle_from_bins(getattr(heads, name))) < 1e-4
    for name in ("t", "exp", "scale", "kp"):
        assert golden.difference(f"M.{name}", getattr(heads, name)) < 2e-6
    assert golden.difference("W.deformation", warp.flow) < 3e-5
    assert golden.difference("W.occlusion_map", warp.occlusion) < 3e-5
    assert golden.difference("W.out", warp.features) < 2e-4
    assert golden.difference("G.out", picture) < 1e-5


@pytest.mark.slow
def test_bfloat16_stays_within_45_db_of_the_plain_pictures(golden: Any, official: LivePortrait) -> None:
    from lp_models import source_keypoints
    from lp_models.geometry import driven_keypoints

    fast = FastPortrait(official, "bfloat16")
    images = [torch.from_numpy(golden.image(name)) for name in ("src", "drv")]
    with torch.inference_mode():
        own, other = (official.motion(image) for image in images)
        volume, x_s = official.appearance(images[0]), source_keypoints(own)
        x_d = driven_keypoints(own, other)
        error = fast.drive(fast.prepare(volume, x_s), x_d) - official.drive(volume, x_s, x_d)
    assert -10 * torch.log10(error.square().mean()) > 45
