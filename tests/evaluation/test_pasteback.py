from pathlib import Path

import cv2
import numpy as np

from evaluation.pasteback import mask_template, paste, paste_into, paste_mask, paster, scaled_to_side

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
    quick, plain = paster(image, matrix, 256)(crop, image), paste(crop, image, matrix)
    assert np.abs(quick.astype(int) - plain).max() <= 1
    assert np.abs(paste_into(image, crop, matrix).astype(int) - plain).max() <= 1


def test_squares_anywhere_also_half_outside_are_pasted_as_plainly(lattice_image) -> None:
    image = lattice_image("crop", 120, 160, 8)
    rng = np.random.default_rng(0)
    crops = {side: lattice_image(f"paste_{side}", side, side, 8) for side in (48, 96)}
    for number in range(60):
        side = (48, 96)[number % 2]
        middle, angle, scale = rng.uniform((-60, -60), (220, 180)), rng.uniform(-180, 180), rng.uniform(0.2, 3)
        matrix = similarity(angle, scale, 0, 0)
        matrix[:, 2] = middle - matrix[:, :2] @ (side / 2, side / 2)
        plain = paste(crops[side], image, matrix).astype(int)
        before = image.copy()
        for quick in (paste_into(image, crops[side], matrix), paster(image, matrix, side)(crops[side], image)):
            off = np.abs(quick - plain)
            # A sample on the edge between two of OpenCV's 1/32 pixel steps can fall to the other one.
            assert off.max() <= 1 or ((off > 1).mean() < 1e-3 and off.max() <= 4), (number, off.max())
        assert np.array_equal(image, before)


def test_a_second_crop_goes_into_the_photo_that_already_holds_the_first() -> None:
    photo, crop = np.full((90, 200, 3), 60, np.uint8), np.full((64, 64, 3), 160, np.uint8)
    left, right = (paster(photo, similarity(0, 1, x, 10), 64) for x in (10, 120))
    both = right(crop, left(crop, photo))
    assert (both[42, [42, 152]] == 160).all()
    assert (both[:, 90:110] == 60).all()
    assert (photo == 60).all()


def test_a_stretched_square_covers_the_whole_picture() -> None:
    from evaluation.source import whole_frame

    image, crop = np.full((60, 120, 3), 7, np.uint8), np.full((128, 128, 3), 200, np.uint8)
    matrix = scaled_to_side(whole_frame(60, 120, 64), 64, 128)
    result = paste_into(image, crop, matrix)
    assert (result[10:50, 20:100] == 200).all()
    assert np.abs(result.astype(int) - paste(crop, image, matrix)).max() <= 1


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
    matrix, crop = similarity(0, 1, 500, 500), np.zeros((64, 64, 3), np.uint8)
    assert np.array_equal(paster(image, matrix, 64)(crop, image), image)
    assert np.array_equal(paste_into(image, crop, matrix), image)


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
