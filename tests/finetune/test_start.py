import torch

from finetune.start import prepare_scratch
from lp_models import LivePortrait, LivePortraitConfig


def test_most_stem_filters_ignore_brightness():
    torch.manual_seed(0)
    model = prepare_scratch(LivePortrait(LivePortraitConfig.named("tiny")))
    stem = model.motion.detector.get_submodule("downsample_layers.0.0")
    dark, bright = (stem(torch.full((1, 3, 8, 8), level)) for level in (0.2, 0.8))
    same = (dark - bright).abs().amax(dim=(0, 2, 3)) < 1e-5
    assert same.sum().item() == 6
    assert same.numel() == 8
