"""The sizes cost what they promise."""

import pytest
import torch

from lp_models import LivePortrait, LivePortraitConfig
from lp_models.cost import DRIVING_PATH, costs, milliseconds


@pytest.mark.slow  # the counter imports torch's compiler
def test_the_starter_fits_two_cores() -> None:
    model = LivePortrait(LivePortraitConfig.named("starter")).eval()
    table = costs(model)
    assert sum(table[name].gmac for name in DRIVING_PATH) <= 5.0
    assert table["appearance"].gmac <= 1.5
    assert sum(p.numel() for p in model.parameters()) <= 12e6


def test_tiny_is_tiny() -> None:
    model = LivePortrait(LivePortraitConfig.named("tiny"))
    image = torch.rand(2, 3, 64, 64)
    _, cpu_ms = milliseconds(lambda: model(image, image).mean().backward(), repeats=3)
    assert cpu_ms < 300
