"""Landmarks that a detector read in clips -> a truth file beside a copy of each clip, for `lp-curate`.

python -m data_pipeline.read_landmarks manifest=corpus/manifest.csv landmarks=corpus/human_landmarks.npz out=DIR

The landmark file holds an array [T,68,2] or [T,78,2] for each clip, by the stem of its name, in pixels, NaN where no
face was found: the usual 68, and the ten iris points of MediaPipe's face mesh (right centre + 4, left centre + 4).
"""

import csv
import shutil
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32

from data_pipeline.cli_errors import user_errors
from data_pipeline.media import TRUTH_SUFFIX
from data_pipeline.progress import track
from data_pipeline.puppets.landmarks import eye_open, five_points, lip_open
from data_pipeline.whole_file import whole_binary, whole_file

RIGHT_IRIS, LEFT_IRIS = 68, 73
"""Where the centres lie among the 78."""
LARGEST_GAP_FRAC = 0.02
"""Share of frames without a face that are bridged; clips with more are left out."""
_SMOOTHING = (0.25, 0.5, 0.25)
"""Over neighbouring frames: a detector's points jitter by a pixel."""


class LandmarkFileError(ValueError):
    """Landmarks or manifest that cannot be used; the message names the file and the remedy."""


class Listed(NamedTuple):
    """One clip of a manifest."""

    path: Path
    species: str
    identity: str


def seventy(points: Float[np.ndarray, "T N 2"]) -> Float32[np.ndarray, "T 70 2"]:
    """The 68 and the two iris centres; without irises the middles of the lids' corners."""
    if points.shape[1] == 68:
        irises = np.stack([points[:, [36, 39]].mean(axis=1), points[:, [42, 45]].mean(axis=1)], axis=1)
    else:
        irises = points[:, [RIGHT_IRIS, LEFT_IRIS]]
    return np.concatenate([points[:, :68], irises], axis=1).astype(np.float32)


def bridged(points: Float[np.ndarray, "T N 2"], seen: Bool[np.ndarray, " T"]) -> Float[np.ndarray, "T N 2"]:
    """Frames without a face are filled along time."""
    times, flat = np.arange(len(points)), points.reshape(len(points), -1)
    columns = [np.interp(times, times[seen], column[seen]) for column in flat.T]
    return np.stack(columns, axis=1).reshape(points.shape)


def steadied(points: Float[np.ndarray, "T N 2"]) -> Float[np.ndarray, "T N 2"]:
    """A light mean over neighbouring frames; the ends repeat themselves."""
    padded = np.pad(points, ((1, 1), (0, 0), (0, 0)), mode="edge")
    return sum(w * padded[i : i + len(points)] for i, w in enumerate(_SMOOTHING))  # pyright: ignore[reportReturnType]


def truth_of(points: Float[np.ndarray, "T N 2"]) -> dict[str, np.ndarray] | None:
    """The arrays of a truth file without a pose; None when too many frames lack a face."""
    seen = np.asarray(np.isfinite(points).all(axis=(1, 2)))
    if not seen.any() or 1 - seen.mean() > LARGEST_GAP_FRAC:
        return None
    landmarks = seventy(steadied(bridged(points.astype(np.float64), seen)))
    return {
        "points": five_points(landmarks).astype(np.float32),
        "landmarks": landmarks,
        "landmark_visible": np.repeat(seen[:, None], 70, axis=1),
        "eye_open": eye_open(landmarks).astype(np.float32),
        "lip_open": lip_open(landmarks).astype(np.float32),
    }


def listed(manifest: Path, only: Mapping[str, str]) -> list[Listed]:
    """Clips of a CSV with the columns path, species and identity, whose other columns have the given values.

    Raises:
        LandmarkFileError: the file is missing, or a column is.
    """
    if not manifest.is_file():
        raise LandmarkFileError(f"manifest {manifest} does not exist; give a CSV with path, species and identity")
    with manifest.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    needed = ("path", "species", "identity", *only)
    if missing := [name for name in needed if rows and name not in rows[0]]:
        raise LandmarkFileError(f"{manifest} has no column {missing[0]!r}; it has {', '.join(rows[0])}")
    kept = [row for row in rows if all(row[name] == value for name, value in only.items())]
    return [Listed(manifest.parent / row["path"], row["species"], row["identity"]) for row in kept]


def write(clips: Sequence[Listed], landmarks: Path, out: Path) -> tuple[int, list[str]]:
    """Copy each clip that has landmarks to `out` and write its truth file; returns how many, and what was left out.

    Raises:
        LandmarkFileError: the landmark file cannot be read.
    """
    out.mkdir(parents=True, exist_ok=True)
    try:
        arrays = np.load(landmarks, allow_pickle=False)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise LandmarkFileError(
            f"{landmarks} cannot be read as .npz ({error}); give one array for each clip"
        ) from error
    made, left = 0, []
    with arrays:
        for clip in track(clips, what="landmarks", unit="clips"):
            if clip.path.stem not in arrays.files:
                left.append(f"{clip.path.name}: no landmarks")
                continue
            points = arrays[clip.path.stem]
            if points.ndim != 3 or points.shape[1] not in (68, 78) or points.shape[2] != 2:
                raise LandmarkFileError(f"{landmarks}: {clip.path.stem} is {points.shape}; give [T,68,2] or [T,78,2]")
            truth = truth_of(points)
            if truth is None:
                left.append(f"{clip.path.name}: too many frames without a face")
                continue
            _copy(clip, truth, out)
            made += 1
    return made, left


def _copy(clip: Listed, truth: Mapping[str, np.ndarray], out: Path) -> None:
    facts = {"identity": np.array(clip.identity), "species": np.array(clip.species), "performance": np.array("")}
    with whole_file(out / clip.path.name) as part:
        shutil.copy(clip.path, part)
    with whole_binary(out / (clip.path.stem + TRUTH_SUFFIX)) as file:
        np.savez_compressed(file, allow_pickle=False, **truth, **facts)


def main(arguments: Sequence[str]) -> None:
    """`manifest=CSV landmarks=NPZ out=DIR` and any `COLUMN=VALUE` that rows must have."""
    options: dict[str, str] = {}
    for argument in arguments:
        name, _, value = argument.partition("=")
        options[name] = value
    if missing := [name for name in ("manifest", "landmarks", "out") if name not in options]:
        raise LandmarkFileError(f"read_landmarks: the option {missing[0]} is required; see the head of its file")
    manifest, landmarks, out = (Path(options.pop(name)) for name in ("manifest", "landmarks", "out"))
    made, left = write(listed(manifest, options), landmarks, out)
    for line in left:
        sys.stdout.write(f"left out {line}\n")
    sys.stdout.write(f"{out}: {made} clips with their landmarks\nnext: lp-curate source.path={out} out=SHARDS\n")


if __name__ == "__main__":
    user_errors(main)(sys.argv[1:])
