"""Every file that a user could give as source or driver is read upright and whole, or refused in one sentence."""

import csv
import warnings
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from data_pipeline.media import MediaError, probe, read_frames, read_steady_frames, read_timing
from data_pipeline.photo import read_photo

MAX_FRAMES = 300
REFUSED = {
    "audio_only_no_video.mp4": "no video stream",
    "bomb_12000x12000_black.png": "megapixels",
    "huge_header_100000x100000.png": "megapixels",
    "one_pixel_1x1.png": "at least 16 a side",
    "one_row_480x1.png": "at least 16 a side",
    "text_renamed.mp4": "no picture or video",
    "text_renamed.png": "no picture or video",
    "truncated_half.jpg": "damaged",
    "truncated_no_moov.mp4": "is it complete",
    "video_track_zero_frames.mp4": "no video stream",
    "zero_byte.jpg": "empty",
    "zero_byte.mp4": "empty",
}
FRAMES = {
    "all_black_2s.mp4": 50,
    "animated.gif": 6,
    "animated.webp": 6,
    "fps120_audio_longer.mp4": 120,
    "odd_255x191_mjpeg.avi": 30,
    "odd_333x251_yuv444.mp4": 60,
    "real_cat_yuv444_100fps_500x164.mp4": 266,
    "rotation_metadata_90.mp4": 32,
    "single_frame.mp4": 1,
    "start_offset_5s.mp4": 60,
    "ten_bit_h264.mp4": 30,
    "variable_frame_rate.mp4": 40,
    "video name 猫 space.mp4": 60,
    "vp9.webm": 30,
}
DAMAGED = {"bitflips_in_mdat.mp4": (50, 60), "truncated_mid_moov_front.mp4": (4, 8)}
"""Files of which a part decodes: how many frames at least and at most."""
SIZES = {"exif_rotated_6.jpg": (360, 480), "exif_mirrored_2.jpg": (360, 480), "rotation_metadata_90.mp4": (256, 256)}
"""Upright height and width where the manifest tells the stored one, or none."""


class Opened(NamedTuple):
    kind: str
    num_frames: int
    size: tuple[int, int]
    first: np.ndarray


def open_or_refuse(path: Path) -> Opened | str:
    """Probe a file, read its first frame and then all of them, up to a cap; or the sentence that refuses it."""
    try:
        item = probe(path)
        first = next(read_frames(path))
        count = 0
        for frame in read_frames(path, 0, MAX_FRAMES):
            assert (frame.dtype, frame.ndim, frame.shape) == (np.uint8, 3, (item.height_px, item.width_px, 3))
            assert frame.flags.c_contiguous
            count += 1
    except MediaError as error:
        return str(error)
    return Opened(item.kind, count, (item.height_px, item.width_px), first)


@pytest.fixture
def broken(shared_data: Path) -> Path:
    return shared_data / "media" / "broken"


