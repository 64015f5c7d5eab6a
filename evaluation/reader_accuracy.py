"""A face reader and media with truth files -> how well it reads each signal of each species."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_pipeline.crop import upright_axes
from data_pipeline.progress import track
from data_pipeline.records import SPECIES
from evaluation.metrics.reader import FaceReader
from evaluation.metrics.regions import head_size_px, head_sizes_px
from evaluation.metrics.signals import Signals, both_eyes
from evaluation.reader_lessons import TruthFile, read_clip, roll_of_eyes

SIDE_PX = 256
"""Of the crops that are read: what the evaluation compares."""
STILL_SPREAD = {"pitch": 1.5, "yaw": 1.5, "roll": 1.5, "eyes": 0.03, "lips": 0.03, "roll_of_eyes": 1.5}
"""A clip in which the truth spreads less (standard deviation) says nothing about correlation in time."""

STEEPEST_DEG = 30.0
"""Photos of heads that are turned further are not counted for roll: our crops are upright."""


class Score(NamedTuple):
    """One signal over all frames of one species of one folder."""

    mean_error: float
    """Mean absolute error, degrees or opening ratio; of roll_of_eyes too."""
    correlation: float
    """Over all frames of all heads together."""
    in_time: float
    """Mean correlation inside clips in which the signal moves; NaN when there are none."""
    change_error: float
    """Mean absolute error of the change since the clip's first frame; NaN for stills."""
    frames: int


Table = dict[str, dict[str, dict[str, Score]]]
"""Folder -> species -> signal -> score."""


def read_and_true(reader: FaceReader, file: TruthFile, limit: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Signal -> what is read and what is true in one clip; only signals of which the truth is known."""
    clip = read_clip(file, SIDE_PX, 1.0, limit=limit)
    read, marks = reader.with_landmarks(clip.image, file.species)
    true = Signals(*np.ascontiguousarray(clip.pose_deg.T), *np.ascontiguousarray(clip.openings.T))
    found = {
        "pitch": (read.pitch_deg, true.pitch_deg), "yaw": (read.yaw_deg, true.yaw_deg),
        "roll": (read.roll_deg, true.roll_deg), "eyes": (both_eyes(read), both_eyes(true)),
        "lips": (read.lips, true.lips),
    }  # fmt: skip
    if not np.isfinite(true.yaw_deg).any() and np.isfinite(clip.points).all():
        found["roll_of_eyes"] = found.pop("roll")
        found["nose_of_points"] = (read.yaw_deg, np.array([nose_of_points(p) for p in clip.points], np.float32))
    if len(clip.image) == 1 and abs(roll_of_eyes(clip.points)[0]) > STEEPEST_DEG:
        found.pop("roll_of_eyes", None)
    known = {name: pair for name, pair in found.items() if np.isfinite(pair[1]).all()}
    if np.isfinite(clip.landmarks).all():
        size = np.maximum(1e-6, head_sizes_px(clip.points))
        off = np.linalg.norm(marks - clip.landmarks, axis=-1).mean(axis=-1) / size
        known["landmarks"] = (off, np.zeros_like(off))
    return known


def nose_of_points(points: np.ndarray) -> float:
    """How far the nose lies to the viewer's left of the face's middle line, in face sizes: goes with yaw, no angle."""
    right, _ = upright_axes(points)
    middle = (points[:2].mean(axis=0) + points[3:].mean(axis=0)) / 2
    return float((middle - points[2]) @ right / max(1e-6, head_size_px(points)))


def measured(reader: FaceReader, files: Sequence[TruthFile], limit: int = 120) -> Table:
    """Scores over the first `limit` frames of each file."""
    rows: dict[tuple[str, str, str], list[tuple[np.ndarray, np.ndarray]]] = {}
    for file in track(files, len(files), "measuring", "files"):
        for name, pair in read_and_true(reader, file, limit).items():
            rows.setdefault((file.identity.split("/")[0], file.species, name), []).append(pair)
    table: Table = {}
    for (folder, species, name), pairs in sorted(rows.items(), key=lambda row: (row[0][0], _place(row[0][1]))):
        table.setdefault(folder, {}).setdefault(species, {})[name] = scored(name, pairs)
    return table


def _place(species: str) -> int:
    return [str(one) for one in SPECIES].index(species)


def scored(name: str, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Score:
    """Read and true values of several clips -> one score."""
    read, true = (np.concatenate(column) for column in zip(*pairs, strict=True))
    seen = np.isfinite(read)
    read, true = read[seen], true[seen]
    moving = [p for p in pairs if len(p[0]) > 2 and p[1].std() >= STILL_SPREAD.get(name, np.inf)]
    in_time = [correlation(a, b) for a, b in moving]
    changes = [np.abs((a - a[0]) - (b - b[0]))[1:].mean() for a, b in pairs if len(a) > 1]
    return Score(
        float(np.abs(read - true).mean()) if name != "nose_of_points" else float("nan"),
        correlation(read, true),
        float(np.mean(in_time)) if in_time else float("nan"),
        float(np.mean(changes)) if changes and name not in ("landmarks", "nose_of_points") else float("nan"),
        len(read),
    )


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's r; NaN when one of them does not vary."""
    if len(a) < 3 or a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def shown_table(table: Table) -> str:
    """The scores as Markdown."""
    lines = [
        "| folder | species | signal | mean error | r | r in time | error of change | frames |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for folder, by_species in table.items():
        for species, by_signal in by_species.items():
            for name, score in by_signal.items():
                numbers = " | ".join("–" if np.isnan(v) else f"{v:.3f}" for v in score[:4])
                lines.append(f"| {folder} | {species} | {name} | {numbers} | {score.frames} |")
    return "\n".join(lines)
