import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from data_pipeline import media
from data_pipeline.video import (
    VideoError,
    encode_clip,
    is_variable_rate,
    read_frames,
    read_info,
    read_member,
    read_timed_frames,
    read_timestamps,
    read_timing,
    write_video,
)
from data_pipeline.whole_file import WriteError


def ramp(count: int, height: int = 32, width: int = 48) -> list[np.ndarray]:
    """Frames that differ by their grey level, so that order and loss show."""
    return [np.full((height, width, 3), 40 + 5 * i, np.uint8) for i in range(count)]


def test_a_clip_in_memory_keeps_every_frame_in_order() -> None:
    frames = ramp(30)
    back = read_member(encode_clip(frames, Fraction(25)))
    assert back.shape == (30, 32, 48, 3)
    assert np.abs(back.astype(int) - np.stack(frames)).max() <= 3


def test_the_same_frames_give_the_same_bytes() -> None:
    assert encode_clip(ramp(6), 25.0) == encode_clip(ramp(6), 25.0)


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30000, 1001), Fraction(12)])
def test_a_file_keeps_frame_rate_and_count_exactly(tmp_path: Path, fps: Fraction) -> None:
    path = tmp_path / "a.mp4"
    assert write_video(path, ramp(11), fps) == 11
    info = read_info(path)
    assert (info.fps, info.num_frames, info.has_audio) == (fps, 11, False)
    assert len(list(read_frames(path))) == 11
    assert np.allclose(np.diff(read_timestamps(path)), 1 / float(fps), atol=1e-4)


def test_a_range_of_frames_equals_the_same_frames_of_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, ramp(20), Fraction(25))
    whole = list(read_frames(path))
    assert all(np.array_equal(a, b) for a, b in zip(read_frames(path, 5, 9), whole[5:9], strict=True))


def test_odd_sizes_lose_their_last_row_and_column(tmp_path: Path) -> None:
    path = tmp_path / "odd.mp4"
    write_video(path, ramp(3, 33, 47), Fraction(25))
    assert next(read_frames(path)).shape == (32, 46, 3)


def test_nothing_is_left_behind_when_writing_fails(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no frame"):
        write_video(tmp_path / "a.mp4", [], Fraction(25))
    with pytest.raises(VideoError, match="frame 1"):
        write_video(tmp_path / "a.mp4", [*ramp(1), *ramp(1, 64)], Fraction(25))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"<html>not a video</html>" * 40])
def test_what_is_no_video_is_told_with_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "page.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"page\.mp4"):
        read_info(path)


def test_a_file_cut_in_half_gives_its_good_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    rng = np.random.default_rng(0)
    write_video(path, [rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(30)], Fraction(25), gop=5)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert 3 < len(list(read_frames(path))) < 30


def test_sound_is_carried_over_and_cut(tmp_path: Path, shared_data: Path) -> None:
    spoken = shared_data / "media/human/video/driver_child_d11.mp4"
    path = tmp_path / "a.mp4"
    write_video(path, ramp(25), Fraction(25), audio_from=spoken)
    import av

    assert read_info(path).has_audio
    with av.open(str(path)) as container:
        seconds = sum(frame.samples for frame in container.decode(audio=0)) / container.streams.audio[0].rate
    assert seconds == pytest.approx(1.0, abs=0.06)


def test_what_cannot_be_encoded_is_told_with_its_name(tmp_path: Path) -> None:
    for frames, fps, said in (
        ([], Fraction(25), "no frame"),
        (ramp(2), Fraction(0), "no frame rate"),
        (ramp(2, 1, 8), Fraction(25), "too small"),
        ([*ramp(2), *ramp(1, 64)], Fraction(25), "frame 2"),
        (ramp(2, 16, 40_000), Fraction(25), "cannot be encoded"),
    ):
        with pytest.raises(VideoError, match=said) as caught:
            write_video(tmp_path / "odd name:.mp4", frames, fps)
        assert "odd name:.mp4" in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(WriteError, match="is a folder"):
        write_video(tmp_path, ramp(1), Fraction(25))
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_source_is_not_taken_for_one_of_the_disk(tmp_path: Path) -> None:
    def broken():
        yield from ramp(3)
        raise OSError("the camera was unplugged")

    with pytest.raises(OSError, match="unplugged"):
        write_video(tmp_path / "a.mp4", broken(), Fraction(25))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [(64, 96), (33, 47), (46, 98)])
def test_colours_arrive_and_are_named(tmp_path: Path, size: tuple[int, int]) -> None:
    """Browsers take a file that does not name its colours for another kind when it is large: red turns orange."""
    import av

    red = np.full((*size, 3), (200, 30, 60), np.uint8)
    write_video(tmp_path / "a.mp4", [red] * 3, Fraction(25), crf=4)
    assert np.abs(next(read_frames(tmp_path / "a.mp4")).astype(int) - (200, 30, 60)).max() <= 4
    with av.open(str(tmp_path / "a.mp4")) as container:
        frame = next(container.decode(video=0))
    assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (1, 1, 1, 1)


