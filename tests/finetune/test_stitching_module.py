from pathlib import Path

import pytest
import torch

from finetune.augment import Augment
from finetune.datamodule import PairData
from finetune.drivers import Driving
from finetune.landmarks import OpeningRuler, save_ruler
from finetune.mixture import Mixture
from finetune.optimiser import Optimiser
from finetune.run import Schedule, run
from finetune.stitching_module import FROZEN, StitchingModule, sized
from finetune.stitching_objective import StitchingObjective
from lp_models import LivePortrait, LivePortraitConfig, load_pretrained, save_pretrained

CPU = {"accelerator": "cpu", "devices": 1}


def data(shards: Path) -> PairData:
    return PairData(
        shards=shards, batch_size=3, side_px=64, target_scale=2, mixture=Mixture(), augment=Augment(colour=0.0),
        with_labels=True,
    )  # fmt: skip


def module(model: LivePortrait | None = None, **options: object) -> StitchingModule:
    torch.manual_seed(0)
    return StitchingModule(
        model or LivePortrait(LivePortraitConfig.named("tiny")), StitchingObjective(),
        Optimiser(lr=1e-2, warmup_steps=1, ema_decay=0.0), precision="fp32", **{"ruler_steps": 2, **options},
    )  # fmt: skip


@pytest.fixture(scope="module")
def ruler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("ruler") / "ruler.safetensors"
    save_ruler(OpeningRuler(width=8).state_dict(), path)
    return path


def test_only_the_correction_networks_change(shards, tmp_path):
    fresh, trained = module(), module()
    steps = Schedule(max_steps=6, log_every=1, grid_every=0, checkpoint_every=6)
    outcome = run(trained, data(shards), steps, tmp_path, CPU)
    for part in FROZEN:
        before, after = (getattr(m.model, part).state_dict() for m in (fresh, trained))
        assert all(torch.equal(before[name], after[name]) for name in before), part
        assert not any(p.requires_grad or p.grad is not None for p in getattr(trained.model, part).parameters())
    for part in ("stitching", "lip", "eye"):
        before, after = (getattr(m.model.stitching, part).state_dict() for m in (fresh, trained))
        assert all(not torch.equal(before[name], after[name]) for name in before), part
    assert (outcome.weights / "opening_ruler.safetensors").is_file()
    loaded = load_pretrained(outcome.weights)
    torch.testing.assert_close(loaded.stitching.state_dict(), trained.model.stitching.state_dict())


def test_without_a_file_the_ruler_learns_first_and_is_then_frozen(shards, tmp_path):
    trained, fresh = module(), module()
    run(trained, data(shards), Schedule(max_steps=2, log_every=1, grid_every=0), tmp_path, CPU)
    assert set(trained.last_terms) == {"ruler"}
    ruler = {name: value.clone() for name, value in trained.ruler.state_dict().items()}
    assert not torch.equal(ruler["eye.opening.weight"], fresh.ruler.state_dict()["eye.opening.weight"])
    again = module()
    run(again, data(shards), Schedule(max_steps=4, log_every=1, grid_every=0), tmp_path, CPU)
    assert all(torch.equal(ruler[name], value) for name, value in again.ruler.state_dict().items())
    assert "stitch" in again.last_terms


def test_a_ruler_from_a_file_is_used_from_the_first_step_and_stays(shards, tmp_path, ruler):
    trained = module(ruler=str(ruler))
    before = {name: value.clone() for name, value in trained.ruler.state_dict().items()}
    run(trained, data(shards), Schedule(max_steps=1, log_every=1, grid_every=0), tmp_path, CPU)
    assert "stitch" in trained.last_terms
    assert all(torch.equal(before[name], value) for name, value in trained.ruler.state_dict().items())
    assert str(ruler) in " ".join(trained.announce())


def test_openings_are_those_of_the_source_where_known_and_read_elsewhere(shards, ruler):
    source = data(shards)
    source.mixture = Mixture(real_frac=0.5, still_frac=0.0)
    source.read()
    assert source.train is not None
    batch = source.train.batch(0, 12, 64, 128)
    known = batch.has_truth
    assert known.any()
    assert (~known).any()
    own = module(ruler=str(ruler))
    own.objective = StitchingObjective(condition_noise=0.0)
    asked = own._ask(batch, torch.Generator().manual_seed(0))
    torch.testing.assert_close(asked.now_eyes[known], batch.source_truth.eye_open[known])
    read = own.ruler(batch.source, batch.source_truth.points)
    torch.testing.assert_close(asked.now_lips[~known], read.lips[~known])


def test_rows_without_a_driver_ask_stitching_to_leave_them_alone(shards, ruler):
    source = data(shards)
    source.read()
    assert source.train is not None
    batch = source.train.batch(0, 3, 64, 128)
    own = module(ruler=str(ruler), driving=Driving(retarget_frac=1.0))
    own._frozen_statistics()
    terms = own.terms(batch)
    assert terms["stitch"] == terms["stitch_head"] == terms["stitch_size"] == 0  # nothing moves yet
    driven = module(ruler=str(ruler), driving=Driving(retarget_frac=0.0))
    driven._frozen_statistics()
    assert driven.terms(batch)["stitch"] > 0


