from pathlib import Path

import numpy as np
import pytest

from data_pipeline.loader_speed import (
    centre_crops,
    formats,
    measure,
    psnr_db,
    read_pair_decord,
    read_pair_jpeg,
    read_pair_seek,
    read_pair_whole,
    speed_table,
)
from data_pipeline.video import encode_clip, read_member


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    """40 frames of 64 px whose grey level tells their number."""
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 40, (1, 8, 8, 1)).repeat(8, 1).repeat(8, 2)
    return (texture + np.arange(40)[:, None, None, None] * 5 + np.zeros((1, 1, 1, 3))).astype(np.uint8)


@pytest.mark.parametrize("gop", [1, 4, 8, 16])
@pytest.mark.parametrize("read", [read_pair_seek, read_pair_decord, read_pair_whole])
def test_readers_give_the_frames_that_were_asked_for(clip: np.ndarray, gop: int, read) -> None:
    data = encode_clip(clip, 30000 / 1001, gop=gop)
    true = read_member(data)
    for pair in ((0, 39), (17, 3), (15, 16), (38, 39)):
        for index, picture in zip(pair, read(data, pair), strict=True):
            assert np.abs(picture.astype(int) - true[index]).mean() < 1.5
            assert np.abs(true.astype(int) - picture).mean((1, 2, 3)).argmin() == index


def test_jpeg_frames_are_rgb(clip: np.ndarray) -> None:
    red = np.zeros((2, 32, 32, 3), np.uint8)
    red[1, ..., 0] = 200
    stored = formats()[-1].encode(red)
    assert np.abs(read_pair_jpeg(stored, (1, 0))[0].astype(int) - red[1]).max() < 6


def test_the_measurement_compares_with_whole_clips(clip: np.ndarray) -> None:
    speeds = measure([clip, clip], formats(gops=(1, 8)), repeats=3)
    assert speeds[0].times_naive == 1
    by_name = {(s.name, s.reader): s for s in speeds}
    jpeg, intra = by_name["JPEG 95 4:4:4", "OpenCV"], by_name["H.264 gop 1 (all-intra)", "seek (PyAV)"]
    assert jpeg.times_naive > 3
    assert by_name["H.264 gop 8", "seek (PyAV)"].bytes_per_frame < intra.bytes_per_frame
    assert all(s.pairs_low_hz <= s.pairs_hz <= s.pairs_high_hz for s in speeds)
    assert all(s.psnr_db > 30 for s in speeds)
    assert len(speed_table(speeds)) == len(speeds) + 2


def test_psnr_of_a_known_error() -> None:
    true = np.zeros((4, 4, 3), np.uint8)
    assert psnr_db(true + np.uint8(5), true) == pytest.approx(20 * np.log10(255 / 5), abs=1e-3)


def test_crops_come_from_videos_that_are_long_enough(ball_clip: Path) -> None:
    assert centre_crops(ball_clip.parent, 3, 20, 64)[0].shape == (20, 64, 64, 3)
    with pytest.raises(ValueError, match="100 frames"):
        centre_crops(ball_clip.parent, 3, 100, 64)
