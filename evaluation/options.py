"""Everything a user may ask of an animation, checked: the options of lp-animate and of `Animator.animate`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from fractions import Fraction
from numbers import Integral, Real
from typing import Any, Literal, get_args, get_origin

from evaluation.driving import Balance, DrivingOptions, Region, Rules
from evaluation.openings import GivenOpenings
from evaluation.reference import CHOICES
from evaluation.sliders import PortraitEdit

Audio = Literal["driver", "source", "none"]
Smoothing = Literal["auto", "none", "kalman", "one-euro"]
Wanted = float | int | str | None
"""An opening to reach: a number, a word for the driver's (see `Options.eyes`), the path of a CSV, or nothing."""
KINDS: dict[Any, tuple[Any, str]] = {
    bool: (bool, "true or false"),
    float: (Real, "a number"),
    int: (Integral, "a whole number"),
    str: (str, "a word"),
    type(None): (type(None), "null"),
}
"""Type of a field -> what a value of it is, and how people call that. YAML makes a word of a misspelt true."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a source is moved by a driver. The same names are the options of `lp-animate` (conf/animate.yaml).

    Raises:
        ValueError: a value is unknown or out of range; one sentence says which.
    """

    relative: bool = True
    """Add the driver's motion since its reference frame; False takes its pose and expression as they are."""
    region: Region = "all"
    """What is taken over: all, exp, pose, lip or eyes."""
    driving_option: Balance = "expression-friendly"
    """expression-friendly scales the motion to the source's head; pose-friendly does not."""
    rules: Rules = "human"
    """human; animal (upstream's animal pipeline); animal-stitched (ours: relative, amplified before stitching)."""
    multiplier: float | int = 1.0
    """Factor on the motion."""
    reference: int | str = "first"
    """Driving frame from which relative motion counts: first, neutral, closest (to the source), or its number."""
    smoothing: Smoothing = "auto"
    """Of the driver's motion: auto (kalman for source videos as upstream, else none), none, kalman, one-euro."""
    smoothing_variance: float = 3e-7
    """Observation variance of kalman; larger is smoother."""

    stitching: bool = True
    """Keep shoulders and background where they are (needs trained stitching weights to do anything)."""
    normalise_lips: bool = False
    """Close the source's lips before it is animated."""
    keep_eyes_open: bool = False
    """Source videos: hold the eyes as open as in the first frame."""
    eyes: Wanted = None
    """Eye-open ratio to reach, about 0.35 is open; or `driver`; or `follow`: of the source's own opening the share that
    the driver shows of their usual one; or a CSV file with a curve."""
    lips: Wanted = None
    """Lip-open ratio to reach, 0 is closed; or `driver`, or a CSV file with a curve."""
    keep_motion: bool = True
    """Add eyes and lips to the driver's motion; False lets them replace it in relative mode, as upstream."""
    source_eyes: float | int | Sequence[float | int] | None = None
    """How open the source's eyes are, when no reader can tell (animals): one number, or the viewer's left and right."""
    source_lips: float | int | None = None
    """How open its lips are."""
    edit: PortraitEdit = field(default_factory=PortraitEdit)
    """Slider settings for the source's face at rest."""

    pasteback: bool = True
    """Whole pictures; False gives the square crops."""
    head: int | str = "largest"
    """Which head of the source: largest, all, or its number from left to right, from 0."""
    source_box: Sequence[float | int] | None = None
    """Head box x0,y0,x1,y1 in pixels instead of the detector."""
    source_crop: bool = True
    """False takes the whole source picture, squeezed to a square."""
    source_scale: float | int | None = None
    """Framing of the source; larger shows more around the head, None is the framing of training."""
    driving_box: Sequence[float | int] | None = None
    driving_crop: bool = True
    driving_scale: float | int | None = None

    fps: Fraction | float | int | None = None
    """Frames a second of driving frames in memory; files know theirs."""
    seconds: float | int | None = None
    """Use only this much of the driver; a camera needs it, or Ctrl-C."""

    def __post_init__(self) -> None:
        for one in fields(self):
            if not _fits(value := getattr(self, one.name), one.type):
                raise ValueError(f"{one.name}={value!r} cannot be used; give {_called(one.type)}")
        self.driving()  # checks multiplier and variance
        self.given_openings()
        self._check_numbers()
        self._check_choices()

    def _check_numbers(self) -> None:
        for name in ("source_scale", "driving_scale", "seconds", "fps"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name}={value} is out of range; give a number above 0")
        for name in ("eyes", "lips"):
            if (value := getattr(self.edit, f"{name}_open")) is not None:
                raise ValueError(f"edit.{name}_open={value} is for the editor; here give {name}={value}")

    def _check_choices(self) -> None:
        if self.lips == "follow":
            raise ValueError("lips=follow is not possible: of a shut mouth there is no share; give lips=driver")
        if isinstance(self.head, str) and self.head not in ("largest", "all"):
            raise ValueError(f"head={self.head!r} is unknown; give largest, all, or a number from 0")
        is_word = isinstance(self.reference, str)
        if self.reference not in CHOICES if is_word else self.reference < 0:  # pyright: ignore[reportOperatorIssue]
            raise ValueError(
                f"reference={self.reference!r} is unknown; choose {', '.join(CHOICES)} or a frame's number"
            )
        if self.rules != "human" and self.region != "all":
            raise ValueError(f"rules={self.rules} moves everything; region={self.region} needs rules=human")
        if self.head == "all" and not self.pasteback:
            raise ValueError("head=all puts several heads into one picture; it needs pasteback=true")

    def driving(self) -> DrivingOptions:
        """The part that the driving rules read."""
        return DrivingOptions(
            relative=self.relative, region=self.region, balance=self.driving_option, rules=self.rules,
            multiplier=float(self.multiplier), smoothing_variance=self.smoothing_variance,
        )  # fmt: skip

    def given_openings(self) -> GivenOpenings:
        """How open the source's eyes and lips are, as typed; usual ones stand for what was not."""
        eyes, lips = self.source_eyes, self.source_lips
        try:
            return GivenOpenings(eyes=0.35 if eyes is None else eyes, lips=0.0 if lips is None else lips)
        except ValueError as error:
            raise ValueError(f"source_{error}") from error


def _fits(value: Any, hint: Any) -> bool:  # noqa: ANN401
    """Whether a value is of a field's type."""
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_origin(hint) is Sequence:
        return isinstance(value, list | tuple) and all(_fits(one, get_args(hint)[0]) for one in value)
    if get_args(hint):
        return any(_fits(value, one) for one in get_args(hint))
    return isinstance(value, KINDS.get(hint, (hint,))[0]) and isinstance(value, bool) <= (hint is bool)


def _called(hint: Any) -> str:  # noqa: ANN401
    """How people call the values of a type."""
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(get_args(hint))
    if get_origin(hint) is Sequence:
        return "numbers in brackets such as [0.3,0.4]"
    if hint in KINDS:
        return KINDS[hint][1]
    names = [_called(one) for one in get_args(hint)] or [f"a {hint.__name__}"]
    return " or ".join(name for name in names if name != "a whole number" or "a number" not in names)
