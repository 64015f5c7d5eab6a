"""Measures of stage two -> numbers per species with their goals, and a table to print."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from data_pipeline.records import SPECIES
from finetune.stage_two_measures import COMMANDS, Stillness, Sweep

GOALS = {
    "shoulder_motion_frac": ("at most", 0.20),
    "head_accuracy_loss": ("at most", 0.02),
    "correlation": ("at least", 0.95),
    "mean_error": ("at most", 0.05),
    "monotone_frac": ("at least", 1.0),
    "identity_change_ratio": ("at most", 1.0),
    "background_change_ratio": ("at most", 1.0),
}
TOLERANCE = 0.01
"""A reading may fall by this much from one command to the next; a sweep that rises no more than this rises nowhere."""


def stillness_numbers(rows: Sequence[Stillness]) -> dict[str, float | int]:
    """Shoulder motion with over without stitching, and what the head's turn loses by it."""
    if not rows:
        return {}
    without, stitched = (np.array([r.shoulders[n] for r in rows]).mean() for n in (0, 1))
    far = [np.array([r.far_shoulders[n] for r in rows]).mean() for n in (0, 1)]
    flow = [np.array([r.flow_px[n] for r in rows]).mean() for n in (0, 1)]
    turn = sum(r.turn_deg for r in rows)
    errors = [sum(r.turn_error_deg[n] for r in rows) for n in (0, 1)]
    return {
        "frames": len(rows),
        "shoulder_motion_without": float(without),
        "shoulder_motion_with": float(stitched),
        "shoulder_motion_frac": float(stitched / max(without, 1e-9)),
        "far_shoulder_motion_frac": float(far[1] / max(far[0], 1e-9)),
        "shoulder_flow_px_without": float(flow[0]),
        "shoulder_flow_px_with": float(flow[1]),
        "shoulder_flow_frac": float(flow[1] / max(flow[0], 1e-9)),
        "turn_deg": turn / len(rows),
        "head_accuracy_without": 1 - errors[0] / max(turn, 1e-9),
        "head_accuracy_loss": (errors[1] - errors[0]) / max(turn, 1e-9),
    }


def sweep_numbers(sweeps: Sequence[Sweep], reader: str) -> dict[str, float | int]:
    """Commanded against read openings. `reader`: ruler (trained the modules) or judge (did not)."""
    if not sweeps:
        return {}
    read = np.array([getattr(sweep, reader) for sweep in sweeps])
    commands = np.broadcast_to(np.array(COMMANDS), read.shape)
    low, high = (np.array([f(s.by_hand) for s in sweeps])[:, None] for f in (min, max))
    possible = np.clip(commands, low, high)
    rises = read[:, -1:] - read[:, :1] > TOLERANCE
    varies = read.std(axis=1).max() > 1e-5
    return {
        "faces": len(sweeps),
        "correlation": float(np.corrcoef(commands.ravel(), read.ravel())[0, 1]) if varies else 0.0,
        "mean_error": float(np.abs(read - commands).mean()),
        "monotone_frac": float(((np.diff(read, axis=1) >= -TOLERANCE) & rises).mean()),
        "read_at_0": float(read[:, 0].mean()),
        "read_at_0.8": float(read[:, -1].mean()),
        "by_hand_lowest": float(low.mean()),
        "by_hand_highest": float(high.mean()),
        "mean_error_within_by_hand": float(np.abs(read - possible).mean()),
        "identity_change_ratio": _ratio(sweeps, 0),
        "background_change_ratio": _ratio(sweeps, 1),
    }


def _ratio(sweeps: Sequence[Sweep], place: int) -> float:
    changed = sum(s.beside if place == 0 else s.background for s in sweeps)
    return changed / max(sum(s.reconstruction[place] for s in sweeps), 1e-9)


