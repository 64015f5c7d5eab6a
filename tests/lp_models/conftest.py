"""The golden recipe: deterministic weights and inputs, and the reference outputs computed with them.

Written from the description that came with the golden files (docs/models.md): every number is made from the raw bits of
PCG64, seeded by the CRC of the entry's name, so that nothing but small outputs had to be stored.
"""

import json
import math
import re
import zlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parent / "golden"

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


class Golden:
    """Everything the parity tests need."""

    @cached_property
    def manifest(self) -> dict[str, dict[str, Any]]:
        """Module name -> {key: shape, dtype, kind, crc32_golden} of the official files."""
        content = json.loads((FOLDER / "state_dict_manifest.json").read_text())
        return {name: module["keys"] for name, module in content["modules"].items()}

    @cached_property
    def outputs(self) -> dict[str, np.ndarray]:
        return {
            key: array
            for file in ("nets", "nets_intermediate", "math")
            for key, array in np.load(FOLDER / f"{file}.npz", allow_pickle=False).items()
        }

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
        """A smooth random picture as f32[1,3,S,S] in 0-1, made in exact integer arithmetic."""
        corners = np.floor(256.0 * uniform(f"image/{name}", (cells + 1, cells + 1, 3))).astype(np.int64)
        step = side // cells
        cell, offset = np.divmod(np.arange(side), step)
        weight = np.stack((step - offset, offset))  # of the lower and the upper corner
        total = np.zeros((side, side, 3), np.int64)
        for i in (0, 1):
            for j in (0, 1):
                value = corners[cell + i][:, cell + j]
                total += weight[i][:, None, None] * weight[j][None, :, None] * value
        picture = (total // (step * step)).astype(np.uint8)
        return np.ascontiguousarray((picture.astype(np.float32) / np.float32(255)).transpose(2, 0, 1)[None])

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
        keys = np.load(FOLDER / "nets_intermediate.npz", allow_pickle=False).files
        return [key[2:-4] for key in keys if key.startswith(f"{letter}.") and key.endswith(".sub")]


@pytest.fixture(scope="session")
def golden() -> Golden:
    """Recipe and reference outputs."""
    return Golden()
