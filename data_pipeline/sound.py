"""The sound of a media file -> AAC in a video that is being written, in step with its picture."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from data_pipeline.container import VideoError, decoded, name_of, opened

_AAC_RATES_HZ = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_TOLERANCE_S = 0.1
"""Clocks of sound may be off by this before silence is put in or sound is dropped."""


@contextmanager
def opened_sound(container: Any, path: Path, start_s: Fraction | float | int = 0) -> Iterator["Sound | None"]:  # noqa: ANN401
    """Add the first audio stream of a file to a container that is being written; None when the file has no sound.

    Args:
        container: of PyAV, before its first frame.
        path: a video, or a file with sound only.
        start_s: where in the file, counted from its first picture, the written video begins.

    Raises:
        VideoError: the file cannot be read.
    """
    with opened(path, needs="audio or video") as source:
        if not source.streams.audio or not source.streams.audio[0].rate:
            yield None
            return
        yield Sound(container, source, _first_picture_s(path) + Fraction(start_s))


def _first_picture_s(path: Path) -> Fraction:
    """When the first frame is shown: the sound's clock is the picture's."""
    with opened(path, needs="audio or video") as source:
        if not source.streams.video:
            return Fraction(0)
        stream = source.streams.video[0]
        try:
            first = next(decoded(source, stream, name_of(path)))
        except VideoError:
            return Fraction(0)
        return Fraction(0) if first.pts is None else first.pts * first.time_base


class Sound:
    """One audio stream on its way from file to file."""

    def __init__(self, container: Any, source: Any, zero_s: Fraction) -> None:  # noqa: ANN401
        stream = source.streams.audio[0]
        self._container = container
        self._layout = "mono" if stream.layout.nb_channels == 1 else "stereo"
        self._rate_hz = min(_AAC_RATES_HZ, key=lambda rate: (abs(rate - stream.rate), -rate))
        self._stream = container.add_stream("aac", rate=self._rate_hz, layout=self._layout)
        self._pieces = self._read(source, stream, zero_s)
        self._waiting: np.ndarray | None = None
        self._written = 0

    def write_until(self, seconds: Fraction) -> None:
        """Write on until the sound is this long; sound that has ended stays shorter."""
        while (missing := int(seconds * self._rate_hz) - self._written) > 0:
            piece = self._waiting if self._waiting is not None else next(self._pieces, None)
            if piece is None:
                return
            self._waiting = piece[:, missing:] if piece.shape[1] > missing else None
            self._encode(piece[:, :missing])

    def finish(self) -> None:
        """Write what the encoder still holds."""
        self._container.mux(self._stream.encode())

    def _encode(self, samples: np.ndarray) -> None:
        import av

        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=self._layout)
        frame.rate, frame.pts, frame.time_base = self._rate_hz, self._written, Fraction(1, self._rate_hz)
        self._container.mux(self._stream.encode(frame))
        self._written += samples.shape[1]

    def _read(self, source: Any, stream: Any, zero_s: Fraction) -> Iterator[np.ndarray]:  # noqa: ANN401
        """Samples [channels, n] without holes, from `zero_s` on: late sound starts with silence, early sound is cut."""
        position, tolerance = 0, 0
        for part in self._resampled(source, stream):
            samples = part.to_ndarray().astype(np.float32, copy=False)
            at = position if part.pts is None else round((part.pts * part.time_base - zero_s) * self._rate_hz)
            if at < position - tolerance:
                samples = samples[:, position - at :]
            elif at > position + tolerance:
                for start in range(position, at, self._rate_hz):
                    yield np.zeros((samples.shape[0], min(self._rate_hz, at - start)), np.float32)
                position = at
            if samples.shape[1]:
                yield samples
                position += samples.shape[1]
                tolerance = int(_TOLERANCE_S * self._rate_hz)

    def _resampled(self, source: Any, stream: Any) -> Iterator[Any]:  # noqa: ANN401
        """Decoded sound at the target's rate and layout; a stream may change its own in the middle."""
        import av

        key, resampler = None, av.AudioResampler()
        for frame in self._decoded(source, stream):
            if key != (frame.format.name, frame.layout.name, frame.sample_rate):
                if key is not None:
                    yield from resampler.resample(None)
                key = (frame.format.name, frame.layout.name, frame.sample_rate)
                resampler = av.AudioResampler(format="fltp", layout=self._layout, rate=self._rate_hz)
            yield from resampler.resample(frame)
        if key is not None:
            yield from resampler.resample(None)

    @staticmethod
    def _decoded(source: Any, stream: Any) -> Iterator[Any]:  # noqa: ANN401
        try:
            yield from decoded(source, stream, "the sound")
        except VideoError:
            return  # sound of which nothing decodes is no sound; the picture is what was asked for
