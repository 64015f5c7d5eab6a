"""From a photo and driving frames to final pixels at the official size, against the reference's own run.

Weights and inputs are the golden recipe's. The recorded pixels were made with OpenCV 5, whose affine warp differs from
OpenCV 4's by grey levels. Crop and paste-back therefore run twice: with `opencv5_warp` in OpenCV's place, to the
tolerance of the golden files (this crop is what the networks get), and as they are.
"""

from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch

from data_pipeline.landmark_crop import cut_square, landmark_crop
from evaluation.driving import DrivingOptions, drive_image, neutral_expression, posed, posed_motion
from evaluation.pasteback import paste
from evaluation.retarget import finished
from lp_models.appearance import AppearanceExtractor
from lp_models.config import LivePortraitConfig
from lp_models.generator import SpadeGenerator
from lp_models.motion import MotionExtractor
from lp_models.warping import WarpingNetwork
from tests.golden_recipe import Golden, lattice_picture, network_input, opencv5_warp

FOLDER = Path(__file__).parent / "golden"
OFFICIAL = LivePortraitConfig.named("official")
KINDS = ("human", "animal")
SIDE = 512


class Run(NamedTuple):
    """One of the two recorded runs up to the keypoints."""

    photo: np.ndarray
    source_from_crop: np.ndarray
    crop: np.ndarray
    volume: torch.Tensor
    x_s: torch.Tensor
    x_d: torch.Tensor


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden(FOLDER / "chain.npz")


def network(golden: Golden, kind: Any, name: str) -> Any:
    """A network of official size with the golden weights."""
    with torch.device("meta"):
        module = kind(OFFICIAL)
    state = {key: torch.from_numpy(value) for key, value in golden.weights(name).items()}
    module.load_state_dict(state, strict=True, assign=True)
    return module.eval()


@pytest.fixture(scope="module")
def runs(golden: Golden, corrections) -> dict[str, Run]:
    appearance = network(golden, AppearanceExtractor, "appearance_feature_extractor")
    motion = network(golden, MotionExtractor, "motion_extractor")
    photo = lattice_picture("chain_src", 480, 640, 4)
    frames = np.concatenate([golden.image("chain_drv0"), golden.image("chain_drv1")])
    result = {}
    with torch.inference_mode():
        driving = posed_motion(motion(torch.from_numpy(frames)))
        for kind in KINDS:
            source_from_crop = landmark_crop(golden.outputs[f"{kind}.lmk"], SIDE)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(cv2, "warpAffine", opencv5_warp)
                crop = cut_square(photo, source_from_crop, SIDE)
            picture = torch.from_numpy(network_input(cv2.resize(crop, (256, 256), interpolation=cv2.INTER_AREA)))
            read = motion(picture)
            source = posed_motion(read)
            is_human = kind == "human"
            options = DrivingOptions(rules=kind, multiplier=1.0 if is_human else 1.75)
            x_s = posed(read.canonical, source)
            x_d = drive_image(read.canonical, source, driving, driving.frames(0, 1), options)
            stitch = corrections.stitch if is_human else None
            x_d = finished(x_s.expand_as(x_d), x_d, stitch, options.multiplier)
            result[kind] = Run(photo, source_from_crop, crop, appearance(picture), x_s, x_d)
        for kind in KINDS:
            for i in range(2):
                for ours, theirs in (("rotation", "R"), ("delta", "exp"), ("scale", "scale"), ("shift", "t")):
                    value = getattr(driving, ours)[i : i + 1]
                    assert golden.difference(f"{kind}.template.{i}.{theirs}", value) < 3e-6
    return result


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_photo_and_driver_give_the_recorded_keypoints(kind: str, golden: Golden, runs: dict[str, Run]) -> None:
    run = runs[kind]
    matrix = np.concatenate((run.source_from_crop, [[0, 0, 1]]))
    assert golden.difference(f"{kind}.M_c2o", matrix) < 2e-3
    small = cv2.resize(run.crop, (256, 256), interpolation=cv2.INTER_AREA)
    assert golden.difference(f"{kind}.img_crop_256x256", small) == 0
    production = cut_square(run.photo, run.source_from_crop, SIDE)
    off = np.abs(production.astype(int) - run.crop)
    assert off.max() <= 4
    assert (off > 0).mean() < 0.05
    # One crop pixel that falls a grey level to the other side, for a matrix off by 1e-5, moves the volume by 3e-4.
    assert golden.difference(f"{kind}.f_s", run.volume) < 1e-3
    assert golden.difference(f"{kind}.x_s", run.x_s) < 3e-5
    assert golden.difference(f"{kind}.x_d", run.x_d) < 3e-5


@pytest.fixture(scope="module")
def warping(golden: Golden) -> Any:
    return network(golden, WarpingNetwork, "warping_module")


@pytest.fixture(scope="module")
def generator(golden: Golden) -> Any:
    return network(golden, SpadeGenerator, "spade_generator")


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "i"), [("human", 0), ("human", 1), ("animal", 0), ("animal", 1)])
def test_keypoints_give_the_recorded_pixels(kind: str, i: int, golden, runs, warping, generator, monkeypatch) -> None:
    run, name = runs[kind], f"{kind}.frame{i}"
    with torch.inference_mode():
        warp = warping(run.volume, kp_source=run.x_s, kp_driving=run.x_d[i : i + 1])
        picture = generator(warp.features)
    assert golden.difference(f"{name}.deformation", warp.flow) < 5e-5
    assert golden.difference(f"{name}.occlusion_map", warp.occlusion) < 2e-4
    assert golden.difference(f"{name}.out", picture) < 3e-3

    frame = (picture[0].clamp(0, 1) * 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()  # truncated
    beside = cv2.resize(cv2.resize(run.crop, (256, 256), interpolation=cv2.INTER_AREA), (SIDE, SIDE))
    assert_pixels_agree(golden, f"{name}.concat_uint8", np.concatenate((beside, frame), axis=1))
    if kind == "animal":
        assert_pixels_agree(golden, f"{name}.final_uint8", frame)
        return
    # The synthetic networks draw noise, where a 1/32 pixel shows: a fifth of these pixels differ with OpenCV 4.
    assert golden.difference(f"{name}.final_uint8", paste(frame, run.photo, run.source_from_crop)) <= 4
    monkeypatch.setattr(cv2, "warpAffine", opencv5_warp)
    assert_pixels_agree(golden, f"{name}.final_uint8", paste(frame, run.photo, run.source_from_crop))


def assert_pixels_agree(golden: Golden, name: str, pixels: np.ndarray) -> None:
    assert golden.difference(name, pixels) <= 1
    expected, stride = golden.outputs[f"{name}.sub"], int(golden.outputs[f"{name}.stride"])
    assert (pixels.reshape(-1)[::stride] != expected).mean() < 0.02


def test_the_neutral_expression_is_the_recorded_resource() -> None:
    mathematics = Golden(FOLDER.parents[1] / "lp_models" / "golden" / "math.npz")
    assert mathematics.difference("lip_array", neutral_expression()) < 1e-8