def test_the_encoder_options_reach_the_encoder(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (256, 64, 3), np.uint8) for _ in range(4)]
    for preset, threads in (("veryfast", 4), ("veryfast", 1), ("ultrafast", 0)):
        write_video(tmp_path / f"{preset}{threads}.mp4", frames, Fraction(25), preset=preset, threads=threads)
    assert b"threads=4" in (tmp_path / "veryfast4.mp4").read_bytes()
    assert b"threads=1" in (tmp_path / "veryfast1.mp4").read_bytes()
    assert b"cabac=0" in (tmp_path / "ultrafast0.mp4").read_bytes()  # ultrafast turns it off


def with_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Overwrite the display matrix of an mp4's first track."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    one = 1 << 16
    data[at : at + 36] = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("matrix", "expected", "rotation_deg"),
    [
        ((1, 0, 0, 1), "ABCD", 0),
        ((0, 1, -1, 0), "CADB", 90),
        ((-1, 0, 0, -1), "DCBA", 180),
        ((0, -1, 1, 0), "BDAC", 270),
        ((-1, 0, 0, 1), "BADC", 0),  # the mirror of a front camera
        ((1, 0, 0, -1), "CDAB", None),
    ],
)
def test_turned_and_mirrored_films_come_upright(
    tmp_path: Path, matrix: tuple[int, int, int, int], expected: str, rotation_deg: int | None
) -> None:
    """Four quarters A B / C D of different grey; the matrix says where a player shows them."""
    grey = {"A": 30, "B": 90, "C": 150, "D": 210}
    frame = np.zeros((32, 48, 3), np.uint8)
    frame[:16, :24], frame[:16, 24:], frame[16:, :24], frame[16:, 24:] = (grey[name] for name in "ABCD")
    path = tmp_path / "a.mp4"
    write_video(path, [frame] * 2, Fraction(25), crf=8)
    with_matrix(path, *matrix)
    upright = next(read_frames(path))
    height, width = upright.shape[:2]
    info = read_info(path)
    assert (info.height_px, info.width_px) == (height, width) == ((48, 32) if matrix[0] == 0 else (32, 48))
    assert upright.flags.c_contiguous
    quarters = [upright[y, x, 0] for y in (height // 4, height * 3 // 4) for x in (width // 4, width * 3 // 4)]
    assert quarters == pytest.approx([grey[name] for name in expected], abs=6)
    if rotation_deg is not None:
        assert info.rotation_deg == rotation_deg or matrix == (-1, 0, 0, 1)


def filmed(path: Path, times_ms: list[int]) -> Path:
    """A file whose frames, of rising grey, are shown at these times."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1000)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for i, time_ms in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 20 + 4 * i, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


UNEVEN_MS = [0, 33, 67, 300, 333, 367, 700, 717, 733, 767, 800, 1000]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_uneven_frames_keep_their_times(tmp_path: Path, name: str) -> None:
    path = filmed(tmp_path / name, UNEVEN_MS)
    timed = list(read_timed_frames(path))
    assert [time_s for time_s, _ in timed] == [Fraction(time_ms, 1000) for time_ms in UNEVEN_MS]
    assert [int(frame.mean()) for _, frame in timed] == pytest.approx([20 + 4 * i for i in range(12)], abs=2)
    assert is_variable_rate(path)
    timing = read_timing(path)
    assert timing.fps == 30
    frames = list(media.read_steady_frames(path))
    assert len(frames) == timing.num_frames
    for slot, frame in enumerate(frames):
        expected = max(i for i, t in enumerate(UNEVEN_MS) if t <= slot * 1000 / 30 + 1000 / 60)
        assert abs(frame.mean() - (20 + 4 * expected)) <= 2, slot


def test_the_frames_of_an_even_file_are_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, ramp(14), Fraction(30000, 1001))
    assert not is_variable_rate(path)
    timing = media.read_timing(path)
    assert (timing.fps, timing.num_frames) == (Fraction(30000, 1001), 14)
    assert len(list(media.read_steady_frames(path))) == 14
    assert [time_s for time_s, _ in read_timed_frames(path)] == [i * Fraction(1001, 30000) for i in range(14)]


def test_the_uneven_film_of_the_test_media(shared_data: Path) -> None:
    """Its manifest tells the true times of its frames."""
    import csv

    with (shared_data / "media/MANIFEST.csv").open(newline="") as handle:
        notes = next(row["notes"] for row in csv.DictReader(handle) if row["path"].endswith("variable_frame_rate.mp4"))
    true_ms = [int(word) for word in notes.split(":")[-1].split()]
    timed = list(read_timed_frames(shared_data / "media/broken/variable_frame_rate.mp4"))
    assert [float(time_s) * 1000 for time_s, _ in timed] == pytest.approx(true_ms, abs=1.1)


@pytest.mark.parametrize("name", ["rotation_metadata_90.mp4", "ten_bit_h264.mp4", "vp9.webm", "odd_333x251_yuv444.mp4"])
def test_odd_files_give_what_opencv_gives(shared_data: Path, name: str) -> None:
    import cv2

    path = shared_data / "media/broken" / name
    capture = cv2.VideoCapture(str(path))
    for frame in read_frames(path, 0, 8):
        is_read, other = capture.read()
        assert is_read
        assert frame.shape == other.shape
        assert np.abs(frame.astype(int) - other[..., ::-1]).mean() < 2
    capture.release()
