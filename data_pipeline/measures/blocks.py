"""Grey source pixels -> how strongly the 8 x 8 blocks of JPEG and old video codecs stand out."""

import numpy as np
from jaxtyping import UInt8

BLOCK_PX = 8
_CAP = 16.0


def blockiness(grey: UInt8[np.ndarray, "H W"]) -> float:
    """Energy of steps across block borders / energy of the steps between them.

    Steps are second differences, so that shading does not count. The grid's offset is searched (pictures are cut and
    rotated), and the strongest of the eight offsets is compared with the median one. After Wang, Sheikh and Bovik,
    "No-reference perceptual quality assessment of JPEG compressed images", 2002. Only pictures that were not resized
    after compression show their blocks; H.264 and newer codecs filter them away.

    Args:
        grey: native source pixels.

    Returns:
        1 (no blocks) to 16; 1 when a side is below 32 pixels. The smaller one of rows and columns.
    """
    if min(grey.shape) < 4 * BLOCK_PX:
        return 1.0
    picture = grey.astype(np.float32)
    return float(min(_along(picture), _along(picture.T)))


def _along(picture: np.ndarray) -> float:
    step = np.abs(np.diff(picture, axis=1))
    beyond = np.abs(step[:, 1:-1] - (step[:, :-2] + step[:, 2:]) / 2).mean(axis=0)
    usable = len(beyond) // BLOCK_PX * BLOCK_PX
    by_offset = beyond[:usable].reshape(-1, BLOCK_PX).mean(axis=0)
    usual = float(np.median(by_offset))
    return float(np.clip(by_offset.max() / usual, 1.0, _CAP)) if usual > 1e-6 else 1.0