def report(rows: Sequence[Stillness], sweeps: Sequence[Sweep]) -> dict[str, Any]:
    """Everything, for all species and for each, with verdicts for all."""
    found: dict[str, Any] = {"goals": {name: list(goal) for name, goal in GOALS.items()}, "species": {}}
    for name in ("all", *SPECIES):
        of_rows = [r for r in rows if name in ("all", r.species)]
        of_sweeps = [s for s in sweeps if name in ("all", s.species)]
        if not of_rows and not of_sweeps:
            continue
        entry: dict[str, Any] = {"stitching": stillness_numbers(of_rows)}
        for rule in ("relative", "absolute"):
            entry[f"stitching_{rule}"] = stillness_numbers([r for r in of_rows if r.absolute == (rule == "absolute")])
        people = [r for r in of_rows if r.driver == "human" and r.species != "human"]
        entry["stitching_human_drives_animal"] = stillness_numbers(people)
        for part in ("eyes", "lips"):
            own = [s for s in of_sweeps if s.part == part]
            entry[part] = {reader: sweep_numbers(own, reader) for reader in ("judge", "ruler")}
        found["species"][name] = entry
    everyone = found["species"]["all"]
    found["met"] = {
        **{name: meets(name, everyone["stitching"].get(name)) for name in list(GOALS)[:2]},
        **{
            f"{part}.{name}": meets(name, everyone[part]["judge"].get(name))
            for part in ("eyes", "lips")
            for name in list(GOALS)[2:]
        },
    }  # fmt: skip
    found["sweeps"] = [sweep._asdict() for sweep in sweeps]
    return found


def meets(name: str, value: float | None) -> bool:
    """Whether a number reaches its goal."""
    word, limit = GOALS[name]
    return value is not None and (value <= limit if word == "at most" else value >= limit)


def table(found: dict[str, Any]) -> str:
    """The numbers that have goals, species by species."""
    names = list(found["species"])
    lines = [f"{'':42}{'goal':>8} " + " ".join(f"{name:>8}" for name in names)]

    def line(title: str, goal: str, values: Sequence[float | None]) -> None:
        sign = {"at most": "<=", "at least": ">="}[GOALS[goal][0]] + f"{GOALS[goal][1]:g}" if goal in GOALS else ""
        lines.append(f"{title:42}{sign:>8} " + " ".join(f"{'-':>8}" if v is None else f"{v:8.3f}" for v in values))

    of = [found["species"][name] for name in names]
    for title, kind, key in (
        ("shoulder motion, stitched / not", "stitching", "shoulder_motion_frac"),
        ("  away from the head", "stitching", "far_shoulder_motion_frac"),
        ("  by optical flow", "stitching", "shoulder_flow_frac"),
        ("  relative motion", "stitching_relative", "shoulder_motion_frac"),
        ("  absolute motion", "stitching_absolute", "shoulder_motion_frac"),
        ("  a person drives an animal", "stitching_human_drives_animal", "shoulder_motion_frac"),
        ("head turn: accuracy lost by stitching", "stitching", "head_accuracy_loss"),
        ("  accuracy without stitching", "stitching", "head_accuracy_without"),
    ):
        line(title, key if not title.startswith(" ") else "", [entry[kind].get(key) for entry in of])
    for part in ("eyes", "lips"):
        for title, key in (
            ("correlation, commanded and read", "correlation"), ("mean error", "mean_error"),
            ("steps that do not fall", "monotone_frac"), ("  read at 0", "read_at_0"), ("  read at 0.8", "read_at_0.8"),
            ("  lowest with keypoints moved by hand", "by_hand_lowest"),
            ("  highest with keypoints moved by hand", "by_hand_highest"),
            ("  mean error where that can go", "mean_error_within_by_hand"),
            ("change of the head beside / repainting", "identity_change_ratio"),
            ("change of the background / repainting", "background_change_ratio"),
        ):  # fmt: skip
            values = [entry[part]["judge"].get(key) for entry in of]
            line(f"{part}: {title}", key if not title.startswith(" ") else "", values)
    missed = [name for name, met in found["met"].items() if not met]
    lines.append("all goals are met" if not missed else f"goals not met: {', '.join(missed)}")
    return "\n".join(lines)
