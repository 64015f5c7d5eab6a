"""Grey source pixels -> how strongly the 8 x 8 blocks of JPEG and old video codecs stand out."""

import cv2
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
    # Every other line is enough: the steps are averaged along the lines.
    return float(min(_along(grey[::2]), _along(np.ascontiguousarray(grey[:, ::2].T))))


def _along(picture: np.ndarray) -> float:
    step = cv2.absdiff(picture[:, 1:], picture[:, :-1])
    # Twice the second difference, in whole numbers.
    kernel = np.array([[-1, 2, -1]], np.float32)
    beyond = np.abs(cv2.filter2D(step, cv2.CV_16S, kernel)[:, 1:-1]).mean(axis=0)
    usable = len(beyond) // BLOCK_PX * BLOCK_PX
    by_offset = beyond[:usable].reshape(-1, BLOCK_PX).mean(axis=0)
    usual = float(np.median(by_offset))
    return float(np.clip(by_offset.max() / usual, 1.0, _CAP)) if usual > 1e-6 else 1.0
