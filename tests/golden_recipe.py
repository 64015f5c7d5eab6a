"""The golden recipe: deterministic weights and inputs, and the reference outputs computed with them (docs/parity.md).

Every number is made from the raw bits of PCG64, seeded by the CRC of the entry's name, so that nothing but small
outputs had to be stored.
"""

import json
import math
import re
import zlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

TESTS = Path(__file__).resolve().parent

# Patterns on "module/key" and the gain of the uniform weights; the first match counts.
GAINS = (
    (r"^appearance.*/resblocks_3d\.3dr\d\.conv1\.weight$", 1.2),
    (r"^appearance.*/resblocks_3d\.3dr\d\.conv2\.weight$", 0.5),
    (r"^motion.*/detector\.downsample_layers\.", 1.0),
    (r"^motion.*\.(dwconv|pwconv1|pwconv2)\.weight$", 1.0),
    (r"^motion.*\.fc_kp\.weight$", 0.25),
    (r"^motion.*\.fc_exp\.weight$", 0.04),
    (r"^motion.*\.(fc_scale|fc_t)\.weight$", 0.08),
    (r"^motion.*\.fc_(pitch|yaw|roll)\.weight$", 2.0),
    (r"^warping.*\.mask\.weight$", 4.0),
    (r"^warping.*\.occlusion\.weight$", 3.0),
    (r"^warping.*\.compress\.weight$", 1.0),
    (r"^warping_module/fourth\.weight$", 1.0),
    (r"^spade.*\.mlp_(gamma|beta)\.weight$", 1.0),
    (r"^spade_generator/fc\.weight$", 1.0),
    (r"^spade_generator/conv_img\.", 1.3),
    (r"^stitching.*\.(stitching|lip)/mlp\.6\.weight$", 0.05),
    (r"^stitching.*\.eye/mlp\.10\.weight$", 0.05),
)
# Patterns and (offset, half width) of the uniform biases.
BIASES = (
    (r"^motion.*\.fc_scale\.bias$", (1.3, 0.0)),
    (r"^motion.*\.fc_kp\.bias$", (0.0, 0.5)),
    (r"^motion.*\.fc_exp\.bias$", (0.0, 0.02)),
    (r"^motion.*\.fc_t\.bias$", (0.0, 0.05)),
    (r"^stitching.*\.(stitching|lip)/mlp\.6\.bias$", (0.0, 0.01)),
    (r"^stitching.*\.eye/mlp\.10\.bias$", (0.0, 0.01)),
)


def uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float64 in [0, 1): the top 53 bits of PCG64's raw output."""
    raw = np.random.PCG64(zlib.crc32(name.encode())).random_raw(math.prod(shape))
    return (raw >> np.uint64(11)).astype(np.float64).reshape(shape) * 2.0**-53


def symmetric(name: str, shape: tuple[int, ...]) -> np.ndarray:
    return 2.0 * uniform(name, shape) - 1.0


def first_match(table: tuple[tuple[str, Any], ...], name: str, default: Any) -> Any:
    return next((value for pattern, value in table if re.search(pattern, name)), default)


