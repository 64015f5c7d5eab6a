"""Video files and bytes <-> RGB frames: the only file that calls PyAV, and decord for members we wrote ourselves."""

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

DEFAULT_FPS = Fraction(25)
"""Used where a container states no rate; what ffmpeg and LivePortrait assume too."""


class VideoError(ValueError):
    """A video that cannot be read or written; the message names the file and says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo:
    """What a container says about its first video stream."""

    num_frames: int
    """The container's claim; 0 when it makes none. Edit lists make it too high: count what is decoded."""
    fps: Fraction
    height_px: int
    width_px: int
    """Upright size, after `rotation_deg` has been applied."""
    rotation_deg: int
    """Clockwise rotation that reading applies: 0, 90, 180 or 270."""
    has_audio: bool


@contextmanager
def _open(source: Path | bytes) -> Iterator[Any]:
    import av
    import av.error

    name = "a clip in memory" if isinstance(source, bytes) else str(source)
    try:
        # Hand over the open file: a dash or a colon in its name must not look like an option or a protocol.
        handle = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    except OSError as error:
        raise VideoError(f"{name} cannot be opened ({_reason(error)}); check that it exists") from error
    with handle:
        try:
            container = av.open(handle, mode="r")
        except (av.error.FFmpegError, OSError, ValueError) as error:
            message = f"{name} is not a video that can be read ({_reason(error)}); is it complete?"
            raise VideoError(message) from error
        with container:
            if not container.streams.video:
                raise VideoError(f"{name} has no video stream; give a file with pictures")
            yield container


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _rotation_deg(frame: Any) -> int:  # noqa: ANN401
    """PyAV gives the counter-clockwise angle of the display matrix."""
    return int(round(-frame.rotation / 90.0) * 90) % 360


def read_info(path: Path) -> VideoInfo:
    """Read a video's header and first frame.

    Raises:
        VideoError: not a readable video, or no frame in it.
    """
    with _open(path) as container:
        stream = container.streams.video[0]
        first = next(_decoded(container, str(path)))
        rotation = _rotation_deg(first)
        height, width = (first.width, first.height) if rotation % 180 else (first.height, first.width)
        rate = stream.average_rate or stream.guessed_rate or DEFAULT_FPS
        return VideoInfo(
            num_frames=int(stream.frames or 0),
            fps=Fraction(rate) if rate > 0 else DEFAULT_FPS,
            height_px=height,
            width_px=width,
            rotation_deg=rotation,
            has_audio=bool(container.streams.audio),
        )


def _decoded(container: Any, name: str) -> Iterator[Any]:  # noqa: ANN401
    """Every frame that decodes, in order of presentation; damaged packets are passed over."""
    import av.error

    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    failure, count = "", 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            frames = packet.decode() if packet is not None else []
        except av.error.FFmpegError as error:
            failure = _reason(error)
            if isinstance(error, av.error.EOFError):
                break
            continue
        yield from frames
        count += len(frames)
        if packet is None:
            break
    if count == 0:
        raise VideoError(f"{name}: no frame can be decoded ({failure or 'the stream is empty'})")


def read_frames(source: Path | bytes, start: int = 0, stop: int | None = None) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Decode frames [start, stop) in order, upright RGB. One decode pass: memory stays at one frame.

    A damaged or cut-off file gives the frames that decode.

    Raises:
        VideoError: not a video, or not one frame decodes.
    """
    name = "a clip in memory" if isinstance(source, bytes) else str(source)
    with _open(source) as container:
        for number, frame in enumerate(_decoded(container, name)):
            if stop is not None and number >= stop:
                return
            if number >= start:
                pixels = frame.to_ndarray(format="rgb24")
                turns = _rotation_deg(frame) // 90
                yield np.ascontiguousarray(np.rot90(pixels, -turns)) if turns else pixels


def read_timestamps(path: Path) -> list[float]:
    """Presentation time in seconds of every frame that decodes, starting at 0."""
    with _open(path) as container:
        times = [float(frame.time or 0.0) for frame in _decoded(container, str(path))]
    return [time - times[0] for time in times]


def read_member(data: bytes) -> UInt8[np.ndarray, "T H W 3"]:
    """Decode a clip that `encode_clip` wrote: with decord, right and fast on such files, unlike on foreign ones.

    Decord pads rows to 32 pixels and then refuses to copy them, so other widths go through PyAV.
    """
    import decord

    with _open(data) as container:
        is_aligned = container.streams.video[0].width % 32 == 0
    if not is_aligned:
        return np.stack(list(read_frames(data)))
    try:
        reader = decord.VideoReader(io.BytesIO(data), num_threads=1)
        frames = reader.get_batch(range(len(reader))).asnumpy()
    except (RuntimeError, decord.DECORDError) as error:
        raise VideoError(f"a shard's video member cannot be decoded ({str(error).splitlines()[0]})") from error
    del reader  # decord decodes ahead into memory for as long as a reader lives
    return frames


def encode_clip(
    frames: Iterable[UInt8[np.ndarray, "H W 3"]], fps: Fraction | float, crf: int = 15, gop: int = 1
) -> bytes:
    """Frames -> the bytes of an mp4 that holds exactly them; gop=1 makes every frame a key frame."""
    buffer = io.BytesIO()
    _write(buffer, frames, Fraction(fps).limit_denominator(100_000), crf, gop, None)
    return buffer.getvalue()


def write_video(
    path: Path,
    frames: Iterable[UInt8[np.ndarray, "H W 3"]],
    fps: Fraction,
    crf: int = 18,
    gop: int = 48,
    audio_from: Path | None = None,
) -> int:
    """Write an H.264 mp4 that plays in browsers; the file appears whole or not at all.

    Odd sizes lose their last row or column (yuv420p). `audio_from`'s first audio stream is carried over, cut to the
    length of the video.

    Returns:
        How many frames were written.

    Raises:
        VideoError: there is no frame, or frames differ in size.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.part{path.suffix or '.mp4'}")
    try:
        count = _write(aside, frames, fps, crf, gop, audio_from)
        os.replace(aside, path)  # noqa: PTH105
    finally:
        aside.unlink(missing_ok=True)
    return count


