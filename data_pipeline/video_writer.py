"""RGB frames -> H.264 mp4 files, and clips in memory."""

import io
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8

from data_pipeline.container import VideoError, reason_of
from data_pipeline.whole_file import shown, whole_file, write_errors

Preset = Literal["veryslow", "slower", "slow", "medium", "fast", "faster", "veryfast", "superfast", "ultrafast"]
"""x264's. Measured on a 512 px face at crf 18, one thread: veryfast 4.7 ms a frame, 3.3 KB, 41.7 dB; superfast 2.8 ms,
5.1 KB, 42.0 dB; ultrafast 1.7 ms, 9.1 KB, 41.5 dB."""
ENCODER_THREADS = 4
"""A fixed number: x264's bytes depend on it, and the same frames are to give the same bytes on every machine."""
_BT709 = 1
"""H.264's number for the colours of HD video, which browsers assume and which says how RGB became YUV."""
_LIMITED = 1


def encode_clip(
    frames: Iterable[UInt8[np.ndarray, "H W 3"]], fps: Fraction | float, crf: int = 15, gop: int = 1
) -> bytes:
    """Frames -> the bytes of an mp4 that holds exactly them; gop=1 makes every frame a key frame."""
    import av

    buffer = io.BytesIO()
    options = {"crf": str(crf), "g": str(gop), "preset": "veryfast", "threads": "1"}
    with av.open(buffer, mode="w", format="mp4") as container:
        picture = _Picture(container, Fraction(fps).limit_denominator(100_000), options, "a clip in memory")
        for frame in frames:
            picture.write(frame)
        picture.finish()
    return buffer.getvalue()


def write_video(  # noqa: PLR0913 - what an encoder can be told
    path: Path,
    frames: Iterable[UInt8[np.ndarray, "H W 3"]],
    fps: Fraction,
    crf: int = 18,
    gop: int = 48,
    audio_from: Path | None = None,
    *,
    audio_start_s: Fraction | float | int = 0,
    preset: Preset = "veryfast",
    threads: int = ENCODER_THREADS,
) -> int:
    """Write an H.264 mp4 that plays in browsers; the file appears whole or not at all.

    Odd sizes lose their last row or column (yuv420p).

    Args:
        path: where to.
        frames: all of one size, at least 2 pixels a side.
        fps: exactly; 30000/1001 stays that.
        crf: 0 (lossless) to 51.
        gop: frames from key frame to key frame.
        audio_from: its first audio stream is carried over, in step with the picture and cut to its length; a file
            without sound gives none.
        audio_start_s: where in `audio_from`, from its first frame on, the first frame of this video lies.
        preset: x264's; faster ones make larger files.
        threads: of the encoder; 0 takes as many as there are cores, and then the bytes depend on the machine.

    Returns:
        How many frames were written.

    Raises:
        VideoError: there is no frame, frames differ in size, or the sound's file cannot be read.
        WriteError: the disk is full, or the folder may not be written to.
    """
    from data_pipeline.sound import opened_sound

    if fps <= 0:
        raise VideoError(f"{shown(path)}: {fps} frames a second is no frame rate; give one above 0")
    options = {"crf": str(crf), "g": str(gop), "preset": preset, "threads": str(threads)}
    with whole_file(path) as part, _mp4(part, path) as container, ExitStack() as open_files:
        picture = _Picture(container, fps, options, shown(path), is_tagged=True)
        sound = open_files.enter_context(opened_sound(container, audio_from, audio_start_s)) if audio_from else None
        for frame in frames:
            with _encoder_errors(path):
                picture.write(frame)
                if sound:
                    sound.write_until(picture.count / fps)
        with _encoder_errors(path):
            picture.finish()
            if sound:
                sound.finish()
    return picture.count


@contextmanager
def _mp4(part: Path, path: Path) -> Iterator[Any]:
    import av
    import av.error

    with _encoder_errors(path):
        # The full path: a colon in a short one would look like a protocol. Fast start moves the index to the front.
        container = av.open(str(part.absolute()), mode="w", format="mp4", options={"movflags": "+faststart"})
    try:
        yield container
    except BaseException:
        with suppress(OSError, av.error.FFmpegError):  # the file is thrown away, and its first error is on its way
            container.close()
        raise
    with _encoder_errors(path):
        container.close()


@contextmanager
def _encoder_errors(path: Path) -> Iterator[None]:
    import av.error

    try:
        with write_errors(path):
            yield
    except av.error.FFmpegError as error:
        raise VideoError(f"{shown(path)} cannot be encoded ({reason_of(error)}); try other options") from error


class _Picture:
    """The video stream of a container that is being written; it takes its size from the first frame."""

    def __init__(
        self,
        container: Any,  # noqa: ANN401
        fps: Fraction,
        options: dict[str, str],
        name: str,
        *,
        is_tagged: bool = False,
    ) -> None:
        from av.video.reformatter import Colorspace, VideoReformatter

        self.count = 0
        self._container = container
        self._fps = fps
        self._options = options
        self._name = name
        self._is_tagged = is_tagged
        self._convert = VideoReformatter()
        self._colors = {"dst_colorspace": Colorspace.ITU709} if is_tagged else {}
        self._stream: Any = None
        self._size = (0, 0)

    def write(self, frame: UInt8[np.ndarray, "H W 3"]) -> None:
        """Encode one more frame."""
        import av

        stream = self._stream = self._stream or self._begin(frame)
        if frame.shape[:2] != self._size:
            raise VideoError(
                f"{self._name}: frame {self.count} is {frame.shape[:2]} pixels high and wide, the first one was "
                f"{self._size}; give frames of one size"
            )
        even = np.ascontiguousarray(frame[: stream.height, : stream.width])
        rgb = av.VideoFrame.from_numpy_buffer(even, format="rgb24")
        picture = self._convert.reformat(rgb, format="yuv420p", threads=1, **self._colors)
        picture.pts = self.count
        self._container.mux(stream.encode(picture))
        self.count += 1

    def _begin(self, frame: np.ndarray) -> Any:  # noqa: ANN401
        self._size = frame.shape[:2]
        if min(self._size) < 2:
            raise VideoError(
                f"{self._name}: frames of {self._size} pixels are too small for a video; 2 a side are needed"
            )
        stream = self._container.add_stream("libx264", rate=self._fps)
        stream.height, stream.width = (side // 2 * 2 for side in self._size)
        stream.pix_fmt = "yuv420p"
        stream.options = self._options
        if self._is_tagged:
            context = stream.codec_context
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.color_range = _LIMITED
        return stream

    def finish(self) -> None:
        """Encode what the encoder still holds.

        Raises:
            VideoError: there was no frame.
        """
        if self._stream is None:
            raise VideoError(f"{self._name}: there is no frame to write; the input gave none")
        self._container.mux(self._stream.encode())
