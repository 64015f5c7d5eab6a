"""The bytes of a template file <-> named float32 arrays: our `.npz` and LivePortrait's `.pkl`, layout only."""

import io
import json
import math
import pickle
import re
import zipfile
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Shaped

from evaluation.template_pickle import read_numbers

FORMAT, VERSION = "pawtrait motion template", 1
MOTION = ("rotation", "delta", "scale", "shift")
PARTS = (*MOTION, "eye_ratios", "lip_ratios", "canonical")
DEFAULT_FPS = Fraction(25)
"""Of a `.pkl` that states no rate, as upstream."""
UPSTREAM_NAMES = {"rotation": "R", "delta": "exp", "scale": "scale", "shift": "t"}
OLD_UPSTREAM_NAMES = {"R": "R_d", "c_eyes_lst": "c_d_eyes_lst", "c_lip_lst": "c_d_lip_lst"}
UPSTREAM_KEYPOINTS = 21
MAX_FRAMES = 200_000
"""Almost two hours at 30 frames a second. A small pickle can name one frame millions of times."""
_NPY = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '(<f4|\|u1)', 'fortran_order': False, 'shape': \(([\d, ]{0,40})\), \} *\n",
    re.DOTALL,
)
"""The head of a `.npy` as numpy writes it for the two kinds of array that we write."""


class LayoutError(ValueError):
    """What is wrong with a file's layout; the text continues "… is not a usable motion template: "."""


class Stored(NamedTuple):
    """What a template file holds, not yet checked for sense."""

    arrays: dict[str, Float32[np.ndarray, "..."]]
    """By the names of PARTS, each [T, ...]; the four of MOTION are always there."""
    fps: Fraction
    source: str = ""
    model: str = ""


def shapes(T: int, K: int) -> dict[str, tuple[int, ...]]:
    """The shape of each part of T frames with K keypoints."""
    return {
        "rotation": (T, 3, 3), "delta": (T, K, 3), "scale": (T, 1), "shift": (T, 3),
        "eye_ratios": (T, 2), "lip_ratios": (T, 1), "canonical": (T, K, 3),
    }  # fmt: skip


def to_npz(stored: Stored) -> bytes:
    """Our format; the same content gives the same bytes."""
    T, K, _ = stored.arrays["delta"].shape
    about = {
        "format": FORMAT, "version": VERSION, "fps": f"{stored.fps.numerator}/{stored.fps.denominator}",
        "num_frames": T, "num_keypoints": K, "source": stored.source, "model": stored.model,
    }  # fmt: skip
    header = np.frombuffer(json.dumps(about, sort_keys=True).encode(), np.uint8)
    stream = io.BytesIO()
    arrays = {name: stored.arrays[name] for name in PARTS if name in stored.arrays}
    np.savez(stream, allow_pickle=False, header=header, **arrays)  # dates every member 1980-01-01
    return stream.getvalue()


