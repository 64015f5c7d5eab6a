"""Grey crops -> how much of them is clipped to black or white."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

_BLACK, _WHITE = 4, 251


class Clipping(NamedTuple):
    """Shares of the picture without tone."""

    dark_frac: float
    """0 to 1: grey level 4 or less."""
    light_frac: float
    """0 to 1: grey level 251 or more."""


def clipping(grey: UInt8[np.ndarray, "H W"], inside: Bool[np.ndarray, "H W"] | None = None) -> Clipping:
    """Shares of clipped shadows and highlights.

    Source: the definition. The limits leave four levels for ringing of compressed pictures.

    Args:
        grey: the crop, 0-255.
        inside: where the crop lies in the source frame; the black fill around it does not count. None: everywhere.
    """
    seen = grey if inside is None else grey[inside]
    if not seen.size:
        return Clipping(0.0, 0.0)
    return Clipping(
        float(np.count_nonzero(seen <= _BLACK)) / seen.size, float(np.count_nonzero(seen >= _WHITE)) / seen.size
    )
