from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.driving import PosedMotion, neutral_expression, posed
from evaluation.editor import (
    apply_edit,
    edited_delta,
    edited_keypoints,
    ratio_change,
    retargeted_lips,
    silenced_lips,
    turned,
)
from evaluation.sliders import MOUTH_SHAPES, MOVES, RANGES, PortraitEdit, slider_change
from lp_models.geometry import eye_ratios, lip_ratio, rotation_matrix

FOLDER = Path(__file__).parent / "golden"
TOLERANCE = 2e-6
SLIDERS = {
    # Upstream's name -> ours.
    "input_eye_ratio": "eyes_open",
    "input_lip_ratio": "lips_open",
    "input_head_pitch_variation": "pitch_deg",
    "input_head_yaw_variation": "yaw_deg",
    "input_head_roll_variation": "roll_deg",
    "mov_x": "move_x",
    "mov_y": "move_y",
    "mov_z": "move_z",
    "lip_variation_zero": "pouting",
    "lip_variation_one": "pursing",
    "lip_variation_two": "grin",
    "lip_variation_three": "lips",
    "smile": "smile",
    "wink": "wink",
    "eyebrow": "eyebrow",
    "eyeball_direction_x": "gaze_x",
    "eyeball_direction_y": "gaze_y",
}


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    result = {}
    for name in ("editor", "pipeline"):
        with np.load(FOLDER / f"{name}.npz") as arrays:
            result |= {key: torch.from_numpy(arrays[key]) for key in arrays.files if arrays[key].dtype.kind == "f"}
    return result


@pytest.fixture(scope="module")
def settings() -> list[PortraitEdit]:
    """The recorded slider settings; a ratio equal to the source's means that it is left alone."""
    with np.load(FOLDER / "editor.npz") as arrays:
        names, values = arrays["image.slider_names"].tolist(), arrays["image.slider_values"].tolist()
        unchanged = arrays["image.source_eye_lip_ratio"].tolist()
    edits = []
    for row in values:
        given = {SLIDERS[name]: value for name, value in zip(names, row, strict=True)}
        for name, value in zip(("eyes_open", "lips_open"), unchanged, strict=True):
            given[name] = None if given[name] == value else given[name]
        edits.append(PortraitEdit(**given))
    return edits


def source_of(golden: dict, kind: str) -> tuple[torch.Tensor, PosedMotion]:
    part = {key.rsplit(".", 1)[1]: value for key, value in golden.items() if key.startswith(f"in.src_{kind}.")}
    rotation = rotation_matrix(part["pitch"][:, 0], part["yaw"][:, 0], part["roll"][:, 0])
    return part["kp"], PosedMotion(rotation, part["exp"], part["scale"], part["t"])


def everything() -> PortraitEdit:
    """Every slider away from rest."""
    return PortraitEdit(**{name: low + 0.8 * (high - low) for name, (low, high) in RANGES.items()})


@pytest.mark.parametrize("name", [name for name in SLIDERS.values() if name in MOVES and not name.startswith("gaze")])
@pytest.mark.parametrize("value", [1.0, -1.0])
def test_a_slider_moves_what_upstreams_does(name: str, value: float, golden: dict) -> None:
    theirs = next(their for their, our in SLIDERS.items() if our == name)
    # Recorded is the raw function; upstream's page hands it the negative of move_x.
    sign = int(-value if name == "move_x" else value)
    assert torch.equal(slider_change(name, value), golden[f"edit.{theirs}.{sign:+d}"][0])


@pytest.mark.parametrize("x", [1, -1])
@pytest.mark.parametrize("y", [1, -1])
def test_the_gaze_moves_what_upstreams_does(x: int, y: int, golden: dict) -> None:
    delta = edited_delta(torch.zeros(1, 21, 3), PortraitEdit(gaze_x=float(x), gaze_y=float(y)))
    assert torch.allclose(delta, golden[f"edit.eyeball.{x:+d}.{y:+d}"], atol=1e-9, rtol=0)


@pytest.mark.parametrize("row", range(6))
@torch.inference_mode()
def test_an_edited_photo_has_upstreams_keypoints(row: int, golden: dict, settings: list, corrections) -> None:
    canonical, source = source_of(golden, "image")
    landmarks = golden["in.src.landmarks203"][:1]
    assert torch.allclose(posed(canonical, source), golden["image.x_s"], atol=TOLERANCE, rtol=0)
    for stitching, name in ((True, "stitch"), (False, "no_stitch")):
        x_d = edited_keypoints(
            canonical,
            source,
            settings[row],
            corrections,
            eye_ratios(landmarks),
            lip_ratio(landmarks),
            keep_depth_shift=True,
            stitching=stitching,
        )
        assert torch.allclose(x_d, golden[f"image.x_d_{name}"][row : row + 1], atol=TOLERANCE, rtol=0)


@torch.inference_mode()
def test_a_videos_lips_are_upstreams(golden: dict, corrections) -> None:
    canonical, source = source_of(golden, "video")
    x_s = posed(canonical, source)
    assert torch.allclose(x_s, golden["video_lip.x_s"], atol=TOLERANCE, rtol=0)
    retargeted = retargeted_lips(corrections, x_s, lip_ratio(golden["in.src.landmarks203"]), 0.2)
    assert torch.allclose(retargeted, golden["video_lip.x_d"], atol=TOLERANCE, rtol=0)
    silent = silenced_lips(corrections, canonical, source, neutral_expression(), keep_depth_shift=True)
    assert torch.allclose(silent, golden["video_silence.x_d"], atol=TOLERANCE, rtol=0)


