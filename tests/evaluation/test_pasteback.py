from pathlib import Path

import cv2
import numpy as np

from evaluation.pasteback import mask_template, paste, paste_mask, paster, scaled_to_side

GOLDEN = Path(__file__).parent / "golden" / "paste.npz"


def similarity(angle_deg: float, scale: float, x: float, y: float) -> np.ndarray:
    matrix = cv2.getRotationMatrix2D((0, 0), angle_deg, scale)
    matrix[:, 2] += x, y
    return matrix.astype(np.float32)


def test_mask_and_pasted_photo_equal_upstreams(lattice_image) -> None:
    image, crop = lattice_image("crop", 480, 640, 16), lattice_image("paste_out", 512, 512, 16)
    with np.load(GOLDEN) as golden:
        matrix = golden["paste.M_c2o"][:2]
        mask = np.repeat(paste_mask(matrix, 480, 640), 3, axis=2)
        mask_off = np.abs(mask.ravel()[:: int(golden["paste.mask_ori.stride"])] - golden["paste.mask_ori.sub"])
        result = paste(crop, image, matrix).ravel()[:: int(golden["paste.result.stride"])]
        off = np.abs(result.astype(int) - golden["paste.result.sub"])
    # One grey level of the u8 mask and a few of the result: the golden file was made with another OpenCV.
    assert mask_off.max() <= 1 / 255 + 1e-6
    assert off.max() <= 4
    assert (off > 0).mean() < 0.03


def test_the_quick_paster_equals_the_plain_one(lattice_image) -> None:
    image, crop = lattice_image("crop", 480, 640, 16), lattice_image("paste_out", 256, 256, 16)
    matrix = similarity(17, 1.3, 90, 80)
    quick, plain = paster(image, matrix, 256)(crop), paste(crop, image, matrix)
    assert np.abs(quick.astype(int) - plain).max() <= 1


def test_pasting_the_unchanged_crop_changes_almost_nothing(lattice_image) -> None:
    image = lattice_image("crop", 480, 640, 16)
    matrix = similarity(-10, 0.8, 200, 100)
    crop = cv2.warpAffine(image, matrix, (512, 512), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    assert np.abs(paste(crop, image, matrix).astype(int) - image).mean() < 0.6


def test_no_seam_at_the_border_of_the_square() -> None:
    image, crop = np.full((400, 400, 3), 60, np.uint8), np.full((256, 256, 3), 160, np.uint8)
    result = paste(crop, image, similarity(30, 1.0, 90, 190)).astype(int)
    assert result.max() == 160
    assert np.abs(np.diff(result, axis=1)).max() <= 20
    assert np.abs(np.diff(result, axis=0)).max() <= 20


def test_a_square_outside_the_photo_leaves_it_alone() -> None:
    image = np.full((50, 60, 3), 7, np.uint8)
    assert np.array_equal(paster(image, similarity(0, 1, 500, 500), 64)(np.zeros((64, 64, 3), np.uint8)), image)


def test_another_crop_size_covers_the_same_place() -> None:
    matrix = similarity(25, 1.5, 30, 40)
    doubled = scaled_to_side(matrix, 256, 512)
    # Pixel 100 covers the pixels 200 and 201 of the doubled crop.
    assert np.allclose(matrix @ [100, 60, 1], doubled @ [200.5, 120.5, 1], atol=1e-3)


def test_the_template_is_full_inside_and_empty_at_the_near_edge() -> None:
    template = mask_template()
    assert (template[16:497, 16:497] == 255).all()
    assert (template[0] == 0).all()
    assert template[511, 256] == 15
