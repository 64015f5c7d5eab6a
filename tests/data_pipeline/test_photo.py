from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_pipeline import media, photo
from data_pipeline.photo import (
    PhotoError,
    decode_jpeg,
    encode_jpeg,
    encode_png,
    is_photo,
    read_photo,
    read_timed_animation,
    write_photo,
    write_photo_folder,
)
from data_pipeline.whole_file import WriteError


def noise(height: int = 31, width: int = 45) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)


def animation(path: Path, durations_ms: list[int]) -> Path:
    frames = [Image.fromarray(np.full((20, 24, 3), 20 + 30 * i, np.uint8)) for i in range(len(durations_ms))]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations_ms)
    return path


def test_a_png_is_exact_and_a_jpeg_is_close(tmp_path: Path) -> None:
    for name, limit in (("a.png", 0), ("a.PNG", 0), ("a.jpg", 40), ("a.jpeg", 40)):
        write_photo(tmp_path / "new" / name, noise())
        assert np.abs(read_photo(tmp_path / "new" / name).astype(int) - noise()).max() <= limit
    assert np.abs(decode_jpeg(encode_jpeg(noise())).astype(int) - noise()).mean() < 5
    assert encode_png(noise()).startswith(b"\x89PNG")


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match=r"a\.tiff.*\.png"):
        write_photo(tmp_path / "a.tiff", noise())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_frames_is_exact_and_in_order(tmp_path: Path) -> None:
    frames = [noise(16, 16) // (i + 1) for i in range(12)]
    assert write_photo_folder(tmp_path / "frames", iter(frames)) == 12
    paths = sorted((tmp_path / "frames").iterdir())
    assert [path.name for path in paths] == [f"{i:06d}.png" for i in range(12)]
    assert all(np.array_equal(read_photo(path), frame) for path, frame in zip(paths, frames, strict=True))


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_the_frames_of_an_animation_have_their_times(tmp_path: Path, name: str) -> None:
    durations = [40, 200, 40, 500, 40, 100]
    path = animation(tmp_path / name, durations)
    timed = list(read_timed_animation(path))
    assert [time_s * 1000 for time_s, _ in timed] == [0, 40, 240, 280, 780, 820]
    assert [round(float(frame.mean()), -1) for _, frame in timed] == [20 + 30 * i for i in range(6)]
    assert photo.read_info(path).fps == pytest.approx(Fraction(6000, 920), rel=1e-3)
    timing = media.read_timing(path)
    assert (timing.fps, timing.num_frames, timing.is_variable) == (25, 23, True)
    steady = [round(float(frame.mean()), -1) for frame in media.read_steady_frames(path)]
    expected = [20] * 1 + [50] * 5 + [80] * 1 + [110] * 12 + [140] * 1 + [170] * 3
    assert sum(a != b for a, b in zip(steady, expected, strict=True)) <= 2  # halves of a period may fall either way


def test_an_even_animation_is_not_touched(tmp_path: Path) -> None:
    path = animation(tmp_path / "a.webp", [80] * 5)
    timing = media.read_timing(path)
    assert (timing.fps, timing.num_frames, timing.is_variable) == (Fraction(25, 2), 5, False)
    assert len(list(media.read_steady_frames(path))) == 5


def test_a_still_has_no_rate(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.png", noise())
    timing = media.read_timing(tmp_path / "a.png")
    assert (timing.fps, timing.num_frames, timing.is_variable) == (0, 1, False)
    assert len(list(media.read_steady_frames(tmp_path / "a.png"))) == 1


def test_a_damaged_picture_is_still_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "of another kind.jpg"
    write_photo(path, noise(200, 200))
    path.write_bytes(path.read_bytes()[:4000])
    assert is_photo(path)
    with pytest.raises(PhotoError, match="damaged"):
        read_photo(path)
    (tmp_path / "text").write_text("no picture" * 50)
    assert not is_photo(tmp_path / "text")


def test_a_message_about_a_strange_name_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "new\nline.jpg"
    path.write_text("no picture" * 50)
    with pytest.raises(media.MediaError, match=r"new\\nline\.jpg") as caught:
        media.probe(path)
    assert "\n" not in str(caught.value)
