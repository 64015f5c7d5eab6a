import tracemalloc
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_pipeline.moving_picture import write_gif, write_webp
from data_pipeline.whole_file import WriteError

Writer = Callable[..., int]
KINDS = [(write_gif, "a.gif"), (write_webp, "a.webp")]


def film(count: int, height: int = 40, width: int = 61) -> list[np.ndarray]:
    """A still gradient with a square that wanders over it."""
    y, x = np.mgrid[:height, :width]
    ground = np.stack([x * 4 % 256, y * 6 % 256, (x + y) * 2 % 256], axis=2).astype(np.uint8)
    frames = []
    for i in range(count):
        frame = ground.copy()
        frame[5 + i % 20 : 15 + i % 20, i % 40 : i % 40 + 12] = (250, 40, 60)
        frames.append(frame)
    return frames


def read(path: Path) -> tuple[list[np.ndarray], list[int]]:
    """What Pillow, with libwebp's decoder, shows, and for how many milliseconds."""
    frames, durations = [], []
    with Image.open(path) as image:
        for number in range(image.n_frames):
            image.seek(number)
            image.load()
            frames.append(np.array(image.convert("RGB")))
            durations.append(image.info["duration"])
    return frames, durations


def psnr(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    return float(10 * np.log10(255**2 / np.mean((np.stack(a).astype(float) - np.stack(b)) ** 2)))


@pytest.mark.parametrize(("write", "name"), KINDS)
def test_every_frame_is_there_and_looks_like_itself(tmp_path: Path, write: Writer, name: str) -> None:
    frames = film(30)
    assert write(tmp_path / name, iter(frames), Fraction(25)) == 30
    back, durations = read(tmp_path / name)
    assert len(back) == 30
    assert durations == [40] * 30
    assert psnr(back, frames) > 27
    assert all(np.abs(a.astype(int) - b).mean() < 9 for a, b in zip(back, frames, strict=True))
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(("write", "name"), KINDS)
def test_equal_frames_are_kept_and_one_is_enough(tmp_path: Path, write: Writer, name: str) -> None:
    still = film(1)[0]
    assert write(tmp_path / name, [still] * 5, Fraction(10)) == 5
    back, durations = read(tmp_path / name)
    assert len(back) == 5
    assert sum(durations) == 500
    assert psnr(back, [still] * 5) > 27
    assert write(tmp_path / name, [still], Fraction(10)) == 1
    with Image.open(tmp_path / name) as image:
        assert np.abs(np.array(image.convert("RGB")).astype(int) - still).mean() < 9


def test_what_does_not_change_is_not_coded_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (128, 128, 3), np.uint8)
    moving = [noise.copy() for _ in range(20)]
    for i, frame in enumerate(moving):
        frame[60:70, 60:70] = i * 10
    for write, name in KINDS:
        write(tmp_path / name, moving[:1], Fraction(25))
        one = (tmp_path / name).stat().st_size
        write(tmp_path / name, moving, Fraction(25))
        assert (tmp_path / name).stat().st_size < 2.5 * one
        assert np.array_equal(read(tmp_path / name)[0][-1][:50], read(tmp_path / name)[0][0][:50])


@pytest.mark.parametrize(("fps", "played"), [("30", "30"), ("30000/1001", "30000/1001"), ("12", "12"), ("60", "50")])
def test_a_gif_keeps_the_time_as_well_as_it_can(tmp_path: Path, fps: str, played: str) -> None:
    write_gif(tmp_path / "a.gif", film(60), Fraction(fps))
    _, durations = read(tmp_path / "a.gif")
    assert len(durations) == 60
    assert sum(durations) == pytest.approx(60_000 / Fraction(played), abs=5)
    assert min(durations) >= 20


def test_a_webp_keeps_the_time_to_the_millisecond(tmp_path: Path) -> None:
    write_webp(tmp_path / "a.webp", film(45), Fraction(30000, 1001))
    assert sum(read(tmp_path / "a.webp")[1]) == round(45 * 1001 / 30)


@pytest.mark.parametrize(("write", "name"), KINDS)
def test_what_cannot_be_written_is_told_and_leaves_nothing(tmp_path: Path, write: Writer, name: str) -> None:
    for frames, fps, said in (
        ([], 25, "no frame"),
        ([*film(2), *film(1, 41)], 25, "frame 2"),
        (film(1), 0, "no frame rate"),
        ([np.zeros((2, 70_000, 3), np.uint8)], 25, "too large"),
    ):
        with pytest.raises(WriteError, match=said) as caught:
            write(tmp_path / name, frames, Fraction(fps))
        assert name in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("write", "name"), KINDS)
def test_memory_does_not_grow_with_the_length(tmp_path: Path, write: Writer, name: str) -> None:
    def stream(count: int) -> Iterator[np.ndarray]:
        rng = np.random.default_rng(0)
        for _ in range(count):
            yield rng.integers(0, 255, (24, 24, 3), np.uint8)

    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            write(tmp_path / name, stream(count), Fraction(25))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few = peak(20), (tmp_path / name).stat().st_size
    many = peak(200), (tmp_path / name).stat().st_size
    assert many[1] > few[1] + 70_000
    assert many[0] < few[0] + 20_000
