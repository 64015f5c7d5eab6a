"""The quicker ways give the readable networks' numbers."""

import copy

import pytest
import torch

from finetune.perceptual import OrientedFilters, perceptual
from finetune.quick_networks import gaussians, quicken, restore, translated
from lp_models import LivePortrait, LivePortraitConfig
from lp_models.dense_motion import deformed_volumes, heatmaps, sparse_motions
from lp_models.geometry import identity_grid


def pair() -> tuple[LivePortrait, LivePortrait]:
    torch.manual_seed(0)
    model = LivePortrait(LivePortraitConfig.named("tiny")).train()
    quick = copy.deepcopy(model)
    quicken(quick)
    return model, quick


def test_frames_and_gradients_are_equal_to_rounding() -> None:
    frames = []
    models = pair()
    for model in models:
        torch.manual_seed(1)
        image = torch.rand(2, 3, 64, 64)
        points = (torch.rand(2, 21, 3) - 0.5).requires_grad_(True)
        frame = model.drive(model.appearance(image), points, points.detach().flip(0) + 0.1, image)
        frame.square().mean().backward()
        frames.append((frame.detach(), points.grad))
    torch.testing.assert_close(frames[1], frames[0], rtol=1e-4, atol=1e-5)
    for (name, a), b in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), name
        if a.grad is not None and b.grad is not None:
            torch.testing.assert_close(b.grad, a.grad, rtol=2e-3, atol=2e-6, msg=name)
    for (name, a), b in zip(models[0].state_dict().items(), models[1].state_dict().values(), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-6, msg=name)


def test_names_stay_and_the_readable_way_comes_back() -> None:
    model, quick = pair()
    assert list(quick.state_dict()) == list(model.state_dict())
    block = quick.generator.get_submodule("up_0")
    assert "forward" in block.__dict__
    # A copy runs on its own weights, not on those of the original.
    assert copy.deepcopy(block).forward.__self__ is not block
    restore(quick)
    assert "forward" not in block.__dict__


@pytest.mark.parametrize("reach", [0.1, 3.0])
def test_translations_and_gaussians_are_those_of_the_networks(reach: float) -> None:
    torch.manual_seed(0)
    volume = torch.rand(2, 3, 4, 6, 8)
    source, driving = (torch.rand(2, 5, 3) - 0.5) * reach, (torch.rand(2, 5, 3) - 0.5) * reach
    grid = identity_grid(4, 6, 8, like=volume)
    offsets = torch.nn.functional.pad(source - driving, (0, 0, 1, 0))
    wanted = deformed_volumes(volume, sparse_motions(grid, source, driving))
    torch.testing.assert_close(translated(volume, offsets), wanted, rtol=1e-4, atol=2e-6)
    change = gaussians(driving, grid) - gaussians(source, grid)
    torch.testing.assert_close(change, heatmaps(grid, source, driving)[:, 1:, 0], rtol=1e-4, atol=1e-6)


def test_the_perceptual_net_has_the_same_value_and_gradient() -> None:
    torch.manual_seed(0)
    found = []
    for way in (restore, quicken):
        net = OrientedFilters()
        way(net)
        image, target = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)), torch.zeros(2, 3, 64, 64)
        image.requires_grad_(True)
        value = perceptual(net, image, target)
        value.backward()
        found.append((value.detach(), image.grad))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-7)
