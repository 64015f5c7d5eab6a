"""Pictures and clips in memory -> files that appear whole or not at all."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from data_pipeline.whole_file import whole_file, write_errors


def save_png(path: Path, image: UInt8[np.ndarray, "H W 3"]) -> None:
    """Write whole or not at all."""
    from PIL import Image

    with whole_file(path) as part, write_errors(path):
        Image.fromarray(image).save(part, "PNG")


def to_bytes(images: Float[Tensor, "B 3 H W"], side_px: int) -> UInt8[np.ndarray, "B side side 3"]:
    """RGB in 0-1 -> bytes at another side."""
    sized = images.float().cpu()
    if sized.shape[-1] != side_px:
        sized = F.interpolate(sized, size=(side_px, side_px), mode="bilinear", antialias=True)
    return (sized.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def side_by_side(columns: Sequence[UInt8[np.ndarray, "B S S 3"]]) -> UInt8[np.ndarray, "B S W 3"]:
    """Columns of pictures -> wide pictures."""
    return np.concatenate(columns, axis=2)


def below_each_other(rows: UInt8[np.ndarray, "B S W 3"]) -> UInt8[np.ndarray, "H W2 3"]:
    """Wide pictures -> one picture of two blocks: a screen is wider than high."""
    num, height, width = rows.shape[:3]
    if num == 1:
        return rows[0]
    half = (num + 1) // 2
    blank = np.zeros((2 * half - num, height, width, 3), np.uint8)
    blocks = np.concatenate((rows, blank)).reshape(2, half * height, width, 3)
    return np.concatenate((blocks[0], blocks[1]), axis=1)
