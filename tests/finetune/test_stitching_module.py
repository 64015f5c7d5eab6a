import pytest
import torch

from finetune.augment import Augment
from finetune.datamodule import PairData
from finetune.landmarks import OpeningRuler, opening_loss, patches
from finetune.optimiser import Optimiser
from finetune.pairs import Mixture
from finetune.run import Schedule, run
from finetune.stitching_module import StitchingModule, StitchingObjective, shoulder_mask
from lp_models import LivePortrait, LivePortraitConfig, load_pretrained

CPU = {"accelerator": "cpu", "devices": 1}


def data(shards):
    return PairData(
        shards=shards, batch_size=2, side_px=64, target_scale=2, mixture=Mixture(), augment=Augment(colour=0.0),
        with_labels=True,
    )  # fmt: skip


def module(**options):
    torch.manual_seed(0)
    model = LivePortrait(LivePortraitConfig.named("tiny"))
    return StitchingModule(
        model, StitchingObjective(), Optimiser(lr=1e-2, warmup_steps=1, ema_decay=0.0), ruler_steps=2,
        precision="fp32", **options,
    )  # fmt: skip


def test_only_the_correction_networks_change(shards, tmp_path):
    fresh, trained = module(), module()
    steps = Schedule(max_steps=5, log_every=1, grid_every=0, checkpoint_every=5)
    outcome = run(trained, data(shards), steps, tmp_path, CPU)
    for part in ("appearance", "motion", "warping", "generator"):
        before, after = (getattr(m.model, part).state_dict() for m in (fresh, trained))
        assert all(torch.equal(before[name], after[name]) for name in before), part
    for part in ("stitching", "lip", "eye"):
        before, after = (getattr(m.model.stitching, part).state_dict() for m in (fresh, trained))
        assert all(not torch.equal(before[name], after[name]) for name in before), part
    assert (outcome.weights / "opening_ruler.safetensors").is_file()
    loaded = load_pretrained(outcome.weights)
    torch.testing.assert_close(loaded.stitching.state_dict(), trained.model.stitching.state_dict())


def test_the_ruler_learns_first_and_is_then_frozen(shards, tmp_path):
    trained = module()
    steps = Schedule(max_steps=2, log_every=1, grid_every=0, checkpoint_every=5)
    run(trained, data(shards), steps, tmp_path, CPU)
    assert set(trained.last_terms) == {"ruler"}
    ruler = {name: value.clone() for name, value in trained.ruler.state_dict().items()}
    again = module()
    run(again, data(shards), Schedule(max_steps=4, log_every=1, grid_every=0, checkpoint_every=5), tmp_path, CPU)
    assert all(torch.equal(ruler[name], value) for name, value in again.ruler.state_dict().items())
    assert "stitch" in again.last_terms


def test_untrained_corrections_are_zero_and_only_the_last_layer_is():
    stitching = module().model.stitching
    points = torch.randn(2, 21, 3)
    assert torch.equal(stitching.stitch(points, points + 1), points + 1)
    for net in (stitching.stitching, stitching.eye, stitching.lip):
        linear = [m for m in net.mlp if isinstance(m, torch.nn.Linear)]
        assert not linear[-1].weight.any()
        assert all(layer.weight.any() for layer in linear[:-1])


def test_shoulders_come_from_labels_or_lie_below_and_around_the_face(shards):
    source = data(shards)
    source.mixture = Mixture(real_frac=0.5, still_frac=0.0)
    source.read()
    batch = source.train.batch(0, 16, 64, 128)
    mask = shoulder_mask(batch, 64, 0.06)
    known = batch.has_labels
    assert known.any()
    assert (~known).any()
    assert torch.equal(mask[known, 0], (batch.source_labels[known] == 1).float())
    guess = mask[~known, 0]
    face = batch.source_truth.points[~known].mean(dim=1)
    for row, (x, y) in zip(guess, face, strict=True):
        assert row[int(y * 64), int(x * 64)] == 0
        assert row[-1].all()
        assert row[0].sum() == 0


def test_the_ruler_reads_what_is_drawn_and_passes_gradients_to_pixels():
    torch.manual_seed(0)
    points = torch.tensor([[[0.3, 0.4], [0.7, 0.4], [0.5, 0.55], [0.4, 0.7], [0.6, 0.7]]]).repeat(16, 1, 1)
    opening = torch.rand(16, 3) * 0.8
    image = torch.full((16, 3, 64, 64), 0.8)
    at = (torch.arange(64) + 0.5) / 64
    for column, (x, y) in enumerate(((0.3, 0.4), (0.7, 0.4), (0.5, 0.7))):
        wide = 0.08
        high = opening[:, column, None, None] * wide
        inside = ((at[None, None] - x) / wide) ** 2 + ((at[None, :, None] - y) / high.clamp(min=1e-3)) ** 2 < 1
        image = torch.where(inside[:, None], torch.tensor(0.1), image)
    ruler = OpeningRuler(width=8)
    optimiser = torch.optim.Adam(ruler.parameters(), lr=5e-3)
    for _ in range(70):
        loss = opening_loss(ruler(image, points), opening[:, :2], opening[:, 2:], torch.ones(16))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.08
    image.requires_grad_()
    ruler(image, points).lips.sum().backward()
    assert image.grad[..., 40:50, 25:40].abs().sum() > 0
    assert image.grad[..., :10, :10].abs().sum() == 0


def test_patches_turn_with_the_line_of_the_eyes():
    image = torch.rand(1, 3, 64, 64)
    points = torch.tensor([[[0.35, 0.5], [0.65, 0.5], [0.5, 0.6], [0.45, 0.7], [0.55, 0.7]]])
    turned = torch.rot90(image, -1, (2, 3))  # clockwise
    x, y = points[..., 0], points[..., 1]
    moved = torch.stack((1 - y, x), dim=-1)
    for before, after in zip(patches(image, points), patches(turned, moved), strict=True):
        torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-4)


def test_unknown_terms_are_refused():
    with pytest.raises(ValueError, match="stich"):
        StitchingObjective(weights={"stich": 1.0})
