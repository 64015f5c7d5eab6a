"""A media file or bytes -> an open PyAV container, or one sentence why not."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from data_pipeline.whole_file import shown

_INDEXED = ("mov", "matroska")
"""Kinds of files (ffmpeg's first names for them) that state the time of every frame."""
_PLAIN = ("h264", "hevc", "vp9", "av1", "mjpeg")
"""Codecs of which every packet in such files is one frame; VP8 and MPEG-4 have packets that show nothing."""
_TRIES = 4
"""How often a seek that ended too late is repeated, from 1, 3 and 7 s earlier."""


class VideoError(ValueError):
    """A video that cannot be read or written; the message names the file and says why."""


@contextmanager
def opened(source: Path | bytes, needs: Literal["video", "audio or video"] = "video") -> Iterator[Any]:
    """Open a file for reading and close it afterwards.

    Raises:
        VideoError: it is missing, no media file, or without a stream of the kind that is needed.
    """
    import av
    import av.error

    name = name_of(source)
    try:
        handle = io.BytesIO(source) if isinstance(source, bytes) else _Nameless(io.FileIO(source))
    except OSError as error:
        raise VideoError(f"{name} cannot be opened ({reason_of(error)}); check that it exists") from error
    with handle:
        try:
            container = av.open(handle, mode="r")
        except (av.error.FFmpegError, OSError, ValueError) as error:
            message = f"{name} is no picture or video that can be read ({reason_of(error)}); is it complete?"
            raise VideoError(message) from error
        with container:
            if not container.streams.video and not (needs != "video" and container.streams.audio):
                raise VideoError(f"{name} has no video stream; give a file with pictures")
            yield container


class _Nameless(io.BufferedReader):
    """An open file that hides its name: what looks like an option, a protocol or a pattern in it must not count."""

    @property
    def name(self) -> str:
        """The same for all."""
        return "media"


def name_of(source: Path | bytes) -> str:
    """What messages call it."""
    return "a clip in memory" if isinstance(source, bytes) else shown(source)


def reason_of(error: Exception) -> str:
    """The reason in an error of PyAV or of the operating system, without numbers and file names."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def decoded(container: Any, stream: Any, name: str, packets: Iterator[Any] | None = None) -> Iterator[Any]:  # noqa: ANN401
    """Every frame of a stream that decodes, in order of presentation; damaged packets are passed over.

    Args:
        container: open for reading.
        stream: one of its streams.
        name: what messages call it.
        packets: of this stream; all from where the container is when None.

    Raises:
        VideoError: not one frame decodes.
    """
    import av.error

    stream.thread_type = "AUTO"
    failure, count = "", 0
    left = container.demux(stream) if packets is None else packets
    while True:
        try:
            packet = next(left, None)
            frames = packet.decode() if packet is not None else []
        except av.error.FFmpegError as error:
            failure = reason_of(error)
            if isinstance(error, av.error.EOFError):
                break
            continue
        yield from frames
        count += len(frames)
        if packet is None:
            break
    if count == 0:
        raise VideoError(f"{name}: no frame can be decoded ({failure or 'the stream is empty'}); get a whole copy")


def shown_ticks(container: Any, stream: Any) -> list[int] | None:  # noqa: ANN401
    """When each frame is shown, in the stream's time base and rising order; nothing is decoded.

    None where packets do not tell it: kinds of files and codecs whose packets are not the frames that come out of them,
    packets without a time or with that of another, and packets that are marked as damaged.
    """
    import av.error

    if container.format.name.split(",")[0] not in _INDEXED or stream.codec_context.codec.canonical_name not in _PLAIN:
        return None
    ticks = []
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt or (packet.size and packet.pts is None):
                return None
            if packet.size and not packet.is_discard:
                ticks.append(packet.pts)
    except av.error.FFmpegError:
        return None
    return sorted(ticks) if ticks and len(set(ticks)) == len(ticks) else None


def packet_times(container: Any, stream: Any) -> list[tuple[int, int]]:  # noqa: ANN401
    """When each packet's picture is shown and for how long, as the file lists them, up to where it is damaged."""
    import av.error

    shown_at: list[tuple[int, int]] = []
    try:
        for packet in container.demux(stream):
            ticks = packet.pts if packet.pts is not None else packet.dts
            if ticks is not None and packet.size and not packet.is_discard:
                shown_at.append((ticks, packet.duration or 0))
    except av.error.FFmpegError:
        pass  # what lies behind the damage has no time
    return shown_at


def decoded_from(container: Any, stream: Any, name: str, ticks: int) -> Iterator[Any]:  # noqa: ANN401
    """Frames from the last key frame on that is shown no later than at a time; none if that one cannot be reached.

    Of an open group those frames are left out that are shown before its key frame: they need frames before it, too.
    """
    import av.error

    back = 0
    for _ in range(_TRIES):
        try:
            container.seek(ticks - back, stream=stream, backward=True)
            packets = container.demux(stream)
            first = next(packets, None)
        except av.error.FFmpegError:
            return
        if first is not None and first.is_keyframe and first.pts is not None and first.pts <= ticks:
            has_begun = False
            for frame in decoded(container, stream, name, chain([first], packets)):
                has_begun = has_begun or frame.pts == first.pts
                if has_begun:
                    yield frame
                elif frame.pts is None or frame.pts > first.pts:
                    return  # the key frame is lost, and what is made from it
            return
        back = 2 * back + int(1 / stream.time_base)