def test_a_stage_learns_what_it_names_and_paints_no_more_than_that(shards, ruler):
    source = data(shards)
    source.read()
    assert source.train is not None
    batch = source.train.batch(0, 3, 64, 128)
    stages = [
        {"until": 1, "learn": ["openings"], "openings_by": "keypoints", "batch_size": 5},
        {"until": 2, "learn": ["stitching"], "side_px": 32},
        {"until": 3, "learn": ["openings"]},
    ]
    own = module(ruler=str(ruler), stages=stages)
    own._frozen_statistics()
    painted = []
    own.model.generator.register_forward_hook(lambda _, inputs, frames: painted.append((len(frames), frames.shape[-1])))
    openings = {f"{part}{end}" for part in ("eyes", "lips") for end in ("", "_size", "_still")}
    stitching = {"stitch", "stitch_head", "stitch_size"}
    seen = []
    for own.step in range(4):
        terms = own.terms(batch)
        seen.append((set(terms), painted[:]))
        painted.clear()
        own.model.stitching.zero_grad(set_to_none=True)
        own._total(terms).backward()
        learns = {name for name, net in own.model.stitching.named_children() if net.mlp[-1].weight.grad is not None}  # pyright: ignore
        assert ("stitching" in learns) == ("stitch" in terms)
        assert ({"eye", "lip"} <= learns) == ("eyes" in terms)
    full = own.model.config.output_px
    assert seen == [
        (openings - {"eyes_still", "lips_still"}, []),
        (stitching, [(6, full // 2), (3, full // 2)]),
        (openings, [(3, full), (3, full)]),
        (openings | stitching, [(6, full), (6, full)]),
    ]
    assert "openings by keypoints" in " ".join(own.announce())


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ({"learn": ["eyes"]}, "name some of stitching, openings"),
        ({"openings_by": "eye"}, "choose pictures or keypoints"),
        ({"side_px": 32}, "openings are read off full pictures"),
        ({"batch_size": -1}, "batch_size and side_px of 0 or more"),
        ({"learns": ["stitching"]}, "no option 'learns'; there are until, learn"),
    ],
)
def test_odd_stages_are_refused(stage: dict, words: str):
    with pytest.raises(ValueError, match=words):
        module(stages=[{"until": 1, **stage}])


def test_the_recipe_builds_from_its_config():
    from hydra import compose, initialize_config_module
    from hydra.utils import instantiate

    with initialize_config_module("conf", version_base="1.3"):
        config = compose("finetune", ["recipe=stitching", "out=x", "data.shards=x"])
    built = instantiate(config.recipe)(model=LivePortrait(LivePortraitConfig.named("tiny")), features=None, seed=3)
    assert built.driving.multiplier == [0.8, 1.6]
    assert built.objective.weights["stitch_head"] > 0


def test_untrained_corrections_are_zero_and_only_the_last_layer_is():
    stitching = module().model.stitching
    points = torch.randn(2, 21, 3)
    assert torch.equal(stitching.stitch(points, points + 1), points + 1)
    for net in (stitching.stitching, stitching.eye, stitching.lip):
        linear = [m for m in net.mlp if isinstance(m, torch.nn.Linear)]
        assert not linear[-1].weight.any()
        assert all(layer.weight.any() for layer in linear[:-1])
    assert "untrained" in " ".join(module().announce())


def test_trained_corrections_are_the_start_and_others_can_be_named(tmp_path):
    torch.manual_seed(5)
    other = LivePortrait(LivePortraitConfig.named("tiny"))
    last = other.stitching.stitching.mlp[-1]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.normal_(last.weight, std=0.1)
    save_pretrained(other, tmp_path / "other")
    own = module(start_from=str(tmp_path / "other"))
    torch.testing.assert_close(own.model.stitching.state_dict(), other.stitching.state_dict())
    assert "other" in " ".join(own.announce())
    kept = module(model=other)
    assert kept.model.stitching is other.stitching
    assert "the weights' own" in " ".join(kept.announce())


def test_corrections_of_another_size_are_refused(tmp_path):
    import dataclasses

    small = dataclasses.replace(LivePortraitConfig.named("tiny"), name="small", lip_hidden=(8, 8))
    save_pretrained(LivePortrait(small), tmp_path / "small")
    with pytest.raises(ValueError, match="other sizes"):
        module(start_from=str(tmp_path / "small"))
    with pytest.raises(ValueError, match="ruler"):
        module(ruler=str(tmp_path / "none.safetensors"))


def test_pictures_are_shrunk_to_the_side_that_is_read():
    image = torch.rand(1, 3, 8, 8)
    assert sized(image, 8) is image
    torch.testing.assert_close(sized(image, 4)[0, 0, 0, 0], image[0, 0, :2, :2].mean())
