"""One stream of steps -> several files at once, each written in a thread of its own: all whole, or none half."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from data_pipeline.moving_picture import write_gif, write_webp
from data_pipeline.photo import WRITTEN_SUFFIXES, write_photo, write_photo_folder
from data_pipeline.video_writer import ENCODER_THREADS, Preset, write_video
from data_pipeline.whole_file import WriteError, check_writable, shown
from evaluation.channel import Channel, ChannelClosedError

WAITING_STEPS = 8
"""Steps that may wait for each file: bounds the memory, however long the stream."""
Picture = Callable[[Any], np.ndarray]
"""A step -> the picture u8[H,W,3] of it that a file shows; called in the file's own thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A file, what it shows of each step, and how it is written."""

    path: Path
    picture: Picture
    write: Callable[[Path, Iterator[np.ndarray]], int]
    """Writes all pictures to the path, whole or not at all, and says how many."""


def mp4(
    path: Path,
    picture: Picture,
    fps: Fraction,
    *,
    audio_from: Path | None = None,
    audio_start_s: Fraction | float | int = 0,
    crf: int = 18,
    preset: Preset = "veryfast",
    threads: int = ENCODER_THREADS,
) -> Output:
    """An H.264 video, with the sound of another file; see `write_video`."""

    def write(path: Path, pictures: Iterator[np.ndarray]) -> int:
        return write_video(
            path, pictures, fps, crf=crf, audio_from=audio_from, audio_start_s=audio_start_s, preset=preset,
            threads=threads,
        )  # fmt: skip

    return Output(path=path, picture=picture, write=write)


def gif(path: Path, picture: Picture, fps: Fraction) -> Output:
    """An endless GIF; see `write_gif` for what becomes of the frame rate."""
    return Output(path=path, picture=picture, write=lambda path, pictures: write_gif(path, pictures, fps))


def webp(path: Path, picture: Picture, fps: Fraction, *, quality: int = 85) -> Output:
    """An endless lossy WebP."""
    return Output(
        path=path, picture=picture, write=lambda path, pictures: write_webp(path, pictures, fps, quality=quality)
    )


def png_folder(path: Path, picture: Picture) -> Output:
    """A folder with 000000.png, 000001.png, ..."""
    return Output(path=path, picture=picture, write=write_photo_folder)


def still(path: Path, picture: Picture) -> Output:
    """One .png or .jpg; more than one step is an error."""
    return Output(path=path, picture=picture, write=_write_still)


def _write_still(path: Path, pictures: Iterator[np.ndarray]) -> int:
    image = next(pictures, None)
    if image is None:
        raise WriteError(f"{shown(path)}: there is no frame to write; the input gave none")
    if next(pictures, None) is not None:
        raise WriteError(f"{shown(path)} is one picture, but there are several frames; give a name that ends in .mp4")
    write_photo(path, image)
    return 1


SUFFIXES = (".mp4", ".gif", ".webp", *WRITTEN_SUFFIXES)
"""What `output_for` knows; a name without an ending is a folder of PNG frames."""


def output_for(path: Path, picture: Picture, fps: Fraction, *, audio_from: Path | None = None) -> Output:
    """The output that the ending of a name asks for.

    Raises:
        WriteError: no such ending is known.
    """
    match path.suffix.lower():
        case ".mp4":
            return mp4(path, picture, fps, audio_from=audio_from)
        case ".gif":
            return gif(path, picture, fps)
        case ".webp":
            return webp(path, picture, fps)
        case "":
            return png_folder(path, picture)
        case suffix if suffix in WRITTEN_SUFFIXES:
            return still(path, picture)
    known = ", ".join(SUFFIXES)
    raise WriteError(f"{shown(path)}: files are written as {known}, or a folder of frames; give such a name")


class OutputSet:
    """Writes every step that is pushed to all its files; use it with `with`, which waits for them at the end.

    After any error — in a file, in the body, Ctrl-C — all files that are not finished are taken back; those that are
    finished stay. An error in a file comes out of the next `push`, or of the end of the `with`.
    """

    def __init__(self, outputs: Sequence[Output], waiting_steps: int = WAITING_STEPS) -> None:
        paths = [output.path.resolve() for output in outputs]
        for path in paths:
            if paths.count(path) > 1:
                raise WriteError(f"{shown(path)} is to be written twice; give every output a name of its own")
        self._lanes = [_Lane(output, waiting_steps, self._stop) for output in outputs]
        self._stopping = threading.Lock()
        self._error: BaseException | None = None

    def __enter__(self) -> "OutputSet":
        """Check that all files can be written, and start.

        Raises:
            WriteError: one cannot.
        """
        for lane in self._lanes:
            check_writable(lane.output.path)
        for lane in self._lanes:
            lane.thread.start()
        return self

    def push(self, step: Any) -> None:  # noqa: ANN401
        """Hand a step to all files; waits while too many are waiting for the slowest.

        Raises:
            BaseException: what went wrong in the first file that failed, itself.
        """
        try:
            for lane in self._lanes:
                lane.channel.put(step)
        except ChannelClosedError:
            assert self._error is not None
            raise self._error from None

    @property
    def num_frames(self) -> dict[Path, int]:
        """How many frames each finished file has."""
        return {lane.output.path: lane.num_frames for lane in self._lanes if lane.num_frames is not None}

    def _stop(self, error: BaseException) -> None:
        """End all files; the first error is the one that is told."""
        with self._stopping:
            self._error = self._error or error
        for lane in self._lanes:
            lane.channel.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until all files are whole, or gone.

        Raises:
            BaseException: what went wrong in the first file that failed, itself.
        """
        if error is not None:
            self._stop(error)
        for lane in self._lanes:
            lane.channel.finish()
        try:
            self._wait()
        except BaseException as interrupt:  # Ctrl-C while the last frames are encoded
            self._stop(interrupt)
            self._wait()
            raise
        if error is None and self._error is not None:
            raise self._error

    def _wait(self) -> None:
        for lane in self._lanes:
            lane.has_ended.wait()  # Ctrl-C in Thread.join makes Python 3.11 believe that the thread has ended
            lane.thread.join()


class _Lane:
    """One output, its waiting steps and its thread."""

    def __init__(self, output: Output, waiting_steps: int, failed: Callable[[BaseException], None]) -> None:
        self.output = output
        self.channel: Channel[Any] = Channel(waiting_steps)
        self.num_frames: int | None = None
        self.has_ended = threading.Event()
        self._failed = failed
        self.thread = threading.Thread(target=self._run, name=f"writes {output.path.name}", daemon=True)

    def _run(self) -> None:
        pictures = (self.output.picture(step) for step in self.channel)
        try:
            self.num_frames = self.output.write(self.output.path, pictures)
            for _ in self.channel:  # a writer that has enough must not keep the others waiting
                pass
        except ChannelClosedError:
            pass  # another file failed, or the body: that error is told
        except BaseException as error:
            self._failed(error)
        finally:
            self.has_ended.set()
