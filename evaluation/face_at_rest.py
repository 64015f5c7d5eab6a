"""A source's own face and the user's wishes -> what eyes, lips and sliders add to the driver's motion."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from evaluation.driving import PosedMotion
from evaluation.editor import apply_edit
from evaluation.openings import GivenOpenings, OpeningReader, Openings, held, read_curve, stacked
from evaluation.options import Options, Wanted
from evaluation.retarget import Corrections, closed_lips_delta, eyes_delta, lips_delta, open_eyes_delta
from evaluation.sliders import PortraitEdit

DRIVER = "driver"


def needs_source_openings(options: Options) -> bool:
    """Whether the source's own openings must be known."""
    return options.eyes is not None or options.lips is not None or options.normalise_lips or options.keep_eyes_open


def needs_driver_openings(options: Options) -> bool:
    """Whether the driver's openings must be read in every frame."""
    return DRIVER in (options.eyes, options.lips)


def source_openings(
    options: Options, crops: Sequence[UInt8[np.ndarray, "S S 3"]], reader: OpeningReader | None, name: str
) -> Openings | None:
    """How open the source's eyes and lips are: as typed, else as read; None where nobody asks.

    Raises:
        ValueError: they are needed and can neither be read nor were given.
    """
    if not needs_source_openings(options):
        return None
    typed = options.source_eyes, options.source_lips
    if None not in typed:
        given = GivenOpenings(eyes=options.source_eyes, lips=options.source_lips)  # pyright: ignore[reportArgumentType]
        return stacked(given(crops))
    if reader is None:
        raise ValueError(
            f"{name}: eyes and lips can be moved to a ratio only when the source's own is known; give source_eyes=0.35 "
            "source_lips=0.0 as they look, or openings=face_mesh for people"
        )
    read = held(stacked(list(reader(crops))), name)
    eyes = read.eyes if options.source_eyes is None else stacked(GivenOpenings(eyes=options.source_eyes)(crops)).eyes
    lips = read.lips if options.source_lips is None else stacked(GivenOpenings(lips=options.source_lips)(crops)).lips
    return Openings(eyes, lips)


class Wishes:
    """Openings to reach, for every frame."""

    def __init__(self, options: Options, fps: Fraction, num_frames: int) -> None:
        self.options = options
        self._eyes = _curve(options.eyes, fps, num_frames)
        self._lips = _curve(options.lips, fps, num_frames)

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
        """Change of the keypoints of frames start, start+1, ...: from the source's own openings to the wanted ones."""
        count, device = len(x_s), x_s.device
        change = torch.zeros_like(x_s)
        # Upstream reads the first eye of the driver only.
        for curve, word, now, theirs, retarget in (
            (self._eyes, self.options.eyes, own.eyes, None if driver is None else driver.eyes[:, :1], eyes_delta),
            (self._lips, self.options.lips, own.lips, None if driver is None else driver.lips, lips_delta),
        ):
            if word is None:
                continue
            wanted = _slice(curve, start, count) if curve is not None else theirs
            if wanted is None:
                raise ValueError("eyes or lips follow the driver, but how open the driver's are is not known")
            now = now.expand(count, now.shape[1]).to(device)
            change = change + retarget(corrections, x_s, now, wanted.to(device).float())
        return change


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


def _curve(wanted: Wanted, fps: Fraction, num_frames: int) -> Tensor | None:
    if wanted is None or wanted == DRIVER:
        return None
    what = Path(wanted) if isinstance(wanted, str) else wanted
    return read_curve(what, fps, max(1, num_frames))


def _slice(curve: Tensor, start: int, count: int) -> Float[Tensor, "T 1"]:
    """Values of some frames; the last one is held."""
    index = torch.arange(start, start + count).clamp(max=len(curve) - 1)
    return curve[index][:, None]