def from_npz(content: bytes) -> Stored:
    """Our format.

    Raises:
        LayoutError: another archive, a damaged one, or arrays that do not fit the header.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if "header" not in members or len(members) != len(archive.infolist()):
                raise LayoutError("it is an archive of something else")
            if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
                raise LayoutError("its arrays are compressed")
            raw = {name: archive.read(info) for name, info in members.items() if name in ("header", *PARTS)}
        arrays = {name: _array(data) for name, data in raw.items()}
        about = json.loads(arrays.pop("header").tobytes())
        if about["format"] != FORMAT or about["version"] != VERSION:
            raise LayoutError(f"it is {about['format']!r} {about['version']}, and this program reads version {VERSION}")
        T, K = int(about["num_frames"]), int(about["num_keypoints"])
        stored = Stored(arrays, Fraction(about["fps"]), str(about["source"]), str(about["model"]))
    except LayoutError:
        raise
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise LayoutError("it is damaged or cut off") from error
    except (ValueError, TypeError, KeyError, ArithmeticError) as error:
        raise LayoutError("its header is damaged") from error
    if missing := [name for name in MOTION if name not in arrays]:
        raise LayoutError(f"it has no {missing[0]}")
    for name, values in arrays.items():
        if values.dtype != np.float32 or values.shape != shapes(T, K)[name]:
            raise LayoutError(
                f"{name} is {values.dtype}{list(values.shape)} instead of float32{list(shapes(T, K)[name])}"
            )
    return stored


def _array(data: bytes) -> Shaped[np.ndarray, "..."]:
    """One `.npy`: its head is believed only where it fits the bytes that follow."""
    head = _NPY.match(data)
    if head is None:
        raise LayoutError("it holds an array of another kind than float32")
    dtype = np.dtype(head[1].decode())
    shape = tuple(int(number) for number in head[2].decode().replace(",", " ").split())
    if math.prod(shape) * dtype.itemsize != len(data) - head.end():
        raise LayoutError(f"an array claims the shape {list(shape)}, which does not fit its bytes")
    return np.frombuffer(bytearray(data[head.end() :]), dtype).reshape(shape)


def to_upstream(stored: Stored, x_s: Float32[np.ndarray, "T K 3"] | None) -> bytes:
    """The pickle that LivePortrait reads: one dict of (1, ...) arrays a frame, the rate in whole frames a second.

    Args:
        stored: what to write; ratio lists and canonical keypoints are left out where they are unknown.
        x_s: the driver's posed keypoints, which go with the canonical ones.
    """
    frames = {key: stored.arrays[name] for name, key in UPSTREAM_NAMES.items()}
    if "canonical" in stored.arrays and x_s is not None:
        frames |= {"kp": stored.arrays["canonical"], "x_s": x_s}
    T = len(frames["exp"])
    content: dict[str, Any] = {
        "n_frames": T,
        "output_fps": max(1, round(stored.fps)),
        "motion": [{key: values[t : t + 1].copy() for key, values in frames.items()} for t in range(T)],
    }
    for name, key in (("eye_ratios", "c_eyes_lst"), ("lip_ratios", "c_lip_lst")):
        if name in stored.arrays:
            content[key] = [stored.arrays[name][t : t + 1].copy() for t in range(T)]
    return pickle.dumps(content, protocol=4)


def from_upstream(content: bytes, name: str) -> Stored:
    """A pickle of LivePortrait, of any of its three layouts, read without unpickling.

    Raises:
        UnsafePickleError: the pickle holds more than numbers.
        LayoutError: something is missing or has another shape.
    """
    value = read_numbers(content)
    if not isinstance(value, dict) or not isinstance(motion := value.get("motion"), list):
        raise LayoutError("it has no list named motion")
    if not motion or not all(isinstance(item, dict) for item in motion):
        raise LayoutError("its motion has no frames")
    if len(motion) > MAX_FRAMES:
        raise LayoutError(f"its motion has {len(motion)} frames and a template at most {MAX_FRAMES}")
    claim = value.get("n_frames", len(motion))
    if type(claim) is not int or claim != len(motion):
        raise LayoutError(f"n_frames is {claim!r:.20} but motion has {len(motion)} frames")
    arrays = {part: _stacked([_named(item, key, t) for t, item in enumerate(motion)], key, part)
              for part, key in UPSTREAM_NAMES.items()}  # fmt: skip
    if all("kp" in item for item in motion):
        arrays["canonical"] = _stacked([item["kp"] for item in motion], "kp", "canonical")
    for part, key in (("eye_ratios", "c_eyes_lst"), ("lip_ratios", "c_lip_lst")):
        ratios = value.get(key, value.get(OLD_UPSTREAM_NAMES[key]))
        if ratios is None or (isinstance(ratios, list) and not ratios):
            continue
        if not isinstance(ratios, list) or len(ratios) != len(motion):
            raise LayoutError(f"{key} does not have one entry for each of the {len(motion)} frames")
        arrays[part] = _stacked(ratios, key, part)
    return Stored(arrays, _rate(value.get("output_fps", DEFAULT_FPS)), name)


def _named(item: dict[str, Any], key: str, t: int) -> object:
    for known in (key, OLD_UPSTREAM_NAMES.get(key)):
        if known in item:
            return item[known]
    raise LayoutError(f"frame {t} of its motion has no {key}")


def _stacked(values: list[Any], key: str, part: str) -> Float32[np.ndarray, "T ..."]:
    """One array of (1, ...) a frame -> [T, ...]."""
    wanted = shapes(len(values), UPSTREAM_KEYPOINTS)[part][1:]
    for t, value in enumerate(values):
        if not isinstance(value, np.ndarray) or value.shape not in ((1, *wanted), wanted):
            shape = list(value.shape) if isinstance(value, np.ndarray) else type(value).__name__
            raise LayoutError(f"{key} of frame {t} is {shape} instead of {[1, *wanted]}")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as such
        return np.stack([value.reshape(wanted).astype(np.float32) for value in values])


def _rate(value: object) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction) or not 0 < value <= 1000:
        raise LayoutError(f"output_fps is {value!r:.40} and not a number of frames a second")
    return Fraction(value).limit_denominator(1001)
