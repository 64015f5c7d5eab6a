import errno
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from data_pipeline.media import read_frames
from data_pipeline.video import VideoError, read_info, write_video
from data_pipeline.whole_file import WriteError
from evaluation import outputs
from evaluation.outputs import Output, OutputSet, gif, mp4, output_for, png_folder, still, webp
from evaluation.side_by_side import row_picture

FPS = Fraction(30000, 1001)


class Step(NamedTuple):
    frame: np.ndarray
    result: np.ndarray
    driving: np.ndarray


def steps(count: int, side: int = 32) -> Iterator[Step]:
    for i in range(count):
        picture = np.full((side, side, 3), 40 + i % 150, np.uint8)
        picture[: side // 4, : side // 2] = (200, 30, 60)
        yield Step(picture, picture[:, ::-1].copy(), picture[::-1].copy())


def whole(step: Step) -> np.ndarray:
    return step.frame


def crop(step: Step) -> np.ndarray:
    return step.result


ROW = row_picture((lambda step: step.driving, lambda _: np.zeros((16, 16, 3), np.uint8), crop), 32)


def every_kind(folder: Path, picture: Callable[[Step], np.ndarray] = whole) -> list[Output]:
    return [
        mp4(folder / "cat.mp4", picture, FPS),
        mp4(folder / "cat_side_by_side.mp4", ROW, FPS),
        mp4(folder / "cat_crops.mp4", crop, FPS),
        png_folder(folder / "cat_frames", picture),
        gif(folder / "cat.gif", picture, FPS),
        webp(folder / "cat.webp", picture, FPS),
    ]


def write_all(files: Sequence[Output], stream: Iterable[Step]) -> OutputSet:
    with OutputSet(files) as running:
        for step in stream:
            running.push(step)
    return running


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def writers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("writes ")]


def test_one_stream_becomes_every_kind_of_file(tmp_path: Path) -> None:
    files = write_all(every_kind(tmp_path), steps(12))
    assert files.num_frames == {output.path: 12 for output in every_kind(tmp_path)}
    assert names(tmp_path) == sorted(output.path.name for output in every_kind(tmp_path))
    sources = list(steps(12))
    for name in ("cat.mp4", "cat.gif", "cat.webp"):
        shown = list(read_frames(tmp_path / name))
        assert len(shown) == 12
        assert all(np.abs(a.astype(int) - b.frame).mean() < 6 for a, b in zip(shown, sources, strict=True))
    assert names(tmp_path / "cat_frames") == [f"{i:06d}.png" for i in range(12)]
    with Image.open(tmp_path / "cat_frames" / "000007.png") as image:
        assert np.array_equal(np.array(image), sources[7].frame)
    assert read_info(tmp_path / "cat.mp4").fps == FPS
    assert next(read_frames(tmp_path / "cat_side_by_side.mp4")).shape == (32, 3 * 32 + 2 * 4, 3)
    assert np.abs(next(read_frames(tmp_path / "cat_crops.mp4")).astype(int) - sources[0].result).mean() < 6


def test_the_sound_of_another_file_comes_along(tmp_path: Path, shared_data: Path) -> None:
    spoken = shared_data / "media/human/video/driver_child_d11.mp4"
    write_all([mp4(tmp_path / "a.mp4", whole, Fraction(25), audio_from=spoken)], steps(20))
    assert read_info(tmp_path / "a.mp4").has_audio


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_still_is_one_picture(tmp_path: Path, name: str) -> None:
    write_all([still(tmp_path / name, whole)], steps(1))
    assert np.abs(next(read_frames(tmp_path / name)).astype(int) - next(steps(1)).frame).max() <= 12
    (tmp_path / name).unlink()
    with pytest.raises(WriteError, match=r"several frames.*\.mp4"):
        write_all([still(tmp_path / name, whole)], steps(50))
    assert names(tmp_path) == []


def test_the_ending_of_a_name_chooses_the_kind(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.gif", "a.webp", "a.PNG", "frames"):
        write_all([output_for(tmp_path / name, whole, FPS)], steps(1))
    assert names(tmp_path) == ["a.PNG", "a.gif", "a.mp4", "a.webp", "frames"]
    assert names(tmp_path / "frames") == ["000000.png"]
    with pytest.raises(WriteError, match=r"a\.avi.*\.mp4"):
        output_for(tmp_path / "a.avi", whole, FPS)


def test_a_long_stream_waits_for_the_slowest_file(tmp_path: Path) -> None:
    """2000 frames into every kind: only a handful are ever on their way."""
    pushed, seen, waiting = 0, [0] * 6, 0

    def counting(number: int, output: Output) -> Output:
        def counted(step: Step) -> np.ndarray:
            seen[number] += 1
            return output.picture(step)

        return replace(output, picture=counted)

    def counted_steps() -> Iterator[Step]:
        nonlocal pushed, waiting
        for step in steps(2000, side=16):
            waiting = max(waiting, pushed - min(seen))
            pushed += 1
            yield step

    running = write_all([counting(i, output) for i, output in enumerate(every_kind(tmp_path))], counted_steps())
    assert waiting <= outputs.WAITING_STEPS + 1
    assert set(running.num_frames.values()) == {2000}
    assert read_info(tmp_path / "cat.mp4").num_frames == 2000
    with Image.open(tmp_path / "cat.gif") as image:
        assert image.n_frames == 2000
    assert len(names(tmp_path / "cat_frames")) == 2000


@pytest.mark.parametrize("error", [ValueError("the network broke"), KeyboardInterrupt(), GeneratorExit()])
def test_an_error_in_the_stream_takes_everything_back(tmp_path: Path, error: BaseException) -> None:
    old = tmp_path / "cat.mp4"
    write_video(old, [step.frame for step in steps(3)], FPS)
    before = old.read_bytes()

    def broken_off() -> Iterator[Step]:
        yield from steps(25)
        raise error

    with pytest.raises(type(error)):
        write_all(every_kind(tmp_path), broken_off())
    assert names(tmp_path) == ["cat.mp4"]
    assert old.read_bytes() == before
    assert writers() == []


@pytest.fixture
def ctrl_c() -> Iterator[Callable[[float], None]]:
    """Sends what Ctrl-C sends, after some seconds."""
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    timers: list[threading.Timer] = []

    def send_after(seconds: float) -> None:
        timers.append(threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)))
        timers[-1].start()

    yield send_after
    for timer in timers:
        timer.cancel()
    signal.signal(signal.SIGINT, old)


