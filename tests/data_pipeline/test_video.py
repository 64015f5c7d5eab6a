from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.video import (
    VideoError,
    encode_clip,
    read_frames,
    read_info,
    read_member,
    read_timestamps,
    write_video,
)


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
