"""A noisy sequence -> the same, smoothed: the scalar form of LivePortrait's Kalman smoother."""

from jaxtyping import Float
from torch import Tensor

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
