"""Pairs <-> a folder that any method can work on: pairs.json, and source.png and driver.mp4 of each pair.

<folder>/pairs.json                     what there is; no truth in it
<folder>/pairs/<id>/source.png          the square to be moved
<folder>/pairs/<id>/driver.mp4          squares of the same size, nearly lossless
<folder>/truth/<id>.npz                 what should come out; not for the method (puppet benchmark only)
<folder>/<method>/<id>.mp4              where predictions go: same size, rate and number of frames as driver.mp4
"""

import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from data_pipeline.video import write_video
from data_pipeline.whole_file import whole_binary

FOLDER_FORMAT = 1
PAIRS, TRUTH = "pairs", "truth"
PAIRS_FILE = "pairs.json"
DRIVER_CRF = 8
"""Nearly lossless: about 48 dB on puppets."""


def file_name(pair_id: str) -> str:
    """A pair's name -> the name of its files, without ending: letters, digits, `-` and `_` only."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", pair_id)[:100]
    # Two names must not meet in one file.
    return plain if plain == pair_id else f"{plain}-{hashlib.sha256(pair_id.encode()).hexdigest()[:8]}"


def entry_of(pair_id: str, num_frames: int, fps: float, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What pairs.json says of one pair."""
    name = file_name(pair_id)
    return dict(facts) | {
        "id": pair_id,
        "source": f"{PAIRS}/{name}/source.png",
        "driver": f"{PAIRS}/{name}/driver.mp4",
        "prediction": f"{name}.mp4",
        "num_frames": num_frames,
        "fps": round(fps, 5),
    }


def pairs_text(entries: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> str:
    """pairs.json: the same entries give the same bytes."""
    whole = {"format": FOLDER_FORMAT, **about, "pairs": list(entries)}
    return json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def write_pair(
    folder: Path,
    entry: Mapping[str, Any],
    source: UInt8[np.ndarray, "S S 3"],
    driving: UInt8[np.ndarray, "T S S 3"],
) -> None:
    """Write a pair's source.png and driver.mp4."""
    from PIL import Image

    place = folder / entry["source"]
    place.parent.mkdir(parents=True, exist_ok=True)
    with whole_binary(place) as file:
        Image.fromarray(source).save(file, "PNG")
    rate = Fraction(entry["fps"]).limit_denominator(1001)
    write_video(folder / entry["driver"], driving, rate, crf=DRIVER_CRF, threads=1)


def read_pairs(folder: Path) -> dict[str, Any]:
    """pairs.json of a folder.

    Raises:
        ValueError: it is missing, damaged, or of another format.
    """
    path = folder / PAIRS_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        kinds = [(entry["id"], entry["source"], entry["driver"], entry["num_frames"]) for entry in found["pairs"]]
        form = found["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read as a folder of pairs ({error!r}); make the folder again") from error
    if form != FOLDER_FORMAT or not kinds:
        raise ValueError(f"{path} has format {form!r} and {len(kinds)} pairs; this version reads {FOLDER_FORMAT}")
    return found


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Arrays -> one compressed .npz, whole or not at all."""
    with whole_binary(path) as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz; nothing is unpickled.

    Raises:
        ValueError: missing or damaged.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} cannot be read ({error}); make the folder again") from error
