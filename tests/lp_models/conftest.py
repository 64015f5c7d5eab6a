"""Fixtures: the golden recipe with what was recorded, and a tiny model with its weights directory."""

import shutil
from pathlib import Path

import pytest
import torch

from lp_models import LivePortrait, LivePortraitConfig, save_pretrained
from tests.golden_recipe import Golden

FOLDER = Path(__file__).resolve().parent / "golden"


@pytest.fixture(scope="session")
def golden() -> Golden:
    """Recipe and reference outputs."""
    return Golden(*(FOLDER / f"{name}.npz" for name in ("nets", "nets_intermediate", "math")))


@pytest.fixture(scope="module")
def model() -> LivePortrait:
    """A tiny model with random weights."""
    torch.manual_seed(3)
    return LivePortrait(LivePortraitConfig.named("tiny"))


@pytest.fixture(scope="module")
def pristine(model: LivePortrait, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its weights directory, not to be changed."""
    extra = {"species": ["cat", "dog"], "made_by": "a test", "steps": 3}
    return save_pretrained(model, tmp_path_factory.mktemp("weights"), extra)


@pytest.fixture
def directory(pristine: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(pristine, tmp_path / "weights"))
