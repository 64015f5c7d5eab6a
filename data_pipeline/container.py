"""A media file or bytes -> an open PyAV container, or one sentence why not."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from data_pipeline.whole_file import shown


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


def decoded(container: Any, stream: Any, name: str) -> Iterator[Any]:  # noqa: ANN401
    """Every frame of a stream that decodes, in order of presentation; damaged packets are passed over.

    Raises:
        VideoError: not one frame decodes.
    """
    import av.error

    stream.thread_type = "AUTO"
    failure, count = "", 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
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
