"""Where weights are looked for: names, folders of every layout, and what is never mixed."""

import shutil
from pathlib import Path

import pytest
import torch

from lp_models import (
    LivePortrait,
    LivePortraitConfig,
    WeightsError,
    layout,
    load_pretrained,
    resolve_weights,
    save_official,
)
from tests.lp_models.same_state import assert_same_state

NORM, STITCH = "detector.norm.weight", "stitching.mlp.0.weight"


def test_animal_folders_take_their_newest_base_and_the_human_stitching(
    model: LivePortrait, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_official(model, tmp_path / "liveportrait")
    animals = tmp_path / "liveportrait_animals"
    animals.mkdir()
    shutil.move(tmp_path / "liveportrait" / "base_models", animals / "base_models_v1.1")
    older = LivePortrait(model.config)
    save_official(older, tmp_path / "older")
    shutil.move(tmp_path / "older" / "base_models", animals / "base_models")
    (tmp_path / "liveportrait" / "model.json").unlink()
    monkeypatch.setattr(LivePortraitConfig, "named", lambda name: model.config)
    assert_same_state(model, load_pretrained(animals))
    assert_same_state(model, load_pretrained(animals / "base_models_v1.1"))

    v1 = load_pretrained(animals / "base_models")
    assert torch.equal(v1.motion.state_dict()[NORM], older.motion.state_dict()[NORM])
    assert torch.equal(v1.stitching.state_dict()[STITCH], model.stitching.state_dict()[STITCH])

    own = Path(shutil.move(tmp_path / "older" / "retargeting_models", animals))  # is taken before the sibling's
    v1 = load_pretrained(animals / "base_models")
    assert torch.equal(v1.stitching.state_dict()[STITCH], older.stitching.state_dict()[STITCH])

    shutil.rmtree(own)
    (animals / "base_models_v1.1" / "warping_module.pth").unlink()
    with pytest.raises(WeightsError, match=r"has no warping_module.*base_models_v1\.1"):  # never filled up from v1
        load_pretrained(animals)
    shutil.rmtree(tmp_path / "liveportrait")
    with pytest.raises(WeightsError, match=r"has no stitching_retargeting_module.*\.\./liveportrait"):
        load_pretrained(animals / "base_models")


def test_names_and_paths_resolve(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_weights(directory) == directory
    assert resolve_weights("starter") == layout.STARTER
    monkeypatch.setattr(layout, "STARTER", tmp_path / "none")
    with pytest.raises(WeightsError, match="no starter weights"):
        resolve_weights("starter")
    with pytest.raises(WeightsError, match="not a directory"):
        resolve_weights(tmp_path / "nowhere")
    with pytest.raises(WeightsError, match="not a directory"):
        load_pretrained(tmp_path / "nowhere")
    with pytest.raises(WeightsError, match="is one file; give the directory"):
        load_pretrained(directory / "motion_extractor.safetensors")
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match="empty holds no weights"):
        load_pretrained(tmp_path / "empty")


def test_the_folder_of_a_training_stands_for_its_weights(model: LivePortrait, directory: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    shutil.move(directory, run / "weights")
    assert resolve_weights(run) == run / "weights"
    assert_same_state(model, load_pretrained(run))


def test_downloaded_weights_have_names(model: LivePortrait, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "download"
    monkeypatch.setenv("PAWTRAIT_WEIGHTS", str(root))
    for name, variant in (
        ("official", "human"),
        ("official_animals", "animals"),
        ("official_animals_v1", "animals_v1"),
    ):
        with pytest.raises(WeightsError, match=rf"{name} weights are not in {root}.*lp-weights download.*={variant}`"):
            resolve_weights(name)
    save_official(model, root / "liveportrait")
    assert resolve_weights("official") == root / "liveportrait"
    assert resolve_weights(root) == root / "liveportrait"
    save_official(model, root / "liveportrait_animals")
    assert resolve_weights("official_animals") == root / "liveportrait_animals"
    assert resolve_weights("official_animals_v1") == root / "liveportrait_animals" / "base_models"
    with pytest.raises(WeightsError, match="holds several models; give one of them"):
        resolve_weights(root)
    monkeypatch.setenv("PAWTRAIT_WEIGHTS", str(root / "liveportrait"))
    assert resolve_weights("official") == root / "liveportrait"
    monkeypatch.delenv("PAWTRAIT_WEIGHTS")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"\.cache/pawtrait/official"):
        resolve_weights("official")
