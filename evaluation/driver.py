"""A driving video, photo, camera or motion template -> what drives, and the one square in which the head moves."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from data_pipeline import media, video
from data_pipeline.crop import crop_transform
from data_pipeline.frame_rate import TimedFrame, Timing, constant_rate
from data_pipeline.records import Detection
from data_pipeline.video import DEFAULT_FPS
from data_pipeline.webcam import WebcamFrames
from evaluation.engine import chunks
from evaluation.source import HeadFinder, points_in_box, whole_frame
from evaluation.templates import MotionTemplate, read_template

LOOKS_PER_SECOND = 5
"""How often the head is looked for when the square is laid: a mean over fewer looks moves by less than a pixel."""
TEMPLATE_SUFFIXES = (".pkl", ".npz")
CAMERA = "webcam:"
"""`webcam:0`, or the number alone, names a camera."""


class Camera:
    """A live driver. Its first frames can be looked at before they are played; it plays once."""

    def __init__(self, frames: WebcamFrames) -> None:
        self.live = frames
        self._stream = frames.timed_frames()
        self._seen: list[TimedFrame] = []
        self._is_stopped = False

    def look(self, count: int) -> list[np.ndarray]:
        """The first frames; they are still played afterwards."""
        self._seen += islice(self._stream, max(0, count - len(self._seen)))
        return [timed.frame for timed in self._seen[:count]]

    def play(self) -> Iterator[TimedFrame]:
        """All frames with their times, live, until `stop`; at the end the camera is given back."""
        try:
            while self._seen and not self._is_stopped:
                yield self._seen.pop(0)
            for timed in self._stream:
                if self._is_stopped:
                    return
                yield timed
        finally:
            self.live.close()

    def stop(self) -> None:
        """End the film as if its time were up; from any thread or signal handler."""
        self._is_stopped = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Footage:
    """Pictures that drive. Frames are decoded anew at each reading, so no clip is too long."""

    name: str
    is_still: bool
    fps: Fraction
    num_frames: int
    """The container's claim, for progress bars; 0 when it makes none."""
    height_px: int
    width_px: int
    path: Path | None = None
    has_audio: bool = False
    array: UInt8[np.ndarray, "T H W 3"] | None = None
    timing: Timing | None = None
    camera: Camera | None = field(default=None, repr=False)
    seconds: float | None = None
    """Only this much is used."""

    def frames(self, fps: Fraction | None = None) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """Upright RGB frames, one at a time; at another rate, frames are repeated and dropped by their times."""
        frames = self._own_frames()
        if self.seconds is not None:
            frames = islice(frames, frames_in(self.seconds, self.fps))
        if fps is None or fps == self.fps or self.is_still:
            return iter(frames)
        return at_rate(frames, self.fps, fps)

    def looks(self) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """Frames that are looked at to find the head: a few a second of a file, the first second of a camera."""
        every = max(1, round(self.fps / LOOKS_PER_SECOND))
        if self.camera is not None:
            yield from self.camera.look(round(self.fps))[::every]
        else:
            yield from (frame for i, frame in enumerate(self.frames()) if i % every == 0)

    def _own_frames(self) -> Iterator[np.ndarray]:
        if self.camera is not None:
            return constant_rate(self.camera.play(), self.fps)
        if self.array is not None:
            return iter(self.array)
        assert self.path is not None
        return media.read_steady_frames(self.path, self.timing)


Driver = Footage | MotionTemplate


def at_rate(frames: Iterable[np.ndarray], own_fps: Fraction, fps: Fraction) -> Iterator[np.ndarray]:
    """Frames at their own rate -> at another one, repeated and dropped; the length in seconds stays."""
    number = 0
    for own_number, frame in enumerate(frames):
        while frame_on_show(number, own_fps, fps) == own_number:
            yield frame
            number += 1


def frame_on_show(number: int, own_fps: Fraction, fps: Fraction) -> int:
    """Which frame of a clip is on show when frame `number` of another rate begins."""
    return math.floor(number * own_fps / fps)


def frames_in(seconds: float, fps: Fraction) -> int:
    """How many frames begin in a time; at least one."""
    return max(1, math.ceil(Fraction(str(seconds)) * fps))  # as typed: 1.1 s at 10 a second are 11 frames, not 12


def is_camera(driving: str | Path | int) -> bool:
    """Whether a driver is named as a camera: 0 or webcam:0. A file that is called so comes first."""
    name = str(driving)
    return isinstance(driving, int) or name.startswith(CAMERA) or (name.isdecimal() and not Path(name).exists())


