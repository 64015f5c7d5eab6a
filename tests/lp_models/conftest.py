"""Fixture: the golden recipe with what was recorded of the networks and the keypoint mathematics."""

from pathlib import Path

import pytest

from tests.golden_recipe import Golden

FOLDER = Path(__file__).resolve().parent / "golden"


@pytest.fixture(scope="session")
def golden() -> Golden:
    """Recipe and reference outputs."""
    return Golden(*(FOLDER / f"{name}.npz" for name in ("nets", "nets_intermediate", "math")))
