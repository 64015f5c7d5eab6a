"""Positions seen now and then -> a steady path: what stands still is calmed, what moves is left alone."""

import numpy as np
from jaxtyping import Float64

_NEIGHBOURS = 12
"""Sightings to each side that a window may hold."""
_CALM, _QUICK = 0.006, 0.012
"""Sides. The detector's points scatter by up to 0.006 of a head's side on photos shown as clips."""


def window_weights(
    at: Float64[np.ndarray, " K"], reach: float, weights: Float64[np.ndarray, " K"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each place the indices of its neighbours, their distance in reaches, and their weight (tricube; 0 beyond)."""
    count = len(at)
    index = np.arange(count)[:, None] + np.arange(-_NEIGHBOURS, _NEIGHBOURS + 1)[None]
    inside = (index >= 0) & (index < count)
    index = np.clip(index, 0, count - 1)
    away = (at[index] - at[:, None]) / reach
    weight = np.clip(1 - np.abs(away) ** 3, 0, None) ** 3 * weights[index]
    return index, away, np.where(inside, weight, 0)


def local_quadratic(
    at: Float64[np.ndarray, " K"],
    values: Float64[np.ndarray, "K D"],
    reach: float,
    weights: Float64[np.ndarray, " K"] | None = None,
) -> Float64[np.ndarray, "K D"]:
    """The parabola fitted around each place, read at the place: symmetric in time, so nothing lags.

    Args:
        at: rising positions in time.
        values: what was seen there.
        reach: half width of the window in the unit of `at`.
        weights: how far each sighting is trusted.
    """
    index, away, weight = window_weights(at, reach, np.ones(len(at)) if weights is None else weights)
    basis = np.stack([np.ones_like(away), away, away**2], axis=-1)
    normal = np.einsum("kn,kni,knj->kij", weight, basis, basis) + 1e-9 * np.eye(3)
    right = np.einsum("kn,kni,knd->kid", weight, basis, values[index])
    # The value at the place itself is the parabola's constant.
    return np.linalg.solve(normal, right)[:, 0]


def steadied(
    at: Float64[np.ndarray, " K"],
    values: Float64[np.ndarray, "K D"],
    reach: float,
    side: float,
    weights: Float64[np.ndarray, " K"] | None = None,
) -> Float64[np.ndarray, "K D"]:
    """Smooth only what looks like a measurement's scatter.

    Where smoothing would move the values by about as much as the detector scatters (0.6 % of the side), the smooth path
    is taken; where by twice that or more, the head really moved, and what was seen stays.

    Args:
        at: rising positions in time.
        values: x and y of points, one after the other, in pixels.
        reach: half width of the window in the unit of `at`; 0 changes nothing.
        side: the head's side in pixels.
        weights: how far each sighting is trusted.
    """
    if len(at) < 4 or reach <= 0:
        return values
    calm = local_quadratic(at, values, reach, weights)
    moved = 2 * ((calm - values) ** 2).mean(axis=1) / max(side, 1e-6) ** 2  # of a point: x and y
    index, _, weight = window_weights(at, reach, np.ones(len(at)))
    around = np.sqrt((weight * moved[index]).sum(axis=1) / weight.sum(axis=1))
    quick = np.clip((around - _CALM) / (_QUICK - _CALM), 0, 1)[:, None]
    return calm + quick * (values - calm)
