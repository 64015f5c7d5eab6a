"""Two sets of points -> the shift, turn and zoom between them."""

import numpy as np
from jaxtyping import Float


def similarity(source: Float[np.ndarray, "L 2"], target: Float[np.ndarray, "L 2"]) -> Float[np.ndarray, "2 3"]:
    """Least-squares shift, turn and zoom from one set of points to another (Umeyama 1991, without reflection)."""
    a, b = source.astype(np.float64), target.astype(np.float64)
    za, zb = (p[:, 0] + 1j * p[:, 1] for p in (a - a.mean(axis=0), b - b.mean(axis=0)))
    z = (za.conj() @ zb) / max(1e-12, float((za.conj() @ za).real))
    turn = np.array([[z.real, -z.imag], [z.imag, z.real]])
    return np.concatenate([turn, (b.mean(axis=0) - turn @ a.mean(axis=0))[:, None]], axis=1)