def open_driver(
    driving: str | Path | int | np.ndarray, fps: Fraction | None = None, seconds: float | int | None = None
) -> Driver:
    """A video, photo or template file, a camera (its number, or webcam:N), or frames u8[T,H,W,3] in memory.

    Raises:
        ValueError: the file is missing or nothing that drives, or the camera gives no picture.
    """
    limit = None if seconds is None else float(seconds)
    if isinstance(driving, np.ndarray):
        return _in_memory(driving, fps, limit)
    name = str(driving)
    if is_camera(driving):
        number = name.removeprefix(CAMERA)
        if not number.isdecimal():
            raise ValueError(f"driving={name}: give the camera's number, such as webcam:0")
        live = WebcamFrames(int(number), limit)
        return Footage(
            name=f"camera {number}", is_still=False, fps=live.fps, num_frames=0, height_px=live.height_px,
            width_px=live.width_px, camera=Camera(live), seconds=limit,
        )  # fmt: skip
    path = Path(name)
    if not path.is_file():
        raise ValueError(f"driving: {path} is not a file; give a video, a photo, a template or webcam:0")
    if path.suffix.lower() in TEMPLATE_SUFFIXES:
        template = read_template(path)
        return template if limit is None else shortened(template, limit)
    item = media.probe(path)
    if item.kind == "image":
        return Footage(
            name=path.name, is_still=True, fps=DEFAULT_FPS, num_frames=1, height_px=item.height_px,
            width_px=item.width_px, path=path,
        )  # fmt: skip
    timing = media.read_timing(path)
    count = timing.num_frames if limit is None else min(timing.num_frames, frames_in(limit, timing.fps))
    return Footage(
        name=path.name, is_still=timing.num_frames == 1, fps=timing.fps, num_frames=count, height_px=item.height_px,
        width_px=item.width_px, path=path, has_audio=has_audio(path), timing=timing, seconds=limit,
    )  # fmt: skip


def _in_memory(frames: np.ndarray, fps: Fraction | None, seconds: float | None) -> Footage:
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise ValueError(f"driving frames are {frames.dtype}{list(frames.shape)}; give u8[T,H,W,3]")
    T, H, W, _ = frames.shape
    rate = fps or DEFAULT_FPS
    count = T if seconds is None else min(T, frames_in(seconds, rate))
    return Footage(
        name="the driving frames", is_still=T == 1, fps=rate, num_frames=count, height_px=H, width_px=W,
        array=frames, seconds=seconds,
    )  # fmt: skip


def shortened(template: MotionTemplate, seconds: float) -> MotionTemplate:
    """The first seconds of a template; at least a frame."""
    count = min(template.num_frames, frames_in(seconds, template.fps))
    cut = {name: None if value is None else value[:count] for name, value in (
        ("eye_ratios", template.eye_ratios), ("lip_ratios", template.lip_ratios), ("canonical", template.canonical)
    )}  # fmt: skip
    return MotionTemplate(
        motion=template.motion.frames(0, count), fps=template.fps, source=template.source, model=template.model, **cut
    )


def has_audio(path: Path) -> bool:
    """Whether a file has sound; a photo or an animated picture has none."""
    try:
        return video.read_info(path).has_audio
    except video.VideoError:
        return False


def driving_square(
    footage: Footage,
    side_px: int,
    detector: HeadFinder | None,
    *,
    crop: bool = True,
    box: Sequence[float | int] | None = None,
    scale: float | int | None = None,
) -> Float32[np.ndarray, "2 3"]:
    """One upright square for the whole clip: the mean of the squares around the head (LivePortrait's driving crop).

    A square that followed the head would take away the very motion that is to be transferred.

    Args:
        footage: what drives.
        side_px: side of the crops.
        detector: finds heads; people are preferred, other species are taken where there are none.
        crop: False takes the whole frame, squeezed to a square.
        box: head box x0,y0,x1,y1 in pixels instead of the detector.
        scale: framing; None for the framing of training.

    Raises:
        ValueError: no head in any frame that was looked at.
    """
    if not crop:
        return whole_frame(footage.height_px, footage.width_px, side_px)
    if box is not None:
        points = points_in_box(box, footage.height_px, footage.width_px, footage.name)
        squares = [_square(crop_transform(points, "human", side_px, scale), side_px)]
    elif detector is None:
        raise ValueError(f"{footage.name}: there is no detector; give driving_box=[x0,y0,x1,y1] or driving_crop=false")
    else:
        squares = [
            _square(crop_transform(head.points_xy, head.species, side_px, scale), side_px)
            for head in _heads(footage, detector)
        ]
    if not squares:
        raise ValueError(
            f"{footage.name}: no head found in any frame; give driving_box=[x0,y0,x1,y1], "
            "driving_crop=false or another file"
        )
    centre_x, centre_y, width = np.mean(squares, axis=0)
    k = width / side_px
    return np.array([[k, 0, centre_x - width / 2], [0, k, centre_y - width / 2]], np.float32)


def _heads(footage: Footage, detector: HeadFinder) -> list[Detection]:
    """The main head of the frames that are looked at: of one species throughout, people first."""
    found = [one for chunk in chunks(footage.looks(), 4) for one in detector(chunk)]
    is_human = any(head.species == "human" for heads in found for head in heads)
    wanted = [[head for head in heads if not is_human or head.species == "human"] for heads in found]
    return [max(heads, key=_size) for heads in wanted if heads]


def _size(head: Detection) -> float:
    x0, y0, x1, y1 = (float(v) for v in head.box_xyxy)
    return (x1 - x0) * (y1 - y0)


def _square(source_from_crop: np.ndarray, side_px: int) -> tuple[float, float, float]:
    """Centre and side, in frame pixels, of a crop; its roll is left out."""
    middle = source_from_crop @ np.array([side_px / 2, side_px / 2, 1.0])
    return float(middle[0]), float(middle[1]), side_px * math.hypot(*source_from_crop[:, 0])
