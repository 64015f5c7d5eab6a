"""What the demo's steps left on disk -> one page that shows the whole job."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_pipeline import html
from data_pipeline.photo import decode_jpeg, read_photo
from data_pipeline.shards import read_tar, shard_paths
from data_pipeline.video import read_frames
from evaluation.report import write_report
from evaluation.stored import read_evaluation

_TILES = 24


def write_demo_report(out: Path, steps: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write `<out>/report.html`.

    Args:
        out: the demo's folder.
        steps: the entries of steps.json.
    """
    evaluations = [read_evaluation(folder) for folder in sorted((out / "evaluation").iterdir()) if folder.is_dir()]
    before = [
        html.section("What was done", _commands(steps)),
        html.section("What a person made them do", _videos(sorted((out / "animated").glob("*_side_by_side.mp4")))),
        html.section("What the networks learned from", _crops(out / "shards")),
        html.section("How it learned", *_training(out / "finetune")),
    ]
    return write_report(
        out / "report.html",
        evaluations,
        title="pawtrait: the whole way once",
        subtitle="Rendered heads, whose motion is known exactly; real animals are in docs/results.md.",
        before=before,
    )


def _commands(steps: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [(entry["says"], entry["command"], f"{entry['seconds']:.0f} s") for entry in steps.values()]
    total = sum(entry["seconds"] for entry in steps.values())
    return html.table(("step", "command", "time"), [*rows, ("all", "", f"{total:.0f} s")], text_columns=(1,))


def _videos(paths: Sequence[Path]) -> str:
    shown = [html.clip(path, f"{path.stem.removesuffix('_side_by_side')}: driver | photo | result") for path in paths]
    return f"<div class='cards'>{''.join(shown)}</div>"


def _crops(shards: Path) -> str:
    tiles = []
    for path in shard_paths(shards):
        for _, members in read_tar(path):
            tiles.append(decode_jpeg(members["jpg"]) if "jpg" in members else next(read_frames(members["mp4"])))
    manifest = json.loads((shards / "manifest.json").read_text())
    counts = ", ".join(f"{species} {count}" for species, count in manifest["counts"]["species"].items())
    chosen = [tiles[i] for i in np.linspace(0, len(tiles) - 1, min(_TILES, len(tiles))).astype(int)]
    caption = f"{manifest['samples']} samples ({counts}), {sum(manifest['frames'].values())} frames"
    return html.picture(html.contact_sheet(chosen, columns=8, tile_px=128), caption)


def _training(folder: Path) -> list[str]:
    parts = []
    sheets = sorted((folder / "samples").glob("*.png"))
    if sheets:
        caption = f"{sheets[-1].stem}: source, driver, result, truth (twice across)"
        parts.append(html.picture(read_photo(sheets[-1]), caption, quality=88))
    with (folder / "metrics.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    if rows:
        names = [n for n in rows[0] if n not in ("step", "lr", "grad_norm") and rows[-1][n]]
        ends = [(n, f"{float(rows[0][n]):.4g}" if rows[0][n] else "", f"{float(rows[-1][n]):.4g}") for n in names]
        header = ("number", f"at step {rows[0]['step']}", f"at step {rows[-1]['step']}")
        parts.append(html.table(header, ends))
    return parts
