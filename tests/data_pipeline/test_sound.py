from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from data_pipeline.container import VideoError
from data_pipeline.video import read_frames, read_info, write_video

FPS = Fraction(25)
GREY = np.full((32, 32, 3), 90, np.uint8)
ONSET_S = 0.5


def film(
    path: Path, *, seconds: float = 2.0, sound_s: float | None = 2.0, rate: int = 48_000, layout: str = "stereo",
    video_from_s: float = 0.0, sound_from_s: float = 0.0, hole: tuple[float, float] | None = None, flash_s: float = 0.5,
) -> Path:  # fmt: skip
    """A Matroska file with uncompressed sound: at `flash_s` of its clock the picture turns white and a tone begins."""
    with av.open(str(path), "w", format="matroska") as container:
        picture = container.add_stream("libx264", rate=FPS) if seconds else None
        sound = container.add_stream("pcm_s16le", rate=rate, layout=layout) if sound_s else None
        if picture is not None:
            picture.width = picture.height = 32
            picture.pix_fmt = "yuv420p"
            for i in range(round(seconds * FPS)):
                time_s = video_from_s + i / float(FPS)
                frame = av.VideoFrame.from_ndarray(GREY if time_s < flash_s else GREY + 160, format="rgb24")
                frame.pts, frame.time_base = round(time_s * 1000), Fraction(1, 1000)
                container.mux(picture.encode(frame))
            container.mux(picture.encode())
        if sound is not None:
            channels = sound.layout.nb_channels
            block = rate // 50
            for start in range(0, int(sound_s * rate), block):
                times = sound_from_s + (start + np.arange(block)) / rate
                if hole and hole[0] <= times[0] < hole[1]:
                    continue
                wave = np.where(times >= flash_s, 0.3 * np.sin(2 * np.pi * 440 * times), 0.0)
                samples = np.repeat((wave * 32767).astype(np.int16)[:, None], channels, axis=1).reshape(1, -1)
                part = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
                part.rate, part.time_base = rate, Fraction(1, rate)
                part.pts = round(times[0] * rate)
                container.mux(sound.encode(part))
            container.mux(sound.encode())
    return path


