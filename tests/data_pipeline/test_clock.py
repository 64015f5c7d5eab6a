from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from data_pipeline.clock import Clock, at_constant_rate, read_clock
from data_pipeline.media import probe
from data_pipeline.records import MediaItem, Shot, Track
from data_pipeline.video import write_video


def uneven_video(path: Path, times_ms: list[int], frames: list[np.ndarray]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, 1000)
        stream.codec_context.time_base = Fraction(1, 1000)
        for time_ms, pixels in zip(times_ms, frames, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def track_of(count: int) -> Track:
    media = MediaItem(path=Path("x"), kind="video", source_id="0", num_frames=0, fps=25.0, height_px=9, width_px=9)
    rows = np.arange(count, dtype=np.float32)
    return Track(
        shot=Shot(media=media, start=0, stop=count),
        species="cat",
        frames=np.arange(count),
        boxes=np.tile(rows[:, None], (1, 4)),
        points=np.tile(rows[:, None, None], (1, 5, 2)),
        scores=rows,
    )


TIMES_MS = [*range(0, 400, 40), *range(400, 1400, 100), *range(1400, 2000, 40)]


def test_an_uneven_video_tells_its_times_and_spans_go_by_them(tmp_path: Path) -> None:
    frames = [np.full((32, 32, 3), i * 7, np.uint8) for i in range(len(TIMES_MS))]
    clock = read_clock(probe(uneven_video(tmp_path / "a.mp4", TIMES_MS, frames)))
    assert clock.is_variable
    assert clock.fps == 25
    assert np.allclose(clock.times_s * 1000, TIMES_MS, atol=1.1)
    assert clock.frame_at(1.0) == TIMES_MS.index(1000)
    assert clock.frame_at(99.0) > len(TIMES_MS)
    assert len(clock.at(40)) == 40


def test_an_even_video_and_a_still_are_even(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", [np.zeros((32, 32, 3), np.uint8)] * 20, Fraction(20))
    clock = read_clock(probe(tmp_path / "a.mp4"))
    assert (clock.is_variable, clock.fps, clock.frame_at(0.5)) == (False, 20.0, 10)
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "a.png")
    assert read_clock(probe(tmp_path / "a.png")).fps == 0


def test_frames_are_those_nearest_to_the_constant_grid() -> None:
    times = np.array(TIMES_MS) / 1000
    (track,) = at_constant_rate(track_of(len(times)), times, 25.0)
    shown = np.arange(len(track.frames)) / 25
    assert shown[-1] == pytest.approx(times[-1], abs=0.02)
    best = np.abs(times[None] - shown[:, None]).min(axis=1)
    assert np.allclose(np.abs(times[track.frames] - shown), best)
    assert (np.diff(track.frames) >= 0).all()
    assert (track.scores == track.frames).all()


def test_even_frames_come_out_unchanged_and_a_long_still_ends_the_track() -> None:
    even = np.arange(20) / 25
    (track,) = at_constant_rate(track_of(20), even, 25.0)
    assert track.frames.tolist() == list(range(20))
    held = np.where(np.arange(20) < 8, even, even + 3)
    first, second = at_constant_rate(track_of(20), held, 25.0)
    assert (first.frames.tolist(), second.frames.tolist()) == (list(range(8)), list(range(8, 20)))


def test_a_broken_clock_goes_on_at_the_rate() -> None:
    clock = Clock(fps=10.0, is_variable=True, times_s=np.array([0.0, 0.3]))
    assert np.allclose(clock.at(4), [0.0, 0.3, 0.4, 0.5])
