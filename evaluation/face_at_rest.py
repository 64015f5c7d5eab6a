"""A source's own face and the user's wishes -> what eyes, lips and sliders add to the driver's motion."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from evaluation.driving import PosedMotion
from evaluation.editor import apply_edit
from evaluation.openings import OpeningReader, Openings, read_curve, stacked
from evaluation.options import Options, Wanted
from evaluation.performance import Performance
from evaluation.retarget import Corrections, closed_lips_delta, eyes_delta, lips_delta, open_eyes_delta
from evaluation.sliders import PortraitEdit

DRIVER = "driver"
"""The driver's own opening."""
FOLLOW = "follow"
"""Of the source's own opening the share that the driver shows of their usual one: a blink shuts large eyes too."""
WIDEST_SHARE = 1.15
USUAL_QUANTILE = 0.8
"""Of the driver's openings: eyes are open for most of the time, and half shut for much of it."""
LEAST_USUAL = 0.05
"""A driver's eyes that are usually shut further than this are taken to be this open."""
LAST_FRAMES = 250
"""Of a camera, that tell its usual opening."""
FIRST_FRAMES = 1024
"""Of a curve, that are read at once."""


def needed_openings(options: Options, *, is_video: bool) -> tuple[bool, bool]:
    """Whether the source's own eyes, and its own lips, must be known."""
    eyes = options.eyes is not None or (options.keep_eyes_open and is_video)
    return eyes, options.lips is not None or (options.normalise_lips and options.relative)


def needs_driver_openings(options: Options) -> bool:
    """Whether the driver's openings must be read in every frame."""
    return DRIVER in (options.eyes, options.lips) or options.eyes == FOLLOW


def limit_reading(performance: Performance, options: Options) -> None:
    """Have a driver's openings read only where somebody needs them.

    Raises:
        ValueError: they are needed and can not be told.
    """
    if not needs_driver_openings(options):
        if options.reference != "neutral":
            performance.drop_reader()
    elif not performance.knows_openings:
        raise ValueError(
            f"{performance.driver_name}: eyes=driver, eyes=follow and lips=driver need to know how open the "
            "driver's are; give openings=built_in, or a motion template that holds them"
        )
    elif options.eyes == FOLLOW and performance.is_still:
        raise ValueError(f"{performance.driver_name}: eyes=follow needs a driver that moves; give eyes=driver")


def source_openings(
    options: Options,
    crops: Sequence[UInt8[np.ndarray, "S S 3"]],
    reader: OpeningReader | None,
    name: str,
    *,
    is_video: bool,
) -> Openings | None:
    """How open the source's eyes and lips are: as typed, else as read, NaN without a face; None where nobody asks.

    Raises:
        ValueError: they are needed and can neither be read nor were given.
    """
    asked = needed_openings(options, is_video=is_video)
    if not any(asked):
        return None
    typed = {"source_eyes=0.35": options.source_eyes, "source_lips=0.0": options.source_lips}
    given = stacked(options.given_openings()(crops))
    missing = [word for is_asked, (word, value) in zip(asked, typed.items(), strict=True) if is_asked and value is None]
    if not missing:
        return given
    if reader is None:
        raise ValueError(
            f"{name}: eyes and lips can be moved to a ratio only when the source's own is known; give "
            f"{' '.join(missing)} as they look, or openings=built_in"
        )
    read = stacked(list(reader(crops)))
    eyes = read.eyes if options.source_eyes is None else given.eyes
    return Openings(eyes, read.lips if options.source_lips is None else given.lips)


