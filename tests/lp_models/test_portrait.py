"""The five networks together: shapes at every size, gradients, autocast, an untrained model that is sane."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from lp_models import LivePortrait, LivePortraitConfig, Motion, source_keypoints

REPO = Path(__file__).resolve().parents[2]


def build(name: str) -> LivePortrait:
    torch.manual_seed(0)
    return LivePortrait(LivePortraitConfig.named(name))


def pictures(config: LivePortraitConfig, count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, config.image_px, config.image_px, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["tiny", "starter"])
def test_shapes_follow_the_config(name: str) -> None:
    model = build(name).eval()
    config = model.config
    with torch.no_grad():
        image = pictures(config)
        volume = model.appearance(image)
        motion = model.motion(image)
        x_s = source_keypoints(motion)
        warp = model.warping(volume, kp_source=x_s, kp_driving=x_s.flip(0))
        frame = model.paint(warp, image)
    side = config.volume_side
    assert volume.shape == (2, config.volume_channels, config.volume_depth, side, side)
    assert isinstance(motion, Motion)
    assert motion.canonical.shape == motion.delta.shape == (2, 21, 3)
    assert warp.flow.shape == (2, config.volume_depth, side, side, 3)
    assert warp.occlusion.shape == (2, 1, side, side)
    assert frame.shape == (2, 3, config.output_px, config.output_px)
    assert 0 <= frame.min() <= frame.max() <= 1


def test_every_parameter_that_takes_part_gets_a_gradient() -> None:
    model = build("tiny").train()
    image = pictures(model.config)
    motion = model.motion(image)
    x_s = source_keypoints(motion)
    x_d = model.stitching.stitch(x_s, x_s.flip(0))
    x_d = (
        x_d
        + model.stitching.retarget_eyes(x_s, torch.rand(2, 3))
        + model.stitching.retarget_lips(x_s, torch.rand(2, 2))
    )
    frame = model.drive(model.appearance(image), x_s, x_d, image)
    (frame - image.mean()).square().sum().backward()
    # A bias in front of a batch norm gets rounding errors at most, so weights alone are looked at.
    weights = [(name, p) for name, p in model.named_parameters() if not name.endswith("bias")]
    without = [name for name, p in weights if p.grad is None or not bool(p.grad.any())]
    # The correction networks end in a zero layer, which keeps their earlier layers still in the first step; the z shift
    # is ignored by the keypoint formula but shares its layer with x and y.
    first_layers = [name for name in without if name.startswith("stitching.") and not name.endswith("4.weight")]
    assert sorted(without) == sorted(first_layers)
    assert len(first_layers) == 3 * 2


def test_an_untrained_model_sees_an_upright_spread_out_face() -> None:
    model = build("starter").eval()
    with torch.no_grad():
        motion = model.motion(pictures(model.config, 4))
    x_s = source_keypoints(motion)
    for angle in (motion.pitch_deg, motion.yaw_deg, motion.roll_deg):
        assert angle.abs().max() < 20
    assert torch.allclose(motion.scale, torch.full_like(motion.scale, 1.3), atol=0.1)
    assert motion.delta.abs().max() < 0.1
    assert x_s.abs().max() < 1.2
    assert torch.cdist(x_s, x_s)[0].fill_diagonal_(9).min() > 0.05


def test_the_same_picture_twice_drives_with_its_own_keypoints() -> None:
    model = build("tiny").eval()
    image = pictures(model.config)
    with torch.no_grad():
        x_s = source_keypoints(model.motion(image))
        expected = model.drive(model.appearance(image), x_s, x_s, image)
        assert torch.equal(model(image, image), expected)


def test_bfloat16_autocast_stays_close_and_keeps_coordinates_exact() -> None:
    model = build("tiny").eval()
    image = pictures(model.config)
    with torch.no_grad():
        plain = model(image, image.flip(0))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            motion = model.motion(image)
            x_s = source_keypoints(motion)
            warp = model.warping(model.appearance(image), kp_source=x_s, kp_driving=x_s.flip(0))
            half = model(image, image.flip(0))
    tensors = (*motion, x_s, warp.flow, warp.occlusion, half)
    assert {t.dtype for t in tensors} == {torch.float32}
    assert warp.features.dtype == torch.bfloat16
    assert (plain - half).abs().max() < 0.05


def test_a_training_step_lowers_the_loss_on_one_pair() -> None:
    model = build("tiny").train()
    image = pictures(model.config)
    target = nn.functional.interpolate(image, size=model.config.output_px)

    def step() -> float:
        model.zero_grad()
        loss = (model(image, image) - target).abs().mean()
        loss.backward()
        # By hand: building the first torch.optim optimiser of a process takes seconds of imports.
        with torch.no_grad():
            for p in model.parameters():
                if p.grad is not None:
                    p -= 1e-3 * p.grad.sign()
        return loss.item()

    losses = [step() for _ in range(12)]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    "change",
    [{"volume_depth": 2}, {"num_keypoints": 10}, {"upscale": 1}, {"hourglass_blocks": 1}, {"num_keypoints": 30}],
    ids=str,
)
def test_other_sizes_run_from_the_same_code(change: dict[str, int]) -> None:
    config = LivePortraitConfig.from_dict(LivePortraitConfig.named("tiny").as_dict() | change)
    model = LivePortrait(config).eval()
    with torch.no_grad():
        frame = model(pictures(config), pictures(config))
    assert frame.shape[-1] == config.output_px


def test_building_the_official_model_without_memory_takes_no_time() -> None:
    # In a fresh process: a single arithmetic operation on the meta device imports torch's compiler, which takes 4 s.
    code = """
import sys, torch
from lp_models import LivePortrait, LivePortraitConfig
with torch.device("meta"):
    model = LivePortrait(LivePortraitConfig.named("official"))
assert {p.device.type for p in model.parameters()} == {"meta"}
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_motion_network_shrinks_larger_pictures_to_its_own_side() -> None:
    model = build("tiny").eval()
    image = pictures(model.config)
    side = model.config.image_px // 2
    small = torch.nn.functional.interpolate(image, size=(side, side), mode="area")
    with torch.no_grad():
        model.motion.side_px = side
        shrunk, given = model.motion(image), model.motion(small)
    assert all(torch.equal(a, b) for a, b in zip(shrunk, given, strict=True))
