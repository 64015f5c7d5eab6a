"""Keypoint geometry: properties that hold for any numbers, and the reference's own numbers."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lp_models import Motion, posed_keypoints, source_keypoints
from lp_models.geometry import (
    angle_from_bins,
    driven_keypoints,
    eye_ratios,
    hull_multiplier,
    identity_grid,
    lip_ratio,
    rotation_matrix,
)

angles = st.floats(-90, 90, allow_nan=False, width=32)


def motion(count: int = 2, seed: int = 0) -> Motion:
    g = torch.Generator().manual_seed(seed)
    pitch, yaw, roll = (60 * torch.rand(3, count, generator=g) - 30).unbind()
    return Motion(
        pitch_deg=pitch,
        yaw_deg=yaw,
        roll_deg=roll,
        shift=torch.randn(count, 3, generator=g) * 0.1,
        delta=torch.randn(count, 21, 3, generator=g) * 0.02,
        scale=1 + torch.rand(count, 1, generator=g),
        canonical=torch.randn(count, 21, 3, generator=g) * 0.4,
    )


@settings(deadline=None, max_examples=50)
@given(pitch=angles, yaw=angles, roll=angles)
def test_rotations_are_orthonormal_and_keep_handedness(pitch: float, yaw: float, roll: float) -> None:
    r = rotation_matrix(*(torch.tensor([a]) for a in (pitch, yaw, roll)))[0]
    assert torch.allclose(r @ r.T, torch.eye(3), atol=1e-5)
    assert torch.linalg.det(r) == pytest.approx(1, abs=1e-5)


def test_no_angle_is_the_identity_and_signs_are_those_of_the_paper() -> None:
    zero, quarter = torch.zeros(1), torch.tensor([90.0])
    assert torch.equal(rotation_matrix(zero, zero, zero)[0], torch.eye(3))
    x, y, z = torch.eye(3)
    # Row vectors: roll turns x (right) towards y (down), pitch y towards z (inward), yaw z towards x.
    assert torch.allclose(x @ rotation_matrix(zero, zero, quarter)[0], y, atol=1e-6)
    assert torch.allclose(y @ rotation_matrix(quarter, zero, zero)[0], z, atol=1e-6)
    assert torch.allclose(z @ rotation_matrix(zero, quarter, zero)[0], x, atol=1e-6)


def test_a_picture_driven_by_itself_keeps_its_keypoints() -> None:
    m = motion()
    assert torch.equal(driven_keypoints(m, m), source_keypoints(m))


def test_without_motion_the_canonical_keypoints_come_back() -> None:
    m = motion()
    still = m._replace(
        pitch_deg=torch.zeros(2),
        yaw_deg=torch.zeros(2),
        roll_deg=torch.zeros(2),
        shift=torch.zeros(2, 3),
        delta=torch.zeros(2, 21, 3),
        scale=torch.ones(2, 1),
    )
    assert torch.allclose(source_keypoints(still), m.canonical)


def test_the_depth_shift_is_ignored_and_each_sample_has_its_own_scale_and_shift() -> None:
    m = motion()
    deeper = m._replace(shift=m.shift + torch.tensor([0.0, 0.0, 5.0]))
    assert torch.equal(source_keypoints(deeper), source_keypoints(m))
    single = Motion(*(value[1:] for value in m))
    assert torch.allclose(source_keypoints(single), source_keypoints(m)[1:], atol=1e-6)


def test_equal_logits_are_zero_degrees_and_the_ends_are_reached() -> None:
    logits = torch.zeros(3, 66)
    logits[1, 0] = logits[2, 65] = 100
    assert torch.allclose(angle_from_bins(logits), torch.tensor([0.0, -97.5, 97.5]), atol=1e-4)


def test_the_grid_ends_at_one_and_runs_x_y_z() -> None:
    grid = identity_grid(3, 4, 5, like=torch.zeros(1))
    assert grid.shape == (3, 4, 5, 3)
    assert grid[0, 0, 0].tolist() == [-1, -1, -1]
    assert grid[2, 3, 4].tolist() == [1, 1, 1]
    assert torch.equal(grid[0, 0, :, 0], torch.linspace(-1, 1, 5))


def test_hull_multiplier_is_the_root_of_the_volume_ratio() -> None:
    cube = torch.tensor([[x, y, z] for x in (0.0, 1.0) for y in (0.0, 1.0) for z in (0.0, 1.0)])
    inside = torch.cat((cube, torch.full((3, 3), 0.5)))
    assert hull_multiplier(inside, cube) == pytest.approx(1)  # coplanar corners are not counted twice
    assert hull_multiplier(2 * cube, cube) == pytest.approx(8**0.5)


def test_bins_rotations_and_keypoints_agree_with_the_reference(golden: Any) -> None:
    g = {key: torch.from_numpy(value) for key, value in golden.outputs.items() if key.startswith(("bins", "rot", "kt"))}
    assert golden.difference("bins.degree", angle_from_bins(g["bins.in"])) < 1e-4
    assert golden.difference("rot.R", rotation_matrix(*g["rot.angles_pyr_deg"].unbind(dim=1))) < 2e-6
    pitch, yaw, roll = (g[f"kt.in.{name}"][:, 0] for name in ("pitch", "yaw", "roll"))
    x = posed_keypoints(
        g["kt.in.kp"], rotation_matrix(pitch, yaw, roll), g["kt.in.exp"], g["kt.in.scale"], g["kt.in.t"]
    )
    assert golden.difference("kt.out", x) < 2e-6


def test_ratios_and_hull_multipliers_agree_with_the_reference(golden: Any) -> None:
    landmarks = torch.from_numpy(golden.outputs["ratio.lmk"])
    assert golden.difference("ratio.eye", eye_ratios(landmarks)) < 2e-6
    assert golden.difference("ratio.lip", lip_ratio(landmarks)) < 2e-6
    pairs = [torch.from_numpy(golden.outputs[f"mm.in.{i}"])[:, 0] for i in range(4)]
    assert golden.difference("mm.out", [hull_multiplier(*pair.unbind()) for pair in pairs]) < 2e-6
