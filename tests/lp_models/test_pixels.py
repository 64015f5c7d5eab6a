"""Pixels of the source end where the flow says, exactly; the generator's share decides how much of them is seen."""

import pytest
import torch

from lp_models import LivePortrait, LivePortraitConfig, source_keypoints
from lp_models.pixels import blended, moved_pixels


def model_that_copies(**change: int) -> LivePortrait:
    torch.manual_seed(0)
    values = LivePortraitConfig.named("tiny").as_dict() | {"copies_pixels": True} | change
    return LivePortrait(LivePortraitConfig.from_dict(values)).eval()


@pytest.mark.parametrize("side", [32, 64])
def test_without_a_shift_the_picture_stays_exactly(side: int) -> None:
    source = torch.rand(2, 3, side, side)
    assert torch.allclose(moved_pixels(source, torch.zeros(2, 2, 8, 8), side), source, atol=1e-5)


def test_a_shift_is_where_the_pixel_lies_in_the_source() -> None:
    source = torch.rand(1, 3, 32, 32)
    shift = torch.zeros(1, 2, 8, 8)
    shift[:, 0] = 2 * 3 / 32  # 3 px to the right in the source
    shift[:, 1] = -2 * 2 / 32  # 2 px above
    moved = moved_pixels(source, shift, 32)
    assert torch.allclose(moved[..., 2:, :-3], source[..., :-2, 3:], atol=1e-5)
    assert torch.allclose(moved[..., 2:, -1], source[..., :-2, -1], atol=1e-5)  # beyond the edge its last pixels go on


def test_the_share_chooses_between_paint_and_pixels() -> None:
    painted, pixels = torch.randn(1, 4, 4, 4), torch.rand(1, 3, 4, 4)
    painted[:, 3, :2], painted[:, 3, 2:] = 40.0, -40.0
    result = blended(painted, pixels)
    assert torch.allclose(result[:, :, :2], pixels[:, :, :2])
    assert torch.allclose(result[:, :, 2:], painted[:, :3, 2:].sigmoid())


def test_at_its_own_keypoints_a_model_shows_its_source_where_it_copies() -> None:
    model = model_that_copies(upscale=1)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        x_s = source_keypoints(model.motion(image))
        conv = model.generator.conv_img
        assert isinstance(conv, torch.nn.Conv2d)
        conv.weight[-1:] = 0
        conv.bias[-1:] = 40.0  # pyright: ignore[reportOptionalSubscript]
        warp = model.warping(model.appearance(image), kp_source=x_s, kp_driving=x_s)
        assert warp.shift is not None
        assert warp.shift.abs().max() < 1e-6
        assert torch.allclose(model.paint(warp, image), image, atol=1e-4)


def test_pixels_pull_at_the_keypoints() -> None:
    model = model_that_copies().train()
    image = torch.rand(2, 3, 64, 64)
    x_s = source_keypoints(model.motion(image))
    x_d = (x_s.detach() + 0.05).requires_grad_()
    model.drive(model.appearance(image), x_s, x_d, image).square().sum().backward()
    surface = model.warping.dense_motion_network.surface
    assert surface is not None
    assert surface.weight.grad is not None
    assert bool(surface.weight.grad.any())
    assert x_d.grad is not None
    assert bool(x_d.grad.any())


def test_a_missing_source_and_a_useless_one_are_refused() -> None:
    model = model_that_copies()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        x_s = source_keypoints(model.motion(image))
        with pytest.raises(ValueError, match="copies_pixels=true and needs the source picture"):
            model.drive(model.appearance(image), x_s, x_s)
        plain = LivePortrait(LivePortraitConfig.named("tiny")).eval()
        with pytest.raises(ValueError, match="has no use for the source picture"):
            plain.generator(torch.zeros(1, plain.config.feature_channels, 8, 8), torch.zeros(1, 3, 64, 64))
