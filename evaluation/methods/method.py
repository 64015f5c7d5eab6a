"""What a method is: a pair in, frames out."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from evaluation.protocols.pairs import PairFrames


@runtime_checkable
class Method(Protocol):
    """Anything that moves a source like a driver."""

    name: str
    about: dict[str, Any]
    """Where it comes from: goes into the report."""

    def __call__(self, pair: PairFrames) -> UInt8[np.ndarray, "T S S 3"]:
        """A frame for each of the driver's, of their size.

        Raises:
            ValueError: nothing can be made of this pair; it is counted, and the others go on.
        """
        ...
