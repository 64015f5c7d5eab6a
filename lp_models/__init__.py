"""The LivePortrait networks, their geometry and their checkpoints: pure torch, importable alone."""

from lp_models.config import LivePortraitConfig
from lp_models.geometry import Motion, posed_keypoints, source_keypoints
from lp_models.portrait import LivePortrait
from lp_models.warping import Warp
from lp_models.weights import WeightsError, load_pretrained, resolve_weights, save_official, save_pretrained

__all__ = [
    "LivePortrait",
    "LivePortraitConfig",
    "Motion",
    "Warp",
    "WeightsError",
    "load_pretrained",
    "posed_keypoints",
    "resolve_weights",
    "save_official",
    "save_pretrained",
    "source_keypoints",
]
