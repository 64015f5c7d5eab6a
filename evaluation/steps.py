"""What is made for one frame of an animation."""

from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8


class Step(NamedTuple):
    """Everything made for one frame."""

    frame: UInt8[np.ndarray, "H W 3"]
    """The result: the whole picture, or the crop without paste-back."""
    result: UInt8[np.ndarray, "S S 3"]
    """What the generator made; of several heads, the first one from the left."""
    source: UInt8[np.ndarray, "S2 S2 3"]
    """The source's crop."""
    driving: UInt8[np.ndarray, "S2 S2 3"] | None
    """What the networks saw of the driver; None for a template."""