class Wishes:
    """Openings to reach, for every frame.

    Raises:
        ValueError: a number is out of range, or a curve's file cannot be read.
    """

    def __init__(self, options: Options, fps: Fraction) -> None:
        self.options = options
        self.usual_eyes: Float[Tensor, ""] | None = None
        """The driver's usual opening, for eyes=follow; until it is told, that of the last frames seen."""
        self._seen = torch.zeros(0)
        self._eyes = None if options.eyes in (None, DRIVER, FOLLOW) else _Curve("eyes", options.eyes, fps)
        self._lips = None if options.lips in (None, DRIVER) else _Curve("lips", options.lips, fps)

    @property
    def has_any(self) -> bool:
        """Whether eyes or lips are to be moved at all."""
        return self.options.eyes is not None or self.options.lips is not None

    def change(
        self,
        corrections: Corrections,
        x_s: Float[Tensor, "T K 3"],
        own: Openings,
        start: int,
        driver: Openings | None,
    ) -> Float[Tensor, "T K 3"]:
        """Change of the keypoints of frames start, start+1, ...: from the source's own openings to the wanted ones.

        Where the driver's openings are NaN, they ask for nothing.
        """
        count, device = len(x_s), x_s.device
        change = torch.zeros_like(x_s)
        # Upstream reads the first eye of the driver only.
        for curve, word, now, theirs, retarget in (
            (self._eyes, self.options.eyes, own.eyes, None if driver is None else driver.eyes[:, :1], eyes_delta),
            (self._lips, self.options.lips, own.lips, None if driver is None else driver.lips, lips_delta),
        ):
            if word is None:
                continue
            wanted = curve.frames(start, start + count) if curve is not None else theirs
            assert wanted is not None  # `limit_reading` has made sure
            now = now.expand(count, now.shape[1])
            if word == FOLLOW:
                assert driver is not None
                wanted = now.mean(dim=1, keepdim=True) * self._share(driver.eyes.mean(dim=1, keepdim=True)).to(now)
            now, wanted = now.to(device), wanted.to(device).float()
            delta = retarget(corrections, x_s, now, wanted)
            change = change + torch.where(wanted.isnan()[:, :, None], torch.zeros_like(delta), delta)
        return change

    def usual(self, driver: Openings | None) -> None:
        """Tell how open the driver's eyes usually are, if all frames are known."""
        if driver is not None:
            self.usual_eyes = driver.eyes.mean(dim=1).nanquantile(USUAL_QUANTILE)

    def _share(self, eyes: Float[Tensor, "T 1"]) -> Float[Tensor, "T 1"]:
        """Of the driver's usual opening; NaN while no face was seen."""
        usual = self.usual_eyes
        if usual is None:  # a camera: nobody knows what is to come
            self._seen = torch.cat((self._seen.to(eyes), eyes[eyes.isfinite()]))[-LAST_FRAMES:]
            usual = self._seen.quantile(USUAL_QUANTILE) if len(self._seen) else eyes.new_tensor(float("nan"))
        return (eyes / usual.clamp(min=LEAST_USUAL)).clamp(max=WIDEST_SHARE)


def rest_change(
    options: Options, corrections: Corrections, x_s: Float[Tensor, "T K 3"], own: Openings | None, *, is_video: bool
) -> Float[Tensor, "T K 3"] | None:
    """Closed lips and steady eyes, added after stitching; None when nobody asks."""
    if own is None:
        return None
    eyes, lips = (value.to(x_s.device) for value in own)
    change = None
    if options.normalise_lips and options.relative:
        change = closed_lips_delta(corrections, x_s, lips)
    if options.keep_eyes_open and is_video:
        opened = open_eyes_delta(corrections, x_s, eyes)
        change = opened if change is None else change + opened
    return change


def edited(motion: PosedMotion, edit: PortraitEdit) -> PosedMotion:
    """A motion with the sliders added; the motion itself when they stand at rest."""
    if edit == PortraitEdit():
        return motion
    return apply_edit(motion.delta, motion.rotation, motion.scale, motion.shift, edit)


class _Curve:
    """An opening for every frame, however many there will be: cameras and some files do not tell."""

    def __init__(self, name: str, wanted: Wanted, fps: Fraction) -> None:
        assert wanted is not None
        self._wanted = wanted
        self._fps = fps
        try:
            self._values = read_curve(wanted, fps, FIRST_FRAMES)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error

    def frames(self, start: int, stop: int) -> Float[Tensor, "T 1"]:
        """Frames [start, stop)."""
        if stop > len(self._values):
            self._values = read_curve(self._wanted, self._fps, 2 * stop)
        return self._values[start:stop, None]