def _write(
    target: Path | io.BytesIO,
    frames: Iterable[UInt8[np.ndarray, "H W 3"]],
    fps: Fraction,
    crf: int,
    gop: int,
    audio_from: Path | None,
) -> int:
    import av

    count, size = 0, (0, 0)
    where = target if isinstance(target, io.BytesIO) else str(target)
    # Moving the index to the front needs the file a second time, which a buffer cannot give.
    options = {} if isinstance(target, io.BytesIO) else {"movflags": "+faststart"}
    with av.open(where, mode="w", format="mp4", options=options) as container:
        stream = None
        sound = _Sound(container, audio_from) if audio_from else None
        for frame in frames:
            if stream is None:
                size = frame.shape[:2]
                stream = container.add_stream("libx264", rate=fps)
                stream.height, stream.width = size[0] // 2 * 2, size[1] // 2 * 2
                stream.pix_fmt = "yuv420p"
                # One thread: the same frames give the same bytes on every machine.
                stream.options = {"crf": str(crf), "g": str(gop), "preset": "veryfast", "threads": "1"}
            if frame.shape[:2] != size:
                raise VideoError(f"frame {count} is {frame.shape[:2]} pixels high and wide, the first one was {size}")
            even = np.ascontiguousarray(frame[: stream.height, : stream.width])
            picture = av.VideoFrame.from_ndarray(even, format="rgb24")
            picture.pts = count
            container.mux(stream.encode(picture))
            count += 1
        if stream is None:
            raise VideoError("there is no frame to write; the input gave none")
        container.mux(stream.encode())
        if sound:
            sound.write(float(count / fps))
    return count


class _Sound:
    """The first audio stream of a file, re-encoded as AAC into a container."""

    def __init__(self, container: Any, path: Path) -> None:  # noqa: ANN401
        self.container = container
        self.path = path
        self.stream = None
        with _open(path) as source:
            if source.streams.audio:
                rate = source.streams.audio[0].rate or 44_100
                self.stream = container.add_stream("aac", rate=rate, layout="stereo")

    def write(self, seconds: float) -> None:
        """Mux the sound up to this length."""
        import av
        import av.error

        if self.stream is None:
            return
        resampler = av.AudioResampler(format="fltp", layout="stereo", rate=self.stream.rate)
        with _open(self.path) as source:
            decoded = source.decode(source.streams.audio[0])
            left = int(seconds * self.stream.rate)
            position = 0
            while left > 0:
                try:
                    frame = next(decoded, None)
                except av.error.FFmpegError:
                    break  # sound that breaks off ends early; the picture is already whole
                for part in resampler.resample(frame):
                    samples = part.to_ndarray()[:, :left].astype(np.float32)
                    if samples.shape[1] == 0:
                        break
                    cut = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout="stereo")
                    cut.rate, cut.pts = self.stream.rate, position
                    cut.time_base = Fraction(1, self.stream.rate)
                    self.container.mux(self.stream.encode(cut))
                    position += samples.shape[1]
                    left -= samples.shape[1]
                if frame is None:
                    break
        self.container.mux(self.stream.encode())
