"""The official size against the reference implementation: names, weights of the golden recipe, outputs, intermediates.

Tolerances are those measured for the reference itself between thread counts, oneDNN settings and float64
(tests/lp_models/golden, docs/models.md). The warping network and the generator take about 10 s each: `slow`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lp_models import LivePortrait, LivePortraitConfig
from lp_models.appearance import AppearanceExtractor
from lp_models.dense_motion import deformed_volumes, heatmaps, sparse_motions
from lp_models.generator import SpadeGenerator
from lp_models.geometry import angle_from_bins, identity_grid
from lp_models.layers import SpectralConv2d
from lp_models.motion import MotionExtractor
from lp_models.stitching import StitchingRetargeting
from lp_models.warping import WarpingNetwork

OFFICIAL = LivePortraitConfig.named("official")
CHILDREN = {
    "appearance_feature_extractor": "appearance",
    "motion_extractor": "motion",
    "warping_module": "warping",
    "spade_generator": "generator",
    "stitching_retargeting_module.stitching": "stitching.stitching",
    "stitching_retargeting_module.lip": "stitching.lip",
    "stitching_retargeting_module.eye": "stitching.eye",
}


def filled(module: nn.Module, state: dict[str, np.ndarray]) -> Any:
    """The module (built on the meta device) with these values, strictly, in eval mode."""
    tensors = {key: torch.from_numpy(value) for key, value in state.items()}
    module.load_state_dict(tensors, strict=True, assign=True)
    return module.eval()


@contextmanager
def recorded(module: nn.Module, names: list[str]) -> Iterator[dict[str, np.ndarray]]:
    """Outputs of the named sub-modules while the context is open."""
    outputs: dict[str, np.ndarray] = {}

    def keep(name: str) -> Any:
        return lambda _module, _inputs, output: outputs.__setitem__(name, output.numpy().copy())

    handles = [module.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    yield outputs
    for handle in handles:
        handle.remove()


def assert_intermediates_agree(golden: Any, letter: str, outputs: dict[str, np.ndarray]) -> None:
    off = {}
    for name, value in outputs.items():
        key = f"{letter}.{name}"
        largest = golden.outputs[f"{key}.stats"][2]
        if (difference := golden.difference(key, value)) > 3e-5 * max(largest, 1.0):
            off[name] = difference
        moments = (value.mean(dtype=np.float64), value.std(dtype=np.float64), np.abs(value).max())
        if not np.allclose(moments, golden.outputs[f"{key}.stats"][:3], atol=3e-5 * max(largest, 1.0)):
            off[f"{name} moments"] = moments
    assert off == {}


@pytest.mark.parametrize("module", CHILDREN)
def test_names_shapes_types_and_order_are_the_official_ones(module: str, golden: Any) -> None:
    with torch.device("meta"):
        child = LivePortrait(OFFICIAL).get_submodule(CHILDREN[module])
    parameters = dict(child.named_parameters())
    ours = {
        key: (
            list(value.shape),
            str(value.dtype).removeprefix("torch."),
            "parameter" if key in parameters else "buffer",
        )
        for key, value in child.state_dict().items()
    }
    official = {key: (meta["shape"], meta["dtype"], meta["kind"]) for key, meta in golden.manifest[module].items()}
    assert ours == official
    assert list(ours) == list(official)


@pytest.mark.parametrize("module", [name for name in CHILDREN if name not in ("warping_module", "spade_generator")])
def test_the_recipe_makes_the_recorded_weights(module: str, golden: Any) -> None:
    assert golden.changed_entries(module) == []


@pytest.mark.slow
@pytest.mark.parametrize("module", ["warping_module", "spade_generator"])
def test_the_recipe_makes_the_recorded_weights_of_the_big_networks(module: str, golden: Any) -> None:
    assert golden.changed_entries(module) == []


def test_appearance_agrees(golden: Any) -> None:
    with torch.device("meta"):
        module = AppearanceExtractor(OFFICIAL)
    module = filled(module, golden.weights("appearance_feature_extractor"))
    with torch.no_grad(), recorded(module, golden.intermediates("F")) as outputs:
        volume = module(torch.from_numpy(golden.image("src")))
    assert_intermediates_agree(golden, "F", outputs)
    assert golden.difference("F.out", volume) < 2e-5


def test_motion_agrees(golden: Any) -> None:
    with torch.device("meta"):
        module = MotionExtractor(OFFICIAL)
    module = filled(module, golden.weights("motion_extractor"))
    images = torch.from_numpy(np.concatenate((golden.image("src"), golden.image("drv"))))
    with torch.no_grad(), recorded(module, golden.intermediates("M")) as outputs:
        heads = module.detector(images)
    assert_intermediates_agree(golden, "M", outputs)
    for name in ("pitch", "yaw", "roll"):
        logits = getattr(heads, name)
        assert golden.difference(f"M.{name}", logits) < 2e-5
        assert golden.difference(f"M.{name}.degree", angle_from_bins(logits)) < 1e-4
    for name in ("t", "exp", "scale", "kp"):
        assert golden.difference(f"M.{name}", getattr(heads, name)) < 2e-6


def test_the_pieces_of_dense_motion_agree(golden: Any) -> None:
    volume, kp_source, kp_driving = (
        torch.from_numpy(golden.outputs[f"dm.in.{name}"]) for name in ("feature", "kp_source", "kp_driving")
    )
    points = kp_source, kp_driving
    grid = identity_grid(4, 6, 8, like=points[0])
    motions = sparse_motions(grid, *points)
    deformed = deformed_volumes(volume, motions)
    change = heatmaps(grid, *points)
    assert golden.difference("dm.grid_4x6x8", grid) < 1e-6
    assert golden.difference("dm.sparse_motions", motions) < 1e-6
    assert golden.difference("dm.deformed", deformed) < 5e-6
    assert golden.difference("dm.heatmap", change) < 2e-6
    assert golden.difference("dm.hourglass_input", torch.cat((change, deformed), dim=2).flatten(1, 2)) < 5e-6


def test_corrections_agree(golden: Any) -> None:
    with torch.device("meta"):
        module = StitchingRetargeting(OFFICIAL)
    state = {
        f"{part}.{key}": value
        for part in ("stitching", "lip", "eye")
        for key, value in golden.weights(f"stitching_retargeting_module.{part}").items()
    }
    module = filled(module, state)
    for name, part in {"S": module.stitching, "R_lip": module.lip, "R_eyes": module.eye}.items():
        with torch.no_grad():
            assert golden.difference(f"{name}.out", part(torch.from_numpy(golden.outputs[f"in.{name}.in"]))) < 2e-6
    inputs = {
        name: torch.from_numpy(golden.outputs[f"st.{name}"])
        for name in ("kp_source", "kp_driving", "eye_ratio", "lip_ratio")
    }
    x_s = inputs["kp_source"]
    with torch.no_grad():
        assert golden.difference("st.stitched", module.stitch(x_s, inputs["kp_driving"])) < 2e-6
        assert golden.difference("st.eye_delta", module.retarget_eyes(x_s, inputs["eye_ratio"])) < 2e-6
        assert golden.difference("st.lip_delta", module.retarget_lips(x_s, inputs["lip_ratio"])) < 2e-6


@pytest.mark.parametrize(
    ("layer", "sizes"),
    [("up_0.conv_s", (512, 256, 1)), ("up_1.conv_1", (64, 64, 3)), ("G_middle_0.conv_0", (512, 512, 3))],
)
def test_stored_spectral_vectors_are_used_as_they_are(layer: str, sizes: tuple[int, int, int], golden: Any) -> None:
    state = {key.removeprefix(f"{layer}."): v for key, v in golden.weights("spade_generator", f"{layer}.").items()}
    with torch.device("meta"):
        module = SpectralConv2d(*sizes, bias=not layer.endswith("conv_s"))
    module = filled(module, state)
    before = module.weight_u.clone()
    with torch.no_grad():
        weight = module.weight()
    assert torch.equal(module.weight_u, before)
    assert golden.difference(f"G.effective_weight.{layer}", weight) < 1e-6
    index = list(golden.outputs["G.spectral.names"]).index(layer)
    sigma = (module.weight_orig / weight).median().item()
    assert sigma == pytest.approx(golden.outputs["G.spectral.sigma"][index], rel=1e-5)


@pytest.mark.slow
def test_warping_agrees(golden: Any) -> None:
    with torch.device("meta"):
        module = WarpingNetwork(OFFICIAL)
    module = filled(module, golden.weights("warping_module"))
    volume = torch.from_numpy(golden.tensor("W.feature_3d", (2, 32, 16, 64, 64), 1.7))
    kp_source = torch.from_numpy(golden.outputs["in.W.kp_source"])
    kp_driving = torch.from_numpy(golden.outputs["in.W.kp_driving"])
    assert golden.difference("in.W.feature_3d", volume) == 0
    assert golden.difference("in.W.kp_source", golden.tensor("W.kp_source", (2, 21, 3), 0.8)) == 0
    with torch.no_grad(), recorded(module, golden.intermediates("W")) as outputs:
        warp = module(volume, kp_source=kp_source, kp_driving=kp_driving)
    assert_intermediates_agree(golden, "W", outputs)
    mask = torch.from_numpy(outputs["dense_motion_network.mask"]).softmax(dim=1)
    assert golden.difference("W.mask", mask) < 3e-5
    assert golden.difference("W.deformation", warp.flow) < 3e-5
    assert golden.difference("W.occlusion_map", warp.occlusion) < 3e-5
    assert golden.difference("W.out", warp.features) < 2e-4


@pytest.mark.slow
def test_generator_agrees(golden: Any) -> None:
    with torch.device("meta"):
        module = SpadeGenerator(OFFICIAL)
    module = filled(module, golden.weights("spade_generator"))
    features = torch.from_numpy(golden.tensor("G.feature", (1, 256, 64, 64), 1.2))
    with torch.no_grad(), recorded(module, golden.intermediates("G")) as outputs:
        picture = module(features)
    assert_intermediates_agree(golden, "G", outputs)
    assert golden.difference("G.out", picture) < 1e-5