def heard(path: Path) -> tuple[np.ndarray, int]:
    """Loudness over time: the first channel of the sound laid out by its time stamps, and its rate."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        line = np.zeros(stream.rate * 6, np.float32)
        stop = 0
        for frame in container.decode(stream):
            samples = frame.to_ndarray()[0]
            at = round(frame.pts * frame.time_base * stream.rate)
            line[at : at + len(samples)] = samples
            stop = at + len(samples)
        return line[:stop], stream.rate


def onset_s(path: Path) -> float:
    line, rate = heard(path)
    return float(np.flatnonzero(np.abs(line) > 0.15)[0]) / rate


def carried(tmp_path: Path, source: Path, count: int = 40, **options: object) -> Path:
    out = tmp_path / "out.mp4"
    assert write_video(out, [GREY] * count, FPS, audio_from=source, **options) == count
    return out


@pytest.mark.parametrize(("layout", "channels"), [("mono", 1), ("stereo", 2), ("5.1", 2)])
def test_every_layout_arrives_as_loud_and_at_its_time(tmp_path: Path, layout: str, channels: int) -> None:
    out = carried(tmp_path, film(tmp_path / "a.mkv", layout=layout))
    line, rate = heard(out)
    assert onset_s(out) == pytest.approx(ONSET_S, abs=0.02)
    if layout != "5.1":  # its six equal channels are mixed down, which changes the loudness
        assert np.abs(line[rate : rate * 3 // 2]).max() == pytest.approx(0.3, abs=0.03)
    with av.open(str(out)) as container:
        assert container.streams.audio[0].layout.nb_channels == channels


@pytest.mark.parametrize("rate", [8_000, 22_255, 44_100, 192_000])
def test_every_rate_arrives_at_its_time(tmp_path: Path, rate: int) -> None:
    out = carried(tmp_path, film(tmp_path / "a.mkv", rate=rate))
    assert onset_s(out) == pytest.approx(ONSET_S, abs=0.02)


def test_long_sound_is_cut_and_short_sound_stays_short(tmp_path: Path) -> None:
    long, rate = heard(carried(tmp_path, film(tmp_path / "long.mkv", sound_s=5.0)))
    assert len(long) / rate == pytest.approx(40 / 25, abs=0.03)
    short, rate = heard(carried(tmp_path, film(tmp_path / "short.mkv", sound_s=0.8)))
    assert len(short) / rate == pytest.approx(0.8, abs=0.05)


def test_sound_that_starts_late_is_late(tmp_path: Path) -> None:
    source = film(tmp_path / "late.mkv", sound_from_s=0.4, flash_s=0.4)
    assert onset_s(carried(tmp_path, source)) == pytest.approx(0.4, abs=0.02)


def test_sound_before_the_first_picture_is_left_out(tmp_path: Path) -> None:
    source = film(tmp_path / "early.mkv", video_from_s=0.3, flash_s=0.8)
    assert onset_s(carried(tmp_path, source)) == pytest.approx(0.5, abs=0.02)


def test_a_hole_in_the_sound_does_not_pull_the_rest_forward(tmp_path: Path) -> None:
    source = film(tmp_path / "hole.mkv", hole=(0.1, 0.4))
    assert onset_s(carried(tmp_path, source)) == pytest.approx(ONSET_S, abs=0.02)


def test_the_written_part_may_begin_later_in_the_file(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mkv")
    assert onset_s(carried(tmp_path, source, audio_start_s=0.2)) == pytest.approx(0.3, abs=0.02)


def test_picture_and_sound_still_meet_after_a_round_trip(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mkv", video_from_s=0.3, sound_from_s=0.1, flash_s=1.1)
    out = tmp_path / "out.mp4"
    write_video(out, read_frames(source), FPS, audio_from=source)
    flash = next(i for i, frame in enumerate(read_frames(out)) if frame.mean() > 170)
    assert onset_s(out) == pytest.approx(flash / 25, abs=0.03)


def test_a_file_without_sound_gives_a_video_without_sound(tmp_path: Path) -> None:
    assert not read_info(carried(tmp_path, film(tmp_path / "mute.mkv", sound_s=None))).has_audio


def test_a_file_with_sound_only_will_do(tmp_path: Path) -> None:
    assert onset_s(carried(tmp_path, film(tmp_path / "song.mkv", seconds=0))) == pytest.approx(ONSET_S, abs=0.02)


def test_sound_that_is_damaged_does_not_cost_the_picture(tmp_path: Path) -> None:
    intact = tmp_path / "intact.mp4"
    write_video(intact, [GREY] * 50, FPS, audio_from=film(tmp_path / "a.mkv"))
    data = bytearray(intact.read_bytes())
    at = data.rfind(b"mdat") + 200
    data[at : at + 9000 : 3] = b"\xff" * len(data[at : at + 9000 : 3])
    (tmp_path / "damaged.mp4").write_bytes(data)
    assert len(list(read_frames(carried(tmp_path, tmp_path / "damaged.mp4")))) == 40


def test_what_is_no_media_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<html>" * 99)
    with pytest.raises(VideoError, match=r"page\.html"):
        write_video(tmp_path / "out.mp4", [GREY], FPS, audio_from=tmp_path / "page.html")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_sound_lies_beside_its_picture_in_the_file(tmp_path: Path) -> None:
    """Players that load a long file piece by piece need both kinds near each other."""
    out = carried(tmp_path, film(tmp_path / "a.mkv", seconds=4, sound_s=4), count=100)
    with av.open(str(out)) as container:
        places = {"video": [], "audio": []}
        for packet in container.demux():
            if packet.size:
                places[packet.stream.type].append((packet.pos, float(packet.pts * packet.time_base)))
    in_file_order = sorted((pos, time) for kind in places.values() for pos, time in kind)
    times = np.array([time for _, time in in_file_order])
    assert np.max(np.maximum.accumulate(times) - times) < 1.5