@torch.inference_mode()
def test_a_zero_edit_changes_nothing(golden: dict, corrections) -> None:
    canonical, source = source_of(golden, "video")
    edited = apply_edit(source.delta, source.rotation, source.scale, source.shift, PortraitEdit())
    assert all(torch.equal(before, after) for before, after in zip(source, edited, strict=True))
    x_d = edited_keypoints(canonical, source, PortraitEdit(), corrections, keep_depth_shift=False, stitching=False)
    assert torch.equal(x_d, posed(canonical, source))


def test_frames_are_edited_one_by_one(golden: dict) -> None:
    _, source = source_of(golden, "video")
    together = apply_edit(source.delta, source.rotation, source.scale, source.shift, everything())
    for i in range(6):
        alone = source.frames(i, i + 1)
        edited = apply_edit(alone.delta, alone.rotation, alone.scale, alone.shift, everything())
        for one, all_frames in zip(edited, together, strict=True):
            assert torch.allclose(one, all_frames[i : i + 1], atol=1e-6, rtol=0)
    assert torch.allclose(together.scale, source.scale * everything().move_z)
    assert not torch.allclose(together.delta, source.delta, atol=1e-3)


def test_turning_adds_degrees_to_the_three_angles() -> None:
    angles = torch.tensor([[10.0, -30.0, 5.0], [-40.0, 25.0, -60.0], [0.0, 0.0, 0.0], [20.0, 80.0, 170.0]])
    edit = PortraitEdit(pitch_deg=-12.0, yaw_deg=7.0, roll_deg=14.0)
    expected = rotation_matrix(*(angles + torch.tensor([-12.0, 7.0, 14.0])).unbind(dim=1))
    assert torch.allclose(turned(rotation_matrix(*angles.unbind(dim=1)), edit), expected, atol=1e-6)


def test_a_smoothed_rotation_is_turned_and_not_repaired() -> None:
    rotation = 0.98 * rotation_matrix(*torch.tensor([[10.0], [-30.0], [5.0]]))
    result = turned(rotation, PortraitEdit(yaw_deg=0.01))
    assert torch.allclose(result, rotation, atol=3e-4)
    assert torch.allclose(result @ result.mT, 0.98**2 * torch.eye(3)[None], atol=1e-5)


@pytest.mark.parametrize("name", MOUTH_SHAPES)
def test_a_mouth_shape_is_its_sliders(name: str) -> None:
    delta = torch.randn(3, 21, 3)
    whole = edited_delta(delta, PortraitEdit(**{name: 1.0}))
    assert torch.allclose(whole, edited_delta(delta, PortraitEdit(**MOUTH_SHAPES[name])))
    half = edited_delta(delta, PortraitEdit(**{name: 0.5}))
    assert torch.allclose(half - delta, (whole - delta) / 2, atol=1e-6)
    assert whole[:, 19, 1].gt(delta[:, 19, 1]).all()  # every vowel opens the lips


def test_a_blink_closes_both_eyes_as_the_wink_closes_one() -> None:
    rest = torch.zeros(1, 21, 3)
    blink, wink = edited_delta(rest, PortraitEdit(blink=1.0)), edited_delta(rest, PortraitEdit(wink=25.0))
    assert torch.allclose(blink[:, [11, 13], 1], wink[:, [11, 13], 1])
    assert torch.equal(blink[:, [11, 13]], blink[:, [15, 16]])
    blink[:, [11, 13, 15, 16]] = 0
    assert not blink.any()


def test_every_slider_does_something(corrections) -> None:
    canonical = torch.randn(1, 21, 3)
    source = PosedMotion(torch.eye(3)[None], torch.zeros(1, 21, 3), torch.full((1, 1), 1.3), torch.zeros(1, 3))
    with torch.inference_mode():
        for name, (low, high) in RANGES.items():
            edit = PortraitEdit(**{name: low + 0.8 * (high - low)})
            x_d = edited_keypoints(
                canonical,
                source,
                edit,
                corrections,
                torch.full((1, 2), 0.3),
                torch.full((1, 1), 0.1),
                keep_depth_shift=False,
                stitching=False,
            )
            assert (x_d - posed(canonical, source)).abs().max() > 1e-3, name


def test_fields_and_ranges_agree() -> None:
    assert [field.name for field in fields(PortraitEdit)] == list(RANGES)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("smile", 1.4, r"smile=1\.4 is out of range; give -0\.3 to 1\.3"),
        ("yaw_deg", -26.0, "give -25 to 25"),
        ("move_z", 0.0, r"give 0\.9 to 1\.2"),
        ("mouth_a", float("nan"), "mouth_a=nan is out of range; give 0 to 1"),
        ("eyes_open", 0.9, "eyes_open=0.9 is out of range"),
    ],
)
def test_a_value_out_of_range_is_refused(name: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PortraitEdit(**{name: value})


def test_what_the_editor_cannot_do_is_said(corrections) -> None:
    with pytest.raises(ValueError, match="21 keypoints, but this model has 15; edit with a model of 21 keypoints"):
        edited_delta(torch.zeros(2, 15, 3), PortraitEdit(smile=1.0))
    with pytest.raises(ValueError, match=r"lips_open=0\.2 needs the source's own ratio; give its 203 landmarks"):
        ratio_change(corrections, torch.zeros(1, 21, 3), PortraitEdit(lips_open=0.2), torch.zeros(1, 2), None)