def entry(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """One state-dict entry (except the spectral vectors); `name` is module/key."""
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name.endswith("running_var"):
        value = 0.5 + uniform(name, shape)
    elif scale := {"running_mean": 0.2, "gamma": 0.5, "beta": 0.1}.get(name.rsplit(".", 1)[-1]):
        value = scale * symmetric(name, shape)
    elif name.endswith("bias"):
        offset, half = first_match(BIASES, name, (0.0, 0.1))
        value = offset + half * symmetric(name, shape)
    elif len(shape) == 1:
        value = 1.0 + 0.2 * symmetric(name, shape)
    else:
        gain = first_match(GAINS, name, math.sqrt(2.0))
        value = gain * math.sqrt(3.0 / math.prod(shape[1:])) * symmetric(name, shape)
    return value.astype(np.float32)


def spectral_vectors(name: str, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """u and v after one power iteration in float64; `name` is module/layer."""
    matrix = weight.astype(np.float64).reshape(len(weight), -1)
    u = symmetric(f"{name}.weight_u", (len(weight),))
    v = matrix.T @ (u / np.linalg.norm(u))
    v /= np.linalg.norm(v)
    u = matrix @ v
    return (u / np.linalg.norm(u)).astype(np.float32), v.astype(np.float32)


def lattice_picture(name: str, height: int, width: int, cells: int) -> np.ndarray:
    """A smooth random picture u8[H,W,3]: random corners, bilinear between them in exact integer arithmetic."""
    corners = np.floor(256.0 * uniform(f"image/{name}", (cells + 1, cells + 1, 3))).astype(np.int64)
    step_y, step_x = height // cells, width // cells
    row, down = np.divmod(np.arange(height), step_y)
    column, across = np.divmod(np.arange(width), step_x)
    down, across = down[:, None, None], across[None, :, None]
    upper = (step_x - across) * corners[row][:, column] + across * corners[row][:, column + 1]
    lower = (step_x - across) * corners[row + 1][:, column] + across * corners[row + 1][:, column + 1]
    return (((step_y - down) * upper + down * lower) // (step_y * step_x)).astype(np.uint8)


def network_input(picture: np.ndarray) -> np.ndarray:
    """u8[H,W,3] -> f32[1,3,H,W] in 0-1."""
    return np.ascontiguousarray((picture.astype(np.float32) / np.float32(255)).transpose(2, 0, 1)[None])


def opencv5_warp(picture: np.ndarray, matrix: np.ndarray, dsize: tuple[int, int], flags: int) -> np.ndarray:
    """cv2.warpAffine (bilinear, black outside, u8) as OpenCV 5 does it, which made the golden pixels: in float32.

    OpenCV 4 rounds the sampled place to 1/32 pixel first. To be put in its place: 3 % of the pixels differ by a grey
    level, and some at edges by more.
    """
    assert flags == 1, "bilinear, forward matrix"
    full = np.concatenate((matrix.astype(np.float64), [[0, 0, 1]]))
    inverse = np.linalg.inv(full)[:2].astype(np.float32)
    x, y = (np.arange(count, dtype=np.float32) for count in dsize)
    from_x, from_y = (row[0] * x + (row[1] * y[:, None] + row[2]) for row in inverse)
    column, row = np.floor(from_x).astype(int), np.floor(from_y).astype(int)
    across, down = (from_x - column)[:, :, None].astype(np.float32), (from_y - row)[:, :, None].astype(np.float32)
    padded = np.pad(np.atleast_3d(picture), ((1, 1), (1, 1), (0, 0))).astype(np.float32)

    def at(below: int, beside: int) -> np.ndarray:
        last_row, last_column = padded.shape[0] - 1, padded.shape[1] - 1
        return padded[(row + below + 1).clip(0, last_row), (column + beside + 1).clip(0, last_column)]

    upper = at(0, 0) + across * (at(0, 1) - at(0, 0))
    lower = at(1, 0) + across * (at(1, 1) - at(1, 0))
    result = np.rint(upper + down * (lower - upper)).astype(np.uint8)
    return result if picture.ndim == 3 else result[:, :, 0]


class Golden:
    """Weights and inputs of the recipe, and the reference outputs of some golden files."""

    def __init__(self, *files: Path) -> None:
        self.files = files

    @cached_property
    def manifest(self) -> dict[str, dict[str, Any]]:
        """Module name -> {key: shape, dtype, kind, crc32_golden} of the official files."""
        content = json.loads((TESTS / "lp_models" / "golden" / "state_dict_manifest.json").read_text())
        return {name: module["keys"] for name, module in content["modules"].items()}

    @cached_property
    def outputs(self) -> dict[str, np.ndarray]:
        return {key: array for file in self.files for key, array in np.load(file, allow_pickle=False).items()}

    def weights(self, module: str, prefix: str = "") -> dict[str, np.ndarray]:
        """The entries of one module whose key starts with the prefix."""
        result = {}
        for key, meta in self.manifest[module].items():
            if key.startswith(prefix) and not key.endswith(("weight_u", "weight_v")):
                result[key] = entry(f"{module}/{key}", tuple(meta["shape"]))
        for key in [key for key in result if key.endswith("weight_orig")]:
            layer = key.removesuffix(".weight_orig")
            u, v = spectral_vectors(f"{module}/{layer}", result[key])
            result |= {f"{layer}.weight_u": u, f"{layer}.weight_v": v}
        return result

    def changed_entries(self, module: str) -> list[str]:
        """Keys whose bytes are not the recorded ones; the spectral vectors may differ in the last bit."""
        return [
            key
            for key, value in self.weights(module).items()
            if zlib.crc32(value.tobytes()) != self.manifest[module][key]["crc32_golden"]
            and not key.endswith(("weight_u", "weight_v"))
        ]

    def image(self, name: str, side: int = 256, cells: int = 4) -> np.ndarray:
        """A smooth random picture as f32[1,3,S,S] in 0-1."""
        return network_input(lattice_picture(name, side, side, cells))

    def tensor(self, name: str, shape: tuple[int, ...], scale: float) -> np.ndarray:
        return (scale * symmetric(f"tensor/{name}", shape)).astype(np.float32)

    def difference(self, name: str, value: Any) -> float:
        """Largest difference from the recorded tensor, of which big ones keep every n-th number only."""
        array = np.asarray(value)
        if name in self.outputs:
            reference = self.outputs[name]
        else:
            assert tuple(self.outputs[f"{name}.shape"]) == array.shape, name
            array = array.reshape(-1)[:: int(self.outputs[f"{name}.stride"])]
            reference = self.outputs[f"{name}.sub"]
        assert array.shape == reference.shape, name
        return float(np.abs(array.astype(np.float64) - reference.astype(np.float64)).max())

    def intermediates(self, letter: str) -> list[str]:
        """Paths of the recorded sub-modules of one network (F, M, W, G)."""
        file = next(file for file in self.files if file.stem == "nets_intermediate")
        keys = np.load(file, allow_pickle=False).files
        return [key[2:-4] for key in keys if key.startswith(f"{letter}.") and key.endswith(".sub")]
