from pathlib import Path

import cv2
import numpy as np
import pytest

from data_pipeline.crop import invert, move_points
from data_pipeline.landmark_crop import (
    axis_points,
    box_crop,
    cut_square,
    driving_box,
    landmark_crop,
    landmark_square,
    limited,
    limited_size,
    square_transform,
)
from tests.golden_recipe import lattice_picture, opencv5_warp

TESTS = Path(__file__).resolve().parent.parent
MATRIX_TOLERANCE, POINT_TOLERANCE_PX, ANGLE_TOLERANCE_RAD = 5e-4, 5e-4, 1e-6
"""The reference's own float64 arithmetic is 6e-4 away from its float32; ours runs in the landmarks' precision."""
with np.load(TESTS / "data_pipeline" / "golden" / "landmark_crop.npz") as _arrays:
    GOLDEN = {key: _arrays[key] for key in _arrays.files}
CASES = {str(case): i for i, case in enumerate(GOLDEN["cases"])}
CUTS = [key.removesuffix(".img_crop.sub") for key in GOLDEN if key.startswith("n") and key.endswith(".img_crop.sub")]


def recorded(case: str) -> dict[str, np.ndarray]:
    names = ("params", "axis", "axis_without_lips", "centre_size_angle", "crop_from_source", "source_from_crop")
    values = {name: GOLDEN[name][CASES[case]] for name in (*names, "crop_from_source_shifted")}
    return values | {"points": GOLDEN[f"landmarks.{case.rsplit('_', 1)[0]}"]}


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return lattice_picture("crop", 480, 640, 16)


@pytest.mark.parametrize("case", CASES)
def test_squares_equal_upstreams(case: str) -> None:
    golden = recorded(case)
    points, (side, scale, shift_x, shift, rotate) = golden["points"], golden["params"]
    assert points.dtype == case.split("_")[2]
    assert np.allclose(axis_points(points), golden["axis"], atol=1e-5, rtol=0)
    assert np.allclose(axis_points(points, with_lips=False), golden["axis_without_lips"], atol=1e-5, rtol=0)
    square = landmark_square(points, scale, shift, shift_x)
    *centre, size, angle = golden["centre_size_angle"]
    assert np.allclose(square.centre_xy, centre, atol=POINT_TOLERANCE_PX, rtol=0)
    assert square.size_px == pytest.approx(size, abs=POINT_TOLERANCE_PX)
    assert np.deg2rad(square.angle_deg) == pytest.approx(angle, abs=ANGLE_TOLERANCE_RAD)

    # What the pipelines use: without the sideways shift.
    used = landmark_crop(points, int(side), scale, shift, rotate=bool(rotate))
    assert np.allclose(used, golden["source_from_crop"], atol=MATRIX_TOLERANCE, rtol=0)
    assert np.allclose(invert(used), golden["crop_from_source"], atol=MATRIX_TOLERANCE, rtol=0)
    shifted = landmark_crop(points, int(side), scale, shift, shift_x, rotate=bool(rotate))
    assert np.allclose(invert(shifted), golden["crop_from_source_shifted"], atol=MATRIX_TOLERANCE, rtol=0)


@pytest.mark.parametrize("case", CUTS)
def test_cut_pixels_equal_upstreams(case: str, image: np.ndarray, monkeypatch) -> None:
    golden, key = recorded(case), f"{case}.img_crop"
    side, scale, _, shift, rotate = golden["params"]
    matrix = landmark_crop(golden["points"], int(side), scale, shift, rotate=bool(rotate))
    assert_cut_agrees(key, image, matrix, int(side), monkeypatch)


def assert_cut_agrees(key: str, image: np.ndarray, matrix: np.ndarray, side: int, monkeypatch) -> None:
    expected, stride = GOLDEN[f"{key}.sub"].astype(int), int(GOLDEN[f"{key}.stride"])
    assert tuple(GOLDEN[f"{key}.shape"]) == (side, side, 3)
    off = np.abs(cut_square(image, matrix, side).ravel()[::stride] - expected)
    assert off.max() <= 4
    assert (off > 0).mean() < 0.05
    with monkeypatch.context() as patch:
        patch.setattr(cv2, "warpAffine", opencv5_warp)
        off = np.abs(cut_square(image, matrix, side).ravel()[::stride] - expected)
    # The matrix may differ in its last digits.
    assert off.max() <= 1
    assert (off > 0).mean() < 0.002