@pytest.fixture
def manifest(shared_data: Path) -> dict[str, dict[str, str]]:
    with (shared_data / "media" / "MANIFEST.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["path"].startswith("broken/")]
    return {row["path"].removeprefix("broken/"): row for row in rows}


@pytest.mark.timeout(120)
def test_every_file_is_read_or_refused(broken: Path, manifest: dict[str, dict[str, str]]) -> None:
    paths = sorted(broken.iterdir())
    assert len(paths) >= 45
    unseen = set(REFUSED) | set(FRAMES) | set(DAMAGED)
    for path in paths:
        assert manifest[path.name]["notes"].startswith("EXPECT")
        unseen.discard(path.name)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            answer = open_or_refuse(path)
        if path.name in REFUSED:
            assert isinstance(answer, str), f"{path.name} was read"
            assert REFUSED[path.name] in answer
            assert path.name in answer
            assert "\n" not in answer
            assert len(answer) < 300
        else:
            assert not isinstance(answer, str), answer
            check_read(path, answer, manifest[path.name])
    assert unseen == set()


def check_read(path: Path, answer: Opened, row: dict[str, str]) -> None:
    low, high = DAMAGED.get(path.name, (FRAMES.get(path.name, 1),) * 2)
    assert low <= answer.num_frames <= high, path.name
    is_film = path.name in FRAMES or path.name in DAMAGED
    assert answer.kind == ("video" if is_film else "image"), path.name
    if row["width"]:
        stored = (int(row["height"]), int(row["width"]))
        assert answer.size == SIZES.get(path.name, stored), path.name


KITTENS = ["cmyk.jpg", "exif_rotated_6.jpg", "jpeg_named_png.png", "palette.png", "rgb_16bit.png", "UPPER.JPEG"]


@pytest.mark.parametrize("name", KITTENS)
def test_the_kitten_looks_the_same_however_it_is_stored(broken: Path, name: str) -> None:
    """One photo in many formats: upright, and with the colours of the plain one."""
    import cv2

    plain = read_photo(broken / "noextension")
    other = cv2.resize(next(read_frames(broken / name)), plain.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(other.astype(int) - plain).mean() < 8


def test_mirrored_grey_and_see_through_kittens(broken: Path) -> None:
    import cv2

    plain = read_photo(broken / "noextension").astype(int)

    def small(name: str) -> np.ndarray:
        frame = next(read_frames(broken / name))
        return cv2.resize(frame, plain.shape[1::-1], interpolation=cv2.INTER_AREA).astype(int)

    assert np.abs(small("exif_mirrored_2.jpg") - plain).mean() < 8  # the orientation undoes the mirroring
    grey = plain @ np.array([0.299, 0.587, 0.114])
    for name in ("grayscale_1ch.jpg", "gray_16bit.png"):
        assert np.abs(small(name).mean(axis=2) - grey).mean() < 8
        assert np.ptp(small(name), axis=2).max() == 0
    see_through = small("rgba_partly_transparent.png")
    assert see_through[:, 0].min() == 255  # its sides are transparent, and lie over white
    assert np.abs(see_through[40:80, 60:100] - plain[40:80, 60:100]).mean() < 8


def test_timing_of_every_film_that_can_be_read(broken: Path) -> None:
    for name, count in FRAMES.items():
        timing = read_timing(broken / name)
        assert timing.is_variable == (name in {"animated.gif", "variable_frame_rate.mp4"}), name
        assert sum(1 for _ in read_steady_frames(broken / name, timing)) == timing.num_frames, name
        if not timing.is_variable and count > 1:
            assert timing.num_frames == count, name
    assert read_timing(broken / "variable_frame_rate.mp4").fps == 30
    assert read_timing(broken / "animated.gif").end_s == Fraction(92, 100)


def test_what_cannot_be_read_has_no_timing(broken: Path) -> None:
    for name in ("text_renamed.mp4", "zero_byte.jpg", "truncated_no_moov.mp4", "audio_only_no_video.mp4"):
        with pytest.raises(MediaError, match=name):
            read_timing(broken / name)


@pytest.mark.parametrize(
    "name", ["new\nline.jpg", "two\n\nlines.mp4", "tab\there", "-dash", "'quote\"", "a:b", "%05d.png"]
)
def test_awkward_names_are_no_options_and_make_no_second_line(tmp_path: Path, broken: Path, name: str) -> None:
    whole, text = tmp_path / "whole" / name, tmp_path / "text" / name
    for path in (whole, text):
        path.parent.mkdir()
    whole.write_bytes((broken / "single_frame.mp4").read_bytes())
    answer = open_or_refuse(whole)
    assert not isinstance(answer, str), answer
    assert answer.num_frames == 1
    text.write_text("no picture " * 99)
    answer = open_or_refuse(text)
    assert isinstance(answer, str)
    assert answer.isprintable()
    assert len(answer) < 300


def test_a_folder_and_nothing_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere.mp4", tmp_path / ("long" * 60 + ".mp4")):
        answer = open_or_refuse(path)
        assert isinstance(answer, str)
        assert path.name[:9] in answer or path.name[-9:] in answer
        assert len(answer) < 300


def test_random_bytes_are_read_or_refused(tmp_path: Path, broken: Path) -> None:
    """Flip bytes of good files: whatever comes of it is frames or one sentence."""
    rng = np.random.default_rng(0)
    for name in ("animated.gif", "animated.webp", "vp9.webm", "single_frame.mp4", "palette.png", "UPPER.JPEG"):
        good = np.frombuffer((broken / name).read_bytes(), np.uint8)
        for _ in range(12):
            bad = good.copy()
            places = rng.integers(0, len(bad), rng.integers(1, 40))
            bad[places] = rng.integers(0, 256, len(places))
            path = tmp_path / f"bad{Path(name).suffix}"
            path.write_bytes(bad[: rng.integers(len(bad) // 2, len(bad) + 1)].tobytes())
            answer = open_or_refuse(path)
            assert not isinstance(answer, str) or (answer.isprintable() and len(answer) < 300)
