"""Films and sheets of a gallery: their sizes, their bytes, the moments that are shown."""

import io
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from data_pipeline.photo import decode_jpeg
from evaluation.gallery_pictures import (
    HEAD_PX,
    NUM_MOMENTS,
    Panels,
    animation,
    jpeg_within,
    moments,
    moments_names,
    moments_row,
    on_white,
    sheet,
    text_line,
    visible_square,
    webp_within,
)
from evaluation.side_by_side import GAP_PX
from tests.evaluation.stand_ins import ball_picture

NAMES = ("photo", "driver", "copy", "base", "tuned")


def panels(count: int = 9, side: int = 32) -> Panels:
    frames = [ball_picture(10 + i, 16, 8, side, side) for i in range(count)]
    results = [np.stack(frames), np.stack(frames[::-1])]
    return Panels(ball_picture(30, 20, 12, 40, 60), frames[0], frames, results)


def test_a_film_shows_every_pair_in_five_columns() -> None:
    frames = animation([panels(), panels()], NAMES, 24)
    assert len(frames) == 9
    assert frames[0].shape == (HEAD_PX + 2 * (GAP_PX + 24), 5 * 24 + 4 * GAP_PX, 3)
    copied = frames[0][HEAD_PX + GAP_PX :][:24, 2 * (24 + GAP_PX) :][:, :24]
    base = frames[0][HEAD_PX + GAP_PX :][:24, 3 * (24 + GAP_PX) :][:, :24]
    assert (copied == base).all()  # the base begins with the source
    assert (frames[0] != frames[-1]).any()
    still = [frame[:, :24] for frame in frames]
    assert all((one == still[0]).all() for one in still)  # the photo does not move


def test_names_stand_on_one_line_above_their_panels() -> None:
    line = text_line([(30, "nop"), (90, "nol")], 120, "ms")
    dark = (line < 128).all(axis=2)
    lowest = [np.flatnonzero(dark[:, x - 12 : x - 4].any(axis=1)).max() for x in (30, 90)]  # of the letters n
    assert lowest[0] == lowest[1]
    assert not dark[:, 45:75].any()


def test_the_moments_of_a_driver_are_where_it_differs_most() -> None:
    frames = [np.full((16, 16, 3), value, np.uint8) for value in (50, 50, 90, 60, 50, 80, 50, 50, 99)]
    assert moments(frames) == [2, 5, 8]
    assert moments([frames[0]] * 9) == [0, 3, 6]


def test_a_sheet_has_a_row_and_a_line_for_each_pair() -> None:
    row = moments_row(panels(), 16)
    assert row.shape[:2] == (16, (2 + 3 * NUM_MOMENTS) * (16 + GAP_PX) - GAP_PX)
    names = moments_names(NAMES)
    assert len(names) == 2 + 3 * NUM_MOMENTS
    assert [name for name in names if name] == ["photo", "copy", "driver", "base", "tuned"]
    made = sheet([("a", row), ("b", row)], names, 16)
    assert made.shape == (HEAD_PX + 2 * (HEAD_PX + 16 + 2 * GAP_PX), row.shape[1], 3)


def test_a_film_keeps_within_its_bytes_by_losing_quality() -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(4)]
    large = webp_within(frames, Fraction(25, 2), 10**6, "it")
    small = webp_within(frames, Fraction(25, 2), len(large) // 2, "it")
    assert len(small) <= len(large) // 2
    with Image.open(io.BytesIO(small)) as film:
        assert film.format == "WEBP"
        assert film.n_frames == 4
        assert film.info["loop"] == 0
    with pytest.raises(ValueError, match=r"it needs \d+ bytes even at quality 14, and 100 are its share"):
        webp_within(frames, Fraction(25, 2), 100, "it")


def test_a_sheet_keeps_within_its_bytes_too() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    large = jpeg_within(noise, 10**6, "it")
    small = jpeg_within(noise, len(large) - 1, "it")
    assert len(small) < len(large)
    assert decode_jpeg(small).shape == noise.shape


@pytest.mark.parametrize("left_px", [-60.0, 20.0, 180.0])
def test_the_drivers_square_stays_inside_the_frame(left_px) -> None:
    crop = np.array([[2, 0, left_px], [0, 2, -10]], np.float32)  # 128 px of the crop are 256 px of the frame
    x, y, side = visible_square(crop, 128, 200, 300)
    assert side == 200
    assert y == 0
    assert 0 <= x <= 100
    assert x == pytest.approx(np.clip(left_px + 128 - 100, 0, 100), abs=1)


def test_a_whole_picture_is_not_squeezed() -> None:
    wide = ball_picture(30, 20, 12, 40, 60)
    square = on_white(wide)
    assert square.shape == (60, 60, 3)
    assert (square[10:50] == wide).all()
    assert (square[:10] == 255).all()
