"""Noisy motion -> the same, smoothed: LivePortrait's Kalman smoother (whole sequences), and the One-Euro filter (live).

The Kalman smoother looks ahead and so does not lag, but needs the whole sequence. The One-Euro filter (Casiez et al.,
CHI 2012) uses past frames only: it smooths much while little moves, where jitter is seen, and hardly where much moves,
where lag is seen.
"""

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    import evaluation.driving  # which imports this file

METHODS = ("none", "kalman", "one-euro")
MIN_CUTOFF_HZ = 1.0
BETA = 80.0
DERIVATIVE_CUTOFF_HZ = 5.0
"""Tuned at 20 to 30 frames a second on a turn by 30 degrees within 0.5 s, a blink of 0.15 s, the motion of five of
LivePortrait's templates, and that of two clips as the starter weights read it, with the noise that they have: at rest
the noise's standard deviation halves (0.6 with the starter's stronger noise), and motion lags by 0.1 to 0.4 frames (the
starter's expressions, which are ten times smaller, by 0.7). docs/templates.md has the numbers."""
SPEED_UNITS = {"rotation": 1.0, "delta": 0.2, "scale": 0.5, "shift": 0.5}
"""What counts as the same speed in the parts of a motion, as fast frames of LivePortrait's templates have it."""
PROCESS_VARIANCE = 1e-5
"""Variance of the random walk between frames, upstream's value."""


def smoothed(
    sequence: Float[Tensor, "T *shape"], observation_variance: float, process_variance: float = PROCESS_VARIANCE
) -> Float[Tensor, "T *shape"]:
    """Kalman filter and Rauch-Tung-Striebel smoother of independent random walks, one per number; float64 inside.

    Every number has the same gains, so they are computed once. The first state has variance 1 before its update.
    Numbers of a rotation matrix are smoothed like any others: the result is not quite a rotation, as upstream.
    """
    z = sequence.double()
    T = z.shape[0]
    prior = [1.0] * T
    posterior = [0.0] * T
    mean = z.clone()
    for t in range(T):
        if t:
            prior[t] = posterior[t - 1] + process_variance
        gain = prior[t] / (prior[t] + observation_variance)
        before = mean[t - 1] if t else z[0]
        mean[t] = before + gain * (z[t] - before)
        posterior[t] = (1 - gain) * prior[t]
    result = mean.clone()
    for t in range(T - 2, -1, -1):
        result[t] = mean[t] + posterior[t] / prior[t + 1] * (result[t + 1] - mean[t])
    return result.to(sequence.dtype)


class OneEuro:
    """A low-pass filter of every number by itself, whose cutoff rises with the number's speed; float64 inside.

    Args:
        fps: frames a second.
        min_cutoff_hz: cutoff at rest; lower is smoother and slower.
        beta: how much the cutoff rises, in Hz for each unit a second; higher lags less.
        derivative_cutoff_hz: cutoff of the speed.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(
        self,
        fps: Fraction | float | int,
        min_cutoff_hz: float | int = MIN_CUTOFF_HZ,
        beta: float | int = BETA,
        derivative_cutoff_hz: float | int = DERIVATIVE_CUTOFF_HZ,
    ) -> None:
        for name, value in (
            ("fps", fps),
            ("min_cutoff_hz", min_cutoff_hz),
            ("derivative_cutoff_hz", derivative_cutoff_hz),
        ):
            if not 0 < value < 1e6:
                raise ValueError(f"{name}={value} is out of range; give a positive number")
        if not 0 <= beta < 1e9:
            raise ValueError(f"beta={beta} is out of range; give 0 or more")
        self.fps, self.min_cutoff_hz, self.beta = float(fps), float(min_cutoff_hz), float(beta)
        self._speed_gain = self._gain(torch.tensor(float(derivative_cutoff_hz), dtype=torch.float64))
        self._value: Tensor | None = None
        self._speed: Tensor | None = None

    def __call__(self, value: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The next frame -> its smoothed value. The first frame stays as it is."""
        new = value.double()
        if self._value is None or self._speed is None:
            self._value, self._speed = new.clone(), torch.zeros_like(new)
        else:
            self._speed = self._speed + self._speed_gain * ((new - self._value) * self.fps - self._speed)
            gain = self._gain(self.min_cutoff_hz + self.beta * self._speed.abs())
            self._value = self._value + gain * (new - self._value)
        return self._value.to(value.dtype)

    def sequence(self, values: Float[Tensor, "T *shape"]) -> Float[Tensor, "T *shape"]:
        """The next T frames -> their smoothed values; a sequence may be given in pieces."""
        return torch.stack([self(value) for value in values]) if len(values) else values

    def _gain(self, cutoff_hz: Tensor) -> Tensor:
        """Weight of the new frame in an exponential average with this cutoff."""
        return 1 / (1 + self.fps / (2 * math.pi * cutoff_hz))


