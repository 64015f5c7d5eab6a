import pytest
import torch
from torch.nn.utils import parametrize

from finetune.lora import Lora, LowRank
from lp_models import LivePortrait, LivePortraitConfig, load_pretrained, save_pretrained
from tests.finetune.rows import CAT, HUMAN, batch, gradient_norms, module


def tiny():
    torch.manual_seed(0)
    return LivePortrait(LivePortraitConfig.named("tiny"))


def opened(model, rank=4):
    lora = LowRank(model, ["motion"], rank, alpha=8.0)
    model.motion.requires_grad_(False)
    lora.open("motion", learns=True)
    return lora


class Sum(torch.nn.Module):
    """W_0 + c B A the usual way, as a parametrization with autograd."""

    def __init__(self, down, up, scale):
        super().__init__()
        self.down, self.up, self.scale = torch.nn.Parameter(down), torch.nn.Parameter(up), scale

    def forward(self, start):
        return start + self.scale * (self.up @ self.down).view_as(start)


def disturb(lora):
    with torch.no_grad():
        for up in lora.up:
            up.normal_(std=0.1)
    lora.write()


def test_nothing_changes_before_the_first_step():
    model, image = tiny(), torch.rand(1, 3, 64, 64)
    before = model.motion(image)
    lora = opened(model)
    lora.write()
    for a, b in zip(before, model.motion(image), strict=True):
        assert torch.equal(a, b)


def test_merged_weights_and_gradients_equal_those_of_a_parametrized_twin():
    model, twin, image = tiny(), tiny(), torch.rand(2, 3, 64, 64)
    lora = opened(model)
    disturb(lora)
    twin.motion.requires_grad_(False)
    sums = []
    for name, down, up in zip(lora.names, lora.down, lora.up, strict=True):
        layer = twin.get_submodule(name.removesuffix(".weight"))
        sums.append(Sum(down.detach().clone(), up.detach().clone(), lora.scale))
        parametrize.register_parametrization(layer, "weight", sums[-1])
    ours, theirs = model.motion(image), twin.motion(image)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)
    for motion in (ours, theirs):
        torch.stack([value.square().sum() for value in motion]).sum().backward()
    lora.collect()
    for down, up, reference in zip(lora.down, lora.up, sums, strict=True):
        torch.testing.assert_close(down.grad, reference.down.grad, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(up.grad, reference.up.grad, rtol=1e-3, atol=1e-4)
    assert all(p.grad is None for p in model.motion.parameters())


def test_the_update_has_the_rank():
    model = tiny()
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    lora = opened(model, rank=2)
    disturb(lora)
    for name in lora.names:
        change = (model.state_dict()[name] - fresh[name]).flatten(1)
        assert torch.linalg.matrix_rank(change, rtol=1e-4) <= 2


def test_exported_weights_have_official_names_and_the_merged_numbers(tmp_path):
    model, image = tiny(), torch.rand(1, 3, 64, 64)
    names = set(model.state_dict())
    disturb(opened(model))
    assert set(model.state_dict()) == names
    loaded = load_pretrained(save_pretrained(model, tmp_path))
    model.eval()
    for a, b in zip(model.motion(image), loaded.motion(image), strict=True):
        torch.testing.assert_close(a, b)


def test_only_the_low_rank_factors_learn_and_they_lie_in_the_checkpoint():
    trained = module({"delta": 1.0, "reconstruction": 1.0}, lora=Lora(modules=["motion"], rank=2))
    optimiser = trained.configure_optimizers()[0]
    group = next(group for group in optimiser.param_groups if group["part"] == "motion")
    assert {id(p) for p in group["params"]} == {id(p) for p in trained.lora.parameters()}
    fresh = {name: value.clone() for name, value in trained.model.state_dict().items()}
    trained.manual_backward = lambda loss: loss.backward()
    trained.open(trained.stage())
    for _ in range(2):
        trained.accumulated(batch([HUMAN, CAT]), False)
        trained.lora.collect()
        for group in optimiser.param_groups:
            group["lr"] = 1e-2
        optimiser.step()
        trained.lora.write()
        optimiser.zero_grad()
    changed = {n for n, v in trained.model.state_dict().items() if n.startswith("motion") and not v.equal(fresh[n])}
    assert changed
    assert changed <= set(trained.lora.names)
    assert set(trained.helpers()["lora"].state_dict()) >= {"down.0", "up.0", "start_0"}
    assert "lora" not in gradient_norms(trained)


def test_impossible_options_are_named():
    assert Lora().build(tiny()) is None
    with pytest.raises(ValueError, match="rank"):
        Lora(modules=["motion"], rank=0)
    with pytest.raises(ValueError, match="stitching"):
        Lora(modules=["stitching"])
