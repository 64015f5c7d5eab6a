import json
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.driving import DrivingOptions, PosedMotion, drive_image, drive_video, neutral_expression, posed
from evaluation.retarget import closed_lips_delta, eyes_delta, finished, lips_delta, open_eyes_delta
from lp_models.geometry import eye_ratios, lip_ratio, rotation_matrix

GOLDEN = Path(__file__).parent / "golden"
CASES = json.loads((GOLDEN / "pipeline_cases.json").read_text())
TOLERANCE = 2e-6


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    with np.load(GOLDEN / "pipeline.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


def source_of(golden: dict, kind: str) -> tuple[torch.Tensor, PosedMotion]:
    part = {key.rsplit(".", 1)[1]: value for key, value in golden.items() if key.startswith(f"in.src_{kind}.")}
    rotation = rotation_matrix(part["pitch"][:, 0], part["yaw"][:, 0], part["roll"][:, 0])
    return part["kp"], PosedMotion(rotation, part["exp"], part["scale"], part["t"])


def driving_of(golden: dict, count: int) -> PosedMotion:
    return PosedMotion(*(golden[f"in.drv.{key}"][:count] for key in ("R", "exp", "scale", "t")))


@pytest.mark.parametrize("name", CASES["cases"])
@torch.inference_mode()
def test_keypoints_equal_upstreams(name: str, golden: dict, corrections) -> None:
    case = CASES["defaults_of_all_cases"] | CASES["cases"][name]
    kind, count = case["source"], case["driving_frames"]
    canonical, source = source_of(golden, kind)
    driving = driving_of(golden, count)
    is_still = count == 1
    neutral = neutral_expression() if is_still else None
    if kind == "video":
        T = 6 if is_still else min(6, count)
        canonical, source = canonical[:T], source.frames(0, T)
    else:
        T = count
    options = DrivingOptions(
        relative=case["flag_relative_motion"],
        region=case["animation_region"],
        balance=case["driving_option"],
        rules=case.get("pipeline", "human"),
        multiplier=case["driving_multiplier"],
        smoothing_variance=case["driving_smooth_observation_variance"],
    )
    if kind == "video":
        x_d = drive_video(canonical, source, driving, options, neutral)
    else:
        x_d = drive_image(canonical, source, driving, driving.frames(0, 1), options, neutral)
    x_s = posed(canonical, source).expand(T, -1, -1)

    landmarks = golden[case["landmarks"]][: len(source.scale)]
    eyes, lips = eye_ratios(landmarks), lip_ratio(landmarks)
    after = None
    if case["flag_eye_retargeting"] or case["flag_lip_retargeting"]:
        x_d = x_s if options.relative else x_d
        frames = min(T, count)
        if case["flag_eye_retargeting"]:
            wanted = golden["in.drv.c_eyes"][:frames, :1].expand(T, 1)
            x_d = x_d + eyes_delta(corrections, x_s, eyes.expand(T, 2), wanted)
        if case["flag_lip_retargeting"]:
            wanted = golden["in.drv.c_lip"][:frames].expand(T, 1)
            x_d = x_d + lips_delta(corrections, x_s, lips.expand(T, 1), wanted)
    else:
        if case["flag_normalize_lip"] and options.relative:
            after = closed_lips_delta(corrections, x_s, lips.expand(T, 1))
        if case["flag_source_video_eye_retargeting"] and kind == "video":
            opened = open_eyes_delta(corrections, x_s, eyes)
            after = opened if after is None else after + opened
    stitch = corrections.stitch if case["flag_stitching"] else None
    x_d = finished(x_s, x_d, stitch, options.multiplier, after)
    assert torch.allclose(x_s, golden[f"{name}.x_s"], atol=TOLERANCE, rtol=0)
    assert torch.allclose(x_d, golden[f"{name}.x_d"], atol=TOLERANCE, rtol=0)


def test_a_clip_in_pieces_gives_the_same_as_at_once(golden: dict) -> None:
    canonical, source = source_of(golden, "image")
    driving = driving_of(golden, 5)
    options = DrivingOptions()
    first = driving.frames(0, 1)
    at_once = drive_image(canonical, source, driving, first, options)
    pieces = [drive_image(canonical, source, driving.frames(i, i + 2), first, options) for i in (0, 2, 4)]
    assert torch.equal(at_once, torch.cat(pieces))


@pytest.mark.parametrize("region", ["all", "exp", "pose", "lip", "eyes"])
@pytest.mark.parametrize("balance", ["expression-friendly", "pose-friendly"])
def test_a_driver_at_rest_leaves_the_source_as_it_is(golden: dict, region: str, balance: str) -> None:
    canonical, source = source_of(golden, "image")
    first = driving_of(golden, 1)
    x_d = drive_image(canonical, source, first, first, DrivingOptions(region=region, balance=balance))
    assert torch.allclose(x_d, posed(canonical, source), atol=1e-6)


def test_the_neutral_expression_is_small_and_has_every_keypoint() -> None:
    assert neutral_expression().shape == (1, 21, 3)
    assert neutral_expression().abs().max() < 0.1


def test_a_negative_multiplier_is_refused() -> None:
    with pytest.raises(ValueError, match=r"multiplier=-1\.0 is out of range; give a number from 0 to 100"):
        DrivingOptions(multiplier=-1.0)
