"""Frames that are reached by seeking against the same frames of one decode from the start."""

import random
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_pipeline import media, video
from data_pipeline.frame_rate import TimedFrame

COUNT = 150
LONG_GOP = {"g": "40", "bf": "3", "preset": "veryfast", "threads": "1", "sc_threshold": "0"}


def picture(number: int) -> np.ndarray:
    """A texture that moves and changes now and then; no two are alike."""
    rng = np.random.default_rng(number // 9)
    texture = np.kron(rng.integers(0, 255, (8, 12, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    return np.roll(texture, 3 * number, axis=1)


def film(path: Path, codec: str, options: dict[str, str], times_ms: list[int] | None = None) -> Path:
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        if times_ms:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(COUNT):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts = times_ms[number] if times_ms else number
            frame.time_base = Fraction(1, 1000 if times_ms else 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def h264(path: Path, **more: str) -> Path:
    return film(path, "libx264", LONG_GOP | {name.replace("_", "-"): value for name, value in more.items()})


def uneven(path: Path) -> Path:
    rng = random.Random(0)
    times = [0]
    while len(times) < COUNT:
        times.append(times[-1] + rng.choice([16, 33, 34, 100, 400]))
    return film(path, "libx264", LONG_GOP, times)


def edited(path: Path) -> Path:
    """Its edit list begins ten frames later than it did."""
    data = bytearray(h264(path).read_bytes())
    at = data.index(b"elst") + 12
    duration, start = struct.unpack_from(">Ii", data, at)
    scale = struct.unpack_from(">I", data, data.index(b"mdhd") + 16)[0]
    struct.pack_into(">Ii", data, at, duration, start + 10 * scale // 25)
    path.write_bytes(data)
    return path


def turned(path: Path) -> Path:
    data = bytearray(h264(path).read_bytes())
    one = 1 << 16
    struct.pack_into(">9i", data, data.index(b"tkhd") + 44, 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def cut_off(path: Path) -> Path:
    import av

    whole = h264(path)
    with (
        av.open(str(whole)) as source,
        av.open(str(path.with_suffix(".part.mp4")), "w", options={"movflags": "faststart"}) as out,
    ):
        stream = source.streams.video[0]
        copy: Any = out.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                out.mux(packet)
    data = path.with_suffix(".part.mp4").read_bytes()
    path.write_bytes(data[: len(data) * 4 // 5])
    return path


VP = {"deadline": "realtime", "cpu-used": "8", "g": "40", "auto-alt-ref": "1", "lag-in-frames": "12"}
OPEN_GOP = "open-gop=1:keyint=40:min-keyint=40:bframes=3:scenecut=0"
HEVC = f"{OPEN_GOP}:log-level=none:pools=none:frame-threads=1"
FILMS = {
    "long_gop.mp4": h264,
    "open_gop.mp4": lambda path: h264(path, flags="-cgop", x264_params=OPEN_GOP),
    "no_key_frames.mp4": lambda path: h264(path, x264_params="intra-refresh=1:keyint=40"),
    "hevc.mp4": lambda path: film(path, "libx265", {"preset": "ultrafast", "x265-params": HEVC}),
    "vp9.webm": lambda path: film(path, "libvpx-vp9", VP),
    "vp8.webm": lambda path: film(path, "libvpx", VP),
    "mpeg4.avi": lambda path: film(path, "mpeg4", {"g": "40", "bf": "2"}),
    "h264.avi": h264,
    "uneven.mp4": uneven,
    "uneven.mkv": uneven,
    "edited.mp4": edited,
    "turned.mp4": turned,
    "cut_off.mp4": cut_off,
    "no_index.ts": h264,
    "no_index_open.ts": lambda path: h264(path, flags="-cgop", x264_params=OPEN_GOP),
    "no_times.h264": h264,
}
SOUGHT = {
    "long_gop.mp4",
    "open_gop.mp4",
    "hevc.mp4",
    "vp9.webm",
    "uneven.mp4",
    "uneven.mkv",
    "edited.mp4",
    "turned.mp4",
}
"""Must be reached by seeking; of the rest only exactness is asked."""


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[TimedFrame]]]:
    """Name -> file and all its frames, decoded from the start."""
    folder = tmp_path_factory.mktemp("films")
    paths = {name: make(folder / name) for name, make in FILMS.items()}
    return {name: (path, list(video.read_timed_frames(path))) for name, path in paths.items()}


@pytest.fixture
def sought(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each seek, whether it gave all frames."""
    ends: list[bool] = []
    real = video._sought

    def noted(*arguments) -> Iterator:
        number, is_done = yield from real(*arguments)
        ends.append(is_done)
        return number, is_done

    monkeypatch.setattr(video, "_sought", noted)
    return ends


def ranges(count: int, seed: int) -> list[tuple[int, int | None]]:
    rng = random.Random(seed)
    some = [(start, start + rng.randrange(1, 6)) for start in rng.sample(range(video.SEEK_FROM_FRAMES, count), 12)]
    return [*some, (count - 1, None), (count - 9, count + 9), (count, None), (count + 3, count + 4), (60, 60), (50, 49)]


def same(found: list[TimedFrame], wanted: list[TimedFrame]) -> bool:
    return len(found) == len(wanted) and all(
        a.time_s == b.time_s and np.array_equal(a.frame, b.frame) for a, b in zip(found, wanted, strict=True)
    )


@pytest.mark.parametrize("knows", ["the file's index", "exact times", "times as floats"])
@pytest.mark.parametrize("name", FILMS)
def test_a_far_start_gives_what_decoding_from_the_start_gives(
    films: dict[str, tuple[Path, list[TimedFrame]]], sought: list[bool], name: str, knows: str
) -> None:
    path, whole = films[name]
    exact = [time_s for time_s, _ in whole]
    times = {"exact times": exact, "times as floats": np.array([float(t) for t in exact])}.get(knows)
    for start, stop in ranges(len(whole), seed=len(name)):
        found = list(video.read_timed_frames(path, start, stop, times_s=times))
        assert same(found, whole[start:stop]), (start, stop)
        plain = list(video.read_frames(path, start, stop, times_s=times))
        assert len(plain) == len(found)
        assert all(np.array_equal(a, b.frame) for a, b in zip(plain, found, strict=True))
    if name in SOUGHT:
        inside = [is_done for is_done in sought if is_done]
        assert len(inside) == 28  # 14 ranges that begin inside the file, each read twice


@pytest.mark.parametrize("name", FILMS)
def test_times_are_those_of_the_frames_that_decode(films: dict[str, tuple[Path, list[TimedFrame]]], name: str) -> None:
    path, whole = films[name]
    expected = [float(time_s) for time_s, _ in whole]
    assert video.read_timestamps(path) == expected
    assert {"edited.mp4": COUNT - 10, "cut_off.mp4": len(whole)}.get(name, COUNT) == len(whole)


def test_frame_numbers_hold_in_damaged_files(films: dict[str, tuple[Path, list[TimedFrame]]], tmp_path: Path) -> None:
    """Flipped bits make decoders lose frames, which no index tells; the times of those that came do."""
    data = films["long_gop.mp4"][0].read_bytes()
    first, end = data.index(b"mdat") + 4, data.index(b"moov")
    rng = random.Random(3)
    intact = dict(films["long_gop.mp4"][1])
    counts = set()
    for trial in range(16):
        damaged = bytearray(data)
        for _ in range(4):
            damaged[rng.randrange(first, end)] ^= 1 << rng.randrange(8)
        path = tmp_path / f"{trial}.mp4"
        path.write_bytes(damaged)
        whole = list(video.read_timed_frames(path))
        counts.add(len(whole))
        times = [time_s for time_s, _ in whole]
        # Of frames with damage, decoders with several threads do not always paint the same: sound is what always is.
        readings = [whole, *(list(video.read_timed_frames(path)) for _ in range(2))]
        sound = set.intersection(*({t for t, f in one if np.array_equal(f, intact[t])} for one in readings))
        for start, stop in ranges(len(whole), seed=trial)[:5]:
            found = list(video.read_timed_frames(path, start, stop, times_s=times))
            assert [time_s for time_s, _ in found] == times[start:stop]
            assert all(np.array_equal(frame, intact[t]) for t, frame in found if t in sound), (trial, start, stop)
    assert len(counts) > 1  # frames were lost in some of them


def test_every_odd_file_of_the_test_media_is_reached_exactly(shared_data: Path) -> None:
    names = ["odd_333x251_yuv444.mp4", "start_offset_5s.mp4", "fps120_audio_longer.mp4"]
    for name in [*names, "real_cat_yuv444_100fps_500x164.mp4"]:
        path = shared_data / "media/broken" / name
        whole = list(video.read_timed_frames(path))
        for start, stop in ((48, 52), (len(whole) - 2, None)):
            found = list(video.read_timed_frames(path, start, stop))
            assert same(found, whole[start:stop]), (name, start)


def test_a_lost_frame_of_the_test_media_moves_no_number(shared_data: Path) -> None:
    path = shared_data / "media/broken/bitflips_in_mdat.mp4"
    times = [time_s for time_s, _ in video.read_timed_frames(path)]
    assert len(times) == 59
    assert [time_s for time_s, _ in video.read_timed_frames(path, 48, 53)] == times[48:53]
    assert [time_s for time_s, _ in video.read_timed_frames(path, 57, None, times_s=times)] == times[57:]


def test_wrong_times_cost_time_but_not_exactness(films: dict[str, tuple[Path, list[TimedFrame]]]) -> None:
    path, whole = films["long_gop.mp4"]
    right = [time_s for time_s, _ in whole]
    for wrong in (right[3:], [t * 2 for t in right], right[::-1], [Fraction(0)] * COUNT, [], right[:70]):
        assert same(list(video.read_timed_frames(path, 90, 95, times_s=wrong)), whole[90:95])


def test_bytes_are_sought_like_files(films: dict[str, tuple[Path, list[TimedFrame]]], sought: list[bool]) -> None:
    path, whole = films["long_gop.mp4"]
    assert same(list(video.read_timed_frames(path.read_bytes(), 100, 104)), whole[100:104])
    assert sought == [True]


def test_a_photo_and_an_animation_have_times(tmp_path: Path) -> None:
    from PIL import Image

    frames = [Image.new("RGB", (32, 32), (i * 60, 0, 0)) for i in range(4)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=[50, 200, 50, 50])
    frames[1].save(tmp_path / "a.png")
    times = [float(time_s) for time_s, _ in media.read_timed_frames(tmp_path / "a.gif")]
    assert times == pytest.approx([0, 0.05, 0.25, 0.3])
    assert [float(time_s) for time_s, _ in media.read_timed_frames(tmp_path / "a.png")] == [0]
    later = list(media.read_timed_frames(tmp_path / "a.gif", 1, 3))
    assert [float(time_s) for time_s, _ in later] == pytest.approx([0.05, 0.25])
