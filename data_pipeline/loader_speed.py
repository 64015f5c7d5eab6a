"""Clips -> a table of member formats: random pairs a second, bytes a frame, PSNR (docs/shards.md holds the result).

python -m data_pipeline.loader_speed FOLDER_OF_VIDEOS --clips 40 --side 256
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from data_pipeline.container import opened
from data_pipeline.ledger import table
from data_pipeline.video import DEFAULT_FPS, encode_clip, read_frames, read_member

Frames = UInt8[np.ndarray, "T S S 3"]
Pair = tuple[int, int]
NAIVE = "whole clip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One way to store a clip and one way to read two of its frames."""

    name: str
    reader: str
    encode: Callable[[np.ndarray], Any]
    """Frames -> what is stored: bytes, or one bytes object per frame."""
    read_pair: Callable[[Any, Pair], list[np.ndarray]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What was measured of one format."""

    name: str
    reader: str
    bytes_per_frame: float
    psnr_db: float
    pairs_hz: float
    """Median over the repeats."""
    pairs_low_hz: float
    pairs_high_hz: float
    times_naive: float
    """Against decoding whole clips of today's default format (H.264, gop 1)."""


def read_pair_whole(data: bytes, pair: Pair) -> list[np.ndarray]:
    """The naive way: decode all frames and take two."""
    frames = read_member(data)
    return [frames[i] for i in pair]


def read_pair_seek(data: bytes, pair: Pair) -> list[np.ndarray]:
    """Two frames by seeking to the key frame before each; frames between are decoded and not converted."""
    from av.video.reformatter import VideoReformatter

    convert, found = VideoReformatter(), {}
    with opened(data) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        ticks = 1 / ((stream.average_rate or DEFAULT_FPS) * stream.time_base)
        for index in sorted(set(pair)):
            wanted = round(index * ticks)
            container.seek(wanted, stream=stream, backward=True)
            for frame in container.decode(stream):
                if frame.pts is not None and frame.pts >= wanted - ticks / 2:
                    found[index] = convert.reformat(frame, format="rgb24", threads=1).to_ndarray()
                    break
    return [found[i] for i in pair]


def read_pair_decord(data: bytes, pair: Pair) -> list[np.ndarray]:
    """Two frames by decord's random access."""
    import decord

    reader = decord.VideoReader(io.BytesIO(data), num_threads=1)
    return list(reader.get_batch(list(pair)).asnumpy())


def read_pair_jpeg(frames: Sequence[bytes], pair: Pair) -> list[np.ndarray]:
    """Two of the stored JPEG frames, by OpenCV."""
    import cv2

    pictures = []
    for i in pair:
        decoded = cv2.imdecode(np.frombuffer(frames[i], np.uint8), cv2.IMREAD_COLOR)
        pictures.append(cv2.cvtColor(np.asarray(decoded), cv2.COLOR_BGR2RGB))
    return pictures


def encode_jpegs(frames: np.ndarray, quality: int, is_full_colour: bool) -> list[bytes]:
    """Frames -> JPEG bytes of each, with colour at full (4:4:4) or at half resolution (4:2:0)."""
    import cv2

    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444 if is_full_colour else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    return [cv2.imencode(".jpg", cv2.cvtColor(f, cv2.COLOR_RGB2BGR), options)[1].tobytes() for f in frames]


def formats(crf: int = 15, gops: Sequence[int] = (1, 4, 8, 16)) -> list[Format]:
    """What is compared; the first is the baseline: whole clips of the default format."""

    def h264(gop: int, reader: str, read: Callable[[bytes, Pair], list[np.ndarray]]) -> Format:
        name = f"H.264 gop {gop}" + (" (all-intra)" if gop == 1 else "")
        return Format(
            name=name, reader=reader, encode=lambda f: encode_clip(f, DEFAULT_FPS, crf=crf, gop=gop), read_pair=read
        )

    def jpeg(quality: int, is_full_colour: bool) -> Format:
        name = f"JPEG {quality} 4:{'4:4' if is_full_colour else '2:0'}"
        return Format(
            name=name, reader="OpenCV", read_pair=read_pair_jpeg,
            encode=lambda f: encode_jpegs(f, quality, is_full_colour),
        )  # fmt: skip

    found = [h264(gop, NAIVE, read_pair_whole) for gop in gops]
    for gop in gops:
        found += [h264(gop, "seek (PyAV)", read_pair_seek), h264(gop, "seek (decord)", read_pair_decord)]
    return [*found, jpeg(95, True), jpeg(95, False), jpeg(85, False)]


def psnr_db(made: np.ndarray, true: np.ndarray) -> float:
    """Peak signal-to-noise ratio over all pixels given."""
    error = np.square(made.astype(np.float32) - true).mean()
    return float(10 * np.log10(255.0**2 / max(float(error), 1e-10)))


def measure(clips: Sequence[np.ndarray], found: Sequence[Format], repeats: int = 5, seed: int = 0) -> list[Speed]:
    """Read one random pair of every clip, `repeats` times, in this process; formats take turns within a repeat.

    Args:
        clips: uncompressed crops, T S S 3.
        found: the formats; speeds are compared with the first.
        repeats: rounds; the median counts.
        seed: of the pairs, which are the same for all formats.
    """
    rng = np.random.default_rng(seed)
    pairs = [[_drawn(rng, len(clip)) for clip in clips] for _ in range(repeats)]
    encoded: dict[str, list[Any]] = {}
    for one in found:
        if one.name not in encoded:
            encoded[one.name] = [one.encode(clip) for clip in clips]
    quality = [_quality(one, encoded[one.name], clips, pairs[0]) for one in found]
    times: list[list[float]] = [[] for _ in found]
    for of_clips in pairs:
        for number, one in enumerate(found):
            start = time.perf_counter()
            for data, pair in zip(encoded[one.name], of_clips, strict=True):
                one.read_pair(data, pair)
            times[number].append(time.perf_counter() - start)
    rates = [sorted(len(clips) / t for t in of_format) for of_format in times]
    naive = statistics.median(rates[0])
    total = sum(map(len, clips))
    return [
        Speed(
            name=one.name, reader=one.reader, bytes_per_frame=_num_bytes(encoded[one.name]) / total, psnr_db=db,
            pairs_hz=statistics.median(rate), pairs_low_hz=rate[0], pairs_high_hz=rate[-1],
            times_naive=statistics.median(rate) / naive,
        )
        for one, rate, db in zip(found, rates, quality, strict=True)
    ]  # fmt: skip


def _drawn(rng: np.random.Generator, num_frames: int) -> Pair:
    first, second = rng.choice(num_frames, 2, replace=False)
    return int(first), int(second)


def _num_bytes(stored: Sequence[Any]) -> int:
    return sum(len(s) if isinstance(s, bytes) else sum(map(len, s)) for s in stored)


def _quality(one: Format, stored: Sequence[Any], clips: Sequence[np.ndarray], pairs: Sequence[Pair]) -> float:
    """Mean PSNR of the frames that the reader gives for these pairs: a reader that gives other frames shows here."""
    values = [
        psnr_db(picture, clip[i])
        for data, clip, pair in zip(stored, clips, pairs, strict=True)
        for i, picture in zip(pair, one.read_pair(data, pair), strict=True)
    ]
    return statistics.fmean(values)


def centre_crops(folder: Path, num_clips: int, num_frames: int, side_px: int) -> list[np.ndarray]:
    """The first frames of the first videos of a folder, as uncompressed centred squares.

    Raises:
        ValueError: there are none.
    """
    import cv2

    clips: list[np.ndarray] = []
    for path in sorted(folder.rglob("*.mp4")):
        if len(clips) == num_clips:
            break
        frames = []
        for frame in read_frames(path, 0, num_frames):
            side = min(frame.shape[:2])
            y, x = (frame.shape[0] - side) // 2, (frame.shape[1] - side) // 2
            square = frame[y : y + side, x : x + side]
            frames.append(cv2.resize(square, (side_px, side_px), interpolation=cv2.INTER_AREA))
        if len(frames) == num_frames:
            clips.append(np.stack(frames))
    if not clips:
        raise ValueError(f"{folder} holds no .mp4 of {num_frames} frames; give a folder of longer videos")
    return clips


def speed_table(speeds: Sequence[Speed]) -> list[str]:
    """Lines of a Markdown table."""
    titles = ("member", "reader", "bytes a frame", "PSNR, dB", "pairs/s a worker (lowest-highest)", "x naive")
    rows = [
        (s.name, s.reader, f"{s.bytes_per_frame:,.0f}", f"{s.psnr_db:.2f}",
         f"{s.pairs_hz:.0f} ({s.pairs_low_hz:.0f}-{s.pairs_high_hz:.0f})", f"{s.times_naive:.2f}")
        for s in speeds
    ]  # fmt: skip
    return table(titles, rows)


def main() -> None:
    """Measure and print the table."""
    import cv2

    parser = argparse.ArgumentParser(description="Random pairs a second of ways to store clips in shards.")
    parser.add_argument("folder", type=Path, help="videos")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--frames", type=int, default=60, help="per clip")
    parser.add_argument("--side", type=int, default=256, help="of the crops, pixels")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    clips = centre_crops(options.folder, options.clips, options.frames, options.side)
    start = time.perf_counter()
    lines = speed_table(measure(clips, formats(), options.repeats))
    print(f"{len(clips)} clips of {options.frames} frames at {options.side} px, {options.repeats} repeats, "  # noqa: T201
          f"{time.perf_counter() - start:.0f} s")  # fmt: skip
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    main()
