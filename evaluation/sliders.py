"""Settings of the portrait editor's sliders -> changes of single coordinates of single keypoints.

What every slider moves is upstream's (KwaiVGI/LivePortrait, the retargeting page of its app), found there by trial
with its human weights: other weights give the keypoints other meanings, unless they were fine-tuned from those. Blink
and the five mouth shapes are additions, composed of upstream's moves.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

NUM_KEYPOINTS = 21
X, Y, Z = range(3)
RANGES: dict[str, tuple[float, float]] = {
    "eyes_open": (0.0, 0.8),
    "lips_open": (0.0, 0.8),
    "pitch_deg": (-15.0, 15.0),
    "yaw_deg": (-25.0, 25.0),
    "roll_deg": (-15.0, 15.0),
    "move_x": (-0.19, 0.19),
    "move_y": (-0.19, 0.19),
    "move_z": (0.9, 1.2),
    "pouting": (-0.09, 0.09),
    "pursing": (-20.0, 15.0),
    "grin": (0.0, 15.0),
    "lips": (-90.0, 120.0),
    "smile": (-0.3, 1.3),
    "wink": (0.0, 39.0),
    "eyebrow": (-30.0, 30.0),
    "gaze_x": (-30.0, 30.0),
    "gaze_y": (-63.0, 63.0),
    "blink": (0.0, 1.0),
    "mouth_a": (0.0, 1.0),
    "mouth_e": (0.0, 1.0),
    "mouth_i": (0.0, 1.0),
    "mouth_o": (0.0, 1.0),
    "mouth_u": (0.0, 1.0),
}
"""Smallest and largest value of every slider; upstream's where it has the slider."""
MOVES: dict[str, tuple[tuple[int, int, float], ...]] = {
    # Slider -> keypoint, axis, change of the expression for a slider value of 1.
    "move_x": ((5, X, -1.0),),
    "move_y": ((5, Y, 1.0),),
    "pouting": ((19, X, 1.0),),
    "pursing": ((14, Y, 1e-3), (3, Y, -5e-4), (7, Y, -5e-4), (17, Z, -5e-4)),
    "grin": ((20, Z, -1e-3), (20, Y, -1e-3), (14, Y, -1e-3)),
    "lips": ((19, Y, 1e-3), (19, Z, 1e-4), (17, Y, -1e-4)),
    "smile": (
        *((20, Y, -0.01), (14, Y, -0.02), (17, Y, 0.0065), (17, Z, 0.003)),
        *((13, Y, -0.00275), (16, Y, -0.00275), (3, Y, -0.0035), (7, Y, -0.0035)),
    ),
    "wink": ((11, Y, 1e-3), (13, Y, -3e-4), (17, X, 3e-4), (17, Y, 3e-4), (3, Y, -3e-4)),
    "eyebrow": ((1, Y, 1e-3), (2, Y, -1e-3)),
    "gaze_x": ((11, X, 7e-4), (15, X, 1e-3)),
    # Upstream lowers the lids by half the gaze; this is the sum of both.
    "gaze_y": ((11, Y, -5e-4), (15, Y, -5e-4), (13, Y, -1.5e-4), (16, Y, -1.5e-4)),
    # The lid part of upstream's gaze and wink on both eyes, 25 of their units.
    "blink": ((11, Y, 0.025), (15, Y, 0.025), (13, Y, -0.0075), (16, Y, -0.0075)),
}
MOVES_BELOW_ZERO: dict[str, tuple[tuple[int, int, float], ...]] = {
    "eyebrow": ((1, X, -1e-3), (2, X, 1e-3), (1, Y, 3e-4), (2, Y, -3e-4)),
    "gaze_x": ((11, X, 1e-3), (15, X, 7e-4)),
}
"""Sliders that move something else below zero."""
MOUTH_SHAPES: dict[str, dict[str, float]] = {
    "mouth_a": {"lips": 90.0},
    "mouth_e": {"lips": 40.0, "grin": 8.0},
    "mouth_i": {"lips": 15.0, "grin": 13.0, "smile": 0.2},
    "mouth_o": {"lips": 55.0, "pursing": 8.0},
    "mouth_u": {"lips": 20.0, "pursing": 14.0},
}
"""Our own recipes: jaw (lips), width (grin, smile) and rounding (pursing) of the full vowel, in slider units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortraitEdit:
    """Settings of the sliders; as it stands it changes nothing.

    Lengths are in keypoint units before the head's scale: half a crop is 1 / scale of them, about 0.7. Mouth shapes and
    blink add to the other sliders; their sum is not limited.

    Raises:
        ValueError: a value is outside its range in `RANGES`.
    """

    eyes_open: float | None = None
    """Eye-open ratio to reach (lid distance / corner distance, 0-0.8; about 0.35 is open); None leaves the eyes."""
    lips_open: float | None = None
    """Lip-open ratio to reach (lip distance / mouth width, 0-0.8; 0 is closed); None leaves the lips."""
    pitch_deg: float = 0.0
    """Added to the head's pitch, ±15."""
    yaw_deg: float = 0.0
    """Added to its yaw, ±25."""
    roll_deg: float = 0.0
    """Added to its roll, ±15."""
    move_x: float = 0.0
    """Shift of the head by keypoint 5, ±0.19; upstream's sign: positive lowers its x."""
    move_y: float = 0.0
    """Shift down by keypoint 5, ±0.19."""
    move_z: float = 1.0
    """Factor on the head's size, 0.9-1.2."""
    pouting: float = 0.0
    """±0.09, the sideways place of keypoint 19."""
    pursing: float = 0.0
    """-20 to 15 thousandths: lips drawn together and forward."""
    grin: float = 0.0
    """0 to 15 thousandths: mouth wide, teeth shown."""
    lips: float = 0.0
    """-90 (pressed shut) to 120 (wide open) thousandths; moves what `lips_open` asks the retargeting network for."""
    smile: float = 0.0
    """-0.3 (corners down) to 1.3."""
    wink: float = 0.0
    """0 to 39 thousandths: shuts the eye of keypoints 11 and 13."""
    eyebrow: float = 0.0
    """±30 thousandths; below zero the brows' keypoints move towards each other."""
    gaze_x: float = 0.0
    """±30 thousandths, positive towards the right of the picture."""
    gaze_y: float = 0.0
    """±63 thousandths, positive up; the lids follow."""
    blink: float = 0.0
    """0 to 1 (both eyes shut); 1 moves the upper lids by 0.025; upstream's motion templates go to 0.021."""
    mouth_a: float = 0.0
    """0 to 1, as in father: the jaw down."""
    mouth_e: float = 0.0
    """0 to 1, as in bed: half open and wide."""
    mouth_i: float = 0.0
    """0 to 1, as in see: nearly shut and wide."""
    mouth_o: float = 0.0
    """0 to 1, as in or: open and round."""
    mouth_u: float = 0.0
    """0 to 1, as in two: nearly shut and round."""

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"{name}={value} is out of range; give {low:g} to {high:g}")

    @property
    def has_rotation(self) -> bool:
        """Whether the head is turned."""
        return any((self.pitch_deg, self.yaw_deg, self.roll_deg))

    def slider_values(self) -> dict[str, float]:
        """Values of the sliders in `MOVES` that are not 0, with the mouth shapes taken apart."""
        values = {name: getattr(self, name) for name in MOVES}
        for shape, parts in MOUTH_SHAPES.items():
            for name, amount in parts.items():
                values[name] += getattr(self, shape) * amount
        return {name: value for name, value in values.items() if value}


def slider_change(name: str, value: float) -> Float[Tensor, "21 3"]:
    """The change of the expression by one slider of `MOVES`, at any value."""
    change = torch.zeros(NUM_KEYPOINTS, 3)
    for keypoint, axis, gain in MOVES_BELOW_ZERO.get(name, MOVES[name]) if value < 0 else MOVES[name]:
        change[keypoint, axis] = gain * value
    return change
