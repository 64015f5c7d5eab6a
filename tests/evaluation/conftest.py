"""Fixtures: the synthetic weights under which the golden numbers were made: spec/golden/README.md, sections 1 and 2."""

import zlib

import numpy as np
import pytest
import torch

LAST = {"stitching": "mlp.6", "lip": "mlp.6", "eye": "mlp.10"}


def symmetric(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform in [-1, 1), a function of the name alone."""
    raw = np.random.PCG64(zlib.crc32(name.encode())).random_raw(int(np.prod(shape)))
    unit = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return (2 * unit - 1).reshape(shape)


@pytest.fixture(scope="session")
def corrections():
    """S, R_eyes and R_lip with the golden weights."""
    from lp_models.config import LivePortraitConfig
    from lp_models.stitching import StitchingRetargeting

    net = StitchingRetargeting(LivePortraitConfig.named("official"))
    for part, last in LAST.items():
        module = getattr(net, part)
        state = {}
        for key, old in module.state_dict().items():
            noise = symmetric(f"stitching_retargeting_module.{part}/{key}", tuple(old.shape))
            is_last = key.startswith(last)
            if key.endswith("bias"):
                value = (0.01 if is_last else 0.1) * noise
            else:
                value = (0.05 if is_last else 2**0.5) * (3 / old.shape[1]) ** 0.5 * noise
            state[key] = torch.from_numpy(value.astype(np.float32))
        module.load_state_dict(state)
    return net.eval()


@pytest.fixture(scope="session")
def lattice_image():
    """Maker of the golden pictures: random values on a lattice, exact integer bilinear interpolation between them."""

    def make(name: str, height: int, width: int, grid: int) -> np.ndarray:
        raw = np.random.PCG64(zlib.crc32(f"image/{name}".encode())).random_raw((grid + 1) ** 2 * 3)
        unit = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
        lattice = np.floor(256 * unit).astype(np.int64).reshape(grid + 1, grid + 1, 3)
        kh, kw = height // grid, width // grid
        row, fy = np.divmod(np.arange(height), kh)
        column, fx = np.divmod(np.arange(width), kw)
        fy, fx = fy[:, None, None], fx[None, :, None]
        above = (kw - fx) * lattice[row][:, column] + fx * lattice[row][:, column + 1]
        below = (kw - fx) * lattice[row + 1][:, column] + fx * lattice[row + 1][:, column + 1]
        return (((kh - fy) * above + fy * below) // (kh * kw)).astype(np.uint8)

    return make