def slow(step: Step) -> np.ndarray:
    time.sleep(0.1)
    return step.frame


def test_ctrl_c_while_waiting_for_a_slow_file(tmp_path: Path, ctrl_c: Callable[[float], None]) -> None:
    ctrl_c(0.3)
    with pytest.raises(KeyboardInterrupt):
        write_all(every_kind(tmp_path, slow), steps(500))
    assert names(tmp_path) == []
    assert writers() == []


def test_ctrl_c_while_the_last_frames_are_written(tmp_path: Path, ctrl_c: Callable[[float], None]) -> None:
    def ending() -> Iterator[Step]:
        yield from steps(6)
        ctrl_c(0.1)

    with pytest.raises(KeyboardInterrupt):
        write_all([mp4(tmp_path / "a.mp4", slow, FPS)], ending())
    assert names(tmp_path) == []
    assert writers() == []


def test_a_file_that_fails_ends_the_others_soon(tmp_path: Path) -> None:
    def write(path: Path, pictures: Iterator[np.ndarray]) -> int:
        for _ in range(5):
            next(pictures)
        raise WriteError("b.bin: no")

    stream = steps(2000)
    with pytest.raises(WriteError, match=r"b\.bin: no"):
        write_all([*every_kind(tmp_path), Output(path=tmp_path / "b.bin", picture=whole, write=write)], stream)
    assert len(list(stream)) > 1900
    assert names(tmp_path) == []
    assert writers() == []


def test_a_finished_file_stays_when_another_fails_later(tmp_path: Path) -> None:
    def late(path: Path, pictures: Iterator[np.ndarray]) -> int:
        for _ in pictures:
            pass
        until = time.monotonic() + 10
        while not (tmp_path / "cat.mp4").exists() and time.monotonic() < until:
            time.sleep(0.005)
        raise WriteError("b.bin: the disk is full")

    broken = Output(path=tmp_path / "b.bin", picture=whole, write=late)
    with pytest.raises(WriteError, match="disk is full"):
        write_all([mp4(tmp_path / "cat.mp4", whole, FPS), broken], steps(4))
    assert names(tmp_path) == ["cat.mp4"]
    assert len(list(read_frames(tmp_path / "cat.mp4"))) == 4


def test_a_mistake_in_a_picture_comes_out_as_itself(tmp_path: Path) -> None:
    def wrong(step: Step) -> np.ndarray:
        raise ZeroDivisionError("in the picture")

    with pytest.raises(ZeroDivisionError, match="in the picture"):
        write_all(every_kind(tmp_path, wrong), steps(50))
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", range(6))
def test_no_frame_at_all_is_told(tmp_path: Path, kind: int) -> None:
    output = every_kind(tmp_path)[kind]
    with pytest.raises((WriteError, VideoError), match="no frame") as caught:
        write_all([output], [])
    assert output.path.name in str(caught.value)
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", range(6))
def test_a_disk_that_fills_up_is_told_in_one_sentence(tmp_path: Path, kind: int) -> None:
    """A limit on the size of files: the system refuses the write in the middle, as it does when the disk is full."""
    output = every_kind(tmp_path)[kind]
    rng = np.random.default_rng(0)
    noise = (rng.integers(0, 255, (160, 160, 3), np.uint8) for _ in range(400))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        with pytest.raises(WriteError, match="larger than files may be") as caught:
            write_all([output], (Step(frame, frame, frame) for frame in noise))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert output.path.name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


def test_a_full_disk_is_called_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(WriteError, match=r"cat_frames.*the disk is full"):
        write_all(every_kind(tmp_path), steps(40))
    assert names(tmp_path) == []


def test_frames_that_change_their_size_are_told(tmp_path: Path) -> None:
    for output in every_kind(tmp_path)[:1] + every_kind(tmp_path)[4:]:
        with pytest.raises(ValueError, match="frame 2 is") as caught:
            write_all([output], [*steps(2), *steps(30, side=64)])
        assert output.path.name in str(caught.value)
    assert names(tmp_path) == []


def test_what_cannot_be_written_is_refused_before_it_begins(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="written twice"):
        OutputSet([mp4(tmp_path / "a.mp4", whole, FPS), mp4(tmp_path / "x" / ".." / "a.mp4", crop, FPS)])
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="not a folder"), OutputSet([mp4(tmp_path / "file" / "a.mp4", whole, FPS)]):
        pytest.fail("the body must not run")
    assert writers() == []


def test_a_writer_that_has_enough_does_not_keep_the_others_waiting(tmp_path: Path) -> None:
    early = Output(path=tmp_path / "b.bin", picture=whole, write=lambda _, pictures: len([next(pictures)]))
    files = write_all([early, mp4(tmp_path / "a.mp4", whole, FPS)], steps(40))
    assert files.num_frames == {tmp_path / "b.bin": 1, tmp_path / "a.mp4": 40}