def test_the_box_of_a_driving_video_equals_upstreams(image: np.ndarray, monkeypatch) -> None:
    points = GOLDEN["driving.lmk"]
    for frame, expected in zip(points, GOLDEN["driving.per_frame"], strict=True):
        assert np.allclose(driving_box(frame[None]), expected, atol=POINT_TOLERANCE_PX, rtol=0)
    square = landmark_square(points[1], 2.2, -0.1)
    assert np.allclose(square.centre_xy, GOLDEN["driving.frame1.center"], atol=POINT_TOLERANCE_PX, rtol=0)
    assert np.allclose(square.size_px, GOLDEN["driving.frame1.size"], atol=POINT_TOLERANCE_PX, rtol=0)
    assert np.deg2rad(square.angle_deg) == pytest.approx(GOLDEN["driving.frame1.angle"], abs=ANGLE_TOLERANCE_RAD)
    corners = np.array([[0, 0], [512, 0], [512, 512], [0, 512]], np.float32)
    upright = square_transform(square._replace(angle_deg=0.0), 512)
    for matrix, name in ((square_transform(square, 512), "bbox_rot"), (upright, "bbox")):
        assert np.allclose(move_points(matrix, corners), GOLDEN[f"driving.frame1.{name}"], atol=1e-3, rtol=0)

    box = driving_box(points)
    assert np.allclose(box, GOLDEN["driving.global"], atol=POINT_TOLERANCE_PX, rtol=0)
    for name, angle_deg in (("crop", 0.0), ("crop_rot", float(np.rad2deg(0.3)))):
        matrix = box_crop(box, 512, angle_deg)
        assert np.allclose(matrix, GOLDEN[f"driving.{name}.M_c2o"][:2], atol=MATRIX_TOLERANCE, rtol=0)
        assert_cut_agrees(f"driving.{name}.img_crop", image, matrix, 512, monkeypatch)
    moved = move_points(invert(box_crop(box, 512)), points[1])
    assert np.allclose(moved, GOLDEN["driving.crop.lmk_crop"], atol=1e-3, rtol=0)


def test_picture_sizes_equal_upstreams() -> None:
    with np.load(TESTS / "lp_models" / "golden" / "math.npz") as arrays:
        rows = arrays["resize_to_limit"].tolist()
    assert len(rows) == 32
    for *given, height, width in rows:
        assert limited_size(*given) == (height, width)


def test_a_limited_picture_is_scaled_and_then_cut() -> None:
    columns = np.broadcast_to(np.arange(201, dtype=np.uint8)[None, :, None], (101, 201, 3)).copy()
    result = limited(columns, 100, 4)
    assert result.shape == (48, 100, 3)
    assert abs(int(result[0, -1, 0]) - 200) <= 1
    untouched = limited(columns, 300, 1)
    assert np.array_equal(untouched, columns)
    assert np.array_equal(limited(columns, 0, 2), columns[:100, :200])


def test_an_upright_square_has_no_rotation() -> None:
    points = np.array([[10, 20], [30, 20], [20, 31], [14, 40], [26, 40]], np.float64)
    assert np.array_equal(landmark_crop(points, 64)[:, :2], landmark_crop(points, 64, rotate=False)[:, :2])
    turned = (points - 20) @ np.array([[0.0, 1.0], [-1.0, 0.0]]) + 20
    assert landmark_square(turned).angle_deg == pytest.approx(90)
    assert np.allclose(
        move_points(invert(landmark_crop(turned, 64)), turned.astype(np.float32)),
        move_points(invert(landmark_crop(points, 64)), points.astype(np.float32)),
        atol=1e-3,
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: landmark_crop(np.zeros((478, 2)), 512), r"478 landmarks .*; give one of 203, 106, 101, 68, 9, 5"),
        (lambda: landmark_crop(np.full((5, 2), np.nan), 512), "not a number; detect the face again"),
        (lambda: landmark_crop(np.zeros((68, 2)), 512), "on one spot; there is no face to crop"),
        (lambda: landmark_crop(np.arange(10.0).reshape(5, 2), 0), "side_px=0 is no crop"),
        (lambda: driving_box(np.zeros((0, 203, 2))), "give those of at least one frame"),
    ],
)
def test_what_cannot_be_cropped_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
