"""Checkpoints of lp-finetune as weights: the moving average, strictly, without running anything that is in the file."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from finetune.checkpoints import Checkpoints
from finetune.optimiser import MovingAverage, Optimiser
from finetune.recipe import Recipe
from lp_models import LivePortrait, LivePortraitConfig, WeightsError, load_pretrained, resolve_weights
from lp_models.checkpoint import read_checkpoint

KEY = "motion.detector.norm.weight"


class Still(Recipe):
    """A recipe without optimisers: what it saves is what every recipe saves."""

    kind = "still"

    def all_optimisers(self) -> list:
        return []


def saved(folder: Path, ema_decay: float) -> tuple[Path, Recipe]:
    """A checkpoint written by the classes that lp-finetune writes it with; the average lags behind the weights."""
    torch.manual_seed(5)
    recipe = Still(LivePortrait(LivePortraitConfig.named("tiny")), Optimiser(ema_decay=ema_decay), "fp32", 0)
    with torch.no_grad():
        for parameter in recipe.model.parameters():
            parameter.add_(1)
    if recipe.ema is not None:
        recipe.ema.update(recipe.model, 3)
    recipe.step = 7
    return Checkpoints(folder=folder).save(recipe.step, recipe.training_state()), recipe


def test_the_moving_average_is_loaded(tmp_path: Path) -> None:
    path, recipe = saved(tmp_path, 0.999)
    assert isinstance(recipe.ema, MovingAverage)
    loaded = load_pretrained(path)
    assert loaded.config == recipe.model.config
    assert not loaded.training
    assert not torch.equal(loaded.state_dict()[KEY], recipe.model.state_dict()[KEY])
    for key, value in recipe.ema.values.items():
        assert torch.equal(loaded.state_dict()[key], value), key
    assert resolve_weights(path) == path
    assert resolve_weights(str(path)) == path


def test_without_an_average_the_last_step_is_loaded(tmp_path: Path) -> None:
    path, recipe = saved(tmp_path, 0.0)
    loaded = load_pretrained(path)
    for key, value in recipe.model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
    assert read_checkpoint(path).provenance() == {
        "checkpoint": "step-0000007.ckpt",
        "recipe": "still",
        "steps": 7,
        "weights": "last step",
    }


def test_the_model_outlives_its_file(tmp_path: Path) -> None:
    path, recipe = saved(tmp_path, 0.0)
    loaded = load_pretrained(path)
    path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(loaded.state_dict()[KEY], recipe.model.state_dict()[KEY])


class Evil:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, ...]]:
        return eval, ("print('run')",)


def changed(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def rewrite(path: Path) -> None:
        content = torch.load(path, weights_only=True)
        change(content)
        torch.save(content, path)

    return rewrite


def replaced(content: object) -> Callable[[Path], None]:
    return lambda path: torch.save(content, path)


LIGHTNING = {"pytorch-lightning_version": "2.6.0", "state_dict": {"net.weight": torch.zeros(2)}, "epoch": 1}
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "malicious": (changed(lambda c: c.update(rng=Evil())), "was refused.*could run code"),
    "malicious plain pickle": (lambda path: path.write_bytes(pickle.dumps({"model": Evil()})), "was refused"),
    "of another Lightning program": (replaced(LIGHTNING), "a Lightning checkpoint of another program.*lp-finetune"),
    "of another program": (replaced({"weights": torch.zeros(1)}), "no checkpoint of lp-finetune"),
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:5000]), "damaged or cut off"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "web page": (lambda path: path.write_text("<html>Sign in</html>"), "is a web page"),
    "git-lfs pointer": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "newer": (changed(lambda c: c.update(format=9)), "has format 9.*update pawtrait"),
    "wrong size": (changed(lambda c: c["config"].update(spade_hidden=8)), r"mlp_shared.*wants \[8"),
    "unknown number": (changed(lambda c: c["config"].update(more=1)), "does not describe a model.*no field more"),
    "missing key": (changed(lambda c: c["ema"].pop(KEY)), "lacks detector.norm.weight"),
    "unknown network": (changed(lambda c: c["ema"].update({"face.weight": torch.zeros(1)})), "unknown face.weight"),
    "not finite": (changed(lambda c: c["ema"][KEY].fill_(torch.inf)), "not finite.*earlier checkpoint"),
    "no tensors": (changed(lambda c: c.update(ema={"motion.x": 1})), "holds no named tensors"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_sentence(fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = saved(tmp_path, 0.999)
    damage, message = FAULTS[fault]
    damage(path)
    with pytest.raises(WeightsError, match=message) as caught:
        load_pretrained(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "run\n" not in capsys.readouterr().out