class MotionSmoother:
    """The One-Euro filter of a driver's motion, for motion that comes in pieces: a live driver, or a long one.

    Args:
        fps: frames a second.
        min_cutoff_hz: as in OneEuro.
        beta: as in OneEuro, for the rotation; the other parts are brought to its scale by SPEED_UNITS.
        derivative_cutoff_hz: as in OneEuro.
    """

    def __init__(
        self,
        fps: Fraction | float | int,
        *,
        min_cutoff_hz: float | int = MIN_CUTOFF_HZ,
        beta: float | int = BETA,
        derivative_cutoff_hz: float | int = DERIVATIVE_CUTOFF_HZ,
    ) -> None:
        self._filters = {
            part: OneEuro(fps, min_cutoff_hz, beta / unit, derivative_cutoff_hz) for part, unit in SPEED_UNITS.items()
        }

    def __call__(self, motion: "evaluation.driving.PosedMotion") -> "evaluation.driving.PosedMotion":
        """The next frames -> the same, smoothed."""
        smooth = {part: one_euro.sequence(getattr(motion, part)) for part, one_euro in self._filters.items()}
        return motion._replace(**smooth | {"rotation": nearest_rotation(smooth["rotation"])})


def smooth_motion(
    motion: "evaluation.driving.PosedMotion",
    method: str,
    fps: Fraction | float | int,
    *,
    kalman_variance: float = 3e-7,
    min_cutoff_hz: float | int = MIN_CUTOFF_HZ,
    beta: float | int = BETA,
    derivative_cutoff_hz: float | int = DERIVATIVE_CUTOFF_HZ,
) -> "evaluation.driving.PosedMotion":
    """A driver's whole motion -> the same, smoothed: expression, rotation (kept a rotation), scale and shift.

    Args:
        motion: any number of frames.
        method: none | kalman (looks ahead) | one-euro (does not).
        fps: frames a second; kalman does not need it.
        kalman_variance: observation variance, as in `smoothed`; upstream's value hardly smooths, 1e-5 does.
        min_cutoff_hz: one-euro only, as the two below; see MotionSmoother.
        beta: see MotionSmoother.
        derivative_cutoff_hz: see MotionSmoother.

    Raises:
        ValueError: the method is unknown or a number is out of range.
    """
    if method not in METHODS:
        raise ValueError(f"smoothing={method!r} is unknown; choose one of {', '.join(METHODS)}")
    if method == "none" or not len(motion.delta):
        return motion
    if method == "one-euro":
        smoother = MotionSmoother(
            fps, min_cutoff_hz=min_cutoff_hz, beta=beta, derivative_cutoff_hz=derivative_cutoff_hz
        )
        return smoother(motion)
    if not 0 < kalman_variance < 1e6:
        raise ValueError(f"kalman_variance={kalman_variance} is out of range; give a small positive number")
    smooth = {part: smoothed(getattr(motion, part), kalman_variance) for part in SPEED_UNITS}
    return motion._replace(**smooth | {"rotation": nearest_rotation(smooth["rotation"])})


def nearest_rotation(matrix: Float[Tensor, "T 3 3"]) -> Float[Tensor, "T 3 3"]:
    """Matrices that are almost rotations -> the rotations nearest to them (SVD)."""
    u, _, vh = torch.linalg.svd(matrix.double())
    sign = torch.linalg.det(u @ vh)[:, None]
    u = torch.cat((u[:, :, :2], u[:, :, 2:] * sign[:, :, None]), dim=2)
    return (u @ vh).to(matrix.dtype)
