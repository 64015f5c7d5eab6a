"""Shards and drops -> the curation report: how many, why not, and what the crops look like."""

import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from data_pipeline import html
from data_pipeline.curate import Summary
from data_pipeline.media import MediaError, read_frames
from data_pipeline.photo import decode_jpeg
from data_pipeline.quality import QualityGate
from data_pipeline.records import Drop
from data_pipeline.shards import read_tar, shard_paths, write_text
from data_pipeline.video import read_frames as read_video

_SHEET_TILES = 32
_TILE_PX = 128
_SCORES = {
    "min_side_px": "head's shorter side, px",
    "sharpness": "sharpness (variance of the Laplacian)",
    "luminance": "mean grey level",
    "contrast": "standard deviation of grey",
    "motion_px": "motion of the points, px a frame",
    "coverage_frac": "share of the crop inside the picture",
    "score": "detector score",
}


def write_report(out: Path, summary: Summary, gate: QualityGate) -> Path:
    """Write `report.html` into the shard folder."""
    tiles: dict[str, list[np.ndarray]] = defaultdict(list)
    scores: dict[str, list[float]] = defaultdict(list)
    counts: Counter[tuple[str, str, str]] = Counter()
    frames: Counter[tuple[str, str, str]] = Counter()
    for shard in shard_paths(out):
        for _, members in read_tar(shard):
            record = json.loads(members["json"])
            place = (record["species"], record["kind"], record["split"])
            counts[place] += 1
            frames[place] += record["num_frames"]
            for name in _SCORES:
                scores[name].append(record["quality"][name])
            if len(tiles[record["species"]]) < _SHEET_TILES:
                tiles[record["species"]].append(_first_frame(members))
    path = out / "report.html"
    sections = [
        html.section("What came out", _counts_table(counts, frames)),
        html.section(
            "What the networks will see", *(_sheet(species, found) for species, found in sorted(tiles.items()))
        ),
        html.section("What was left out, and why", *_drops(summary.drops)),
        html.section(
            "Scores of what was kept",
            "<div class='cards'>"
            + "".join(html.histogram(scores[n], title, mark=_threshold(gate, n)) for n, title in _SCORES.items())
            + "</div>",
        ),
    ]
    made = summary.manifest["samples"]
    version = summary.manifest["code_version"]
    subtitle = f"{summary.num_files} files in, {made} samples out, {len(summary.drops)} drops; pawtrait {version}"
    write_text(path, html.page("Curation report", sections, subtitle))
    return path


def _threshold(gate: QualityGate, name: str) -> float | None:
    return getattr(gate, name if name.startswith("min_") else f"min_{name}", None)


def _first_frame(members: dict[str, bytes]) -> np.ndarray:
    return decode_jpeg(members["jpg"]) if "jpg" in members else next(read_video(members["mp4"]))


def _counts_table(counts: Counter[tuple[str, str, str]], frames: Counter[tuple[str, str, str]]) -> str:
    rows = [(*place, counts[place], frames[place]) for place in sorted(counts)]
    rows.append(("all", "", "", sum(counts.values()), sum(frames.values())))
    return html.table(("species", "kind", "split", "samples", "frames"), rows, text_columns=(1, 2))


def _sheet(species: str, found: list[np.ndarray]) -> str:
    caption = f"{species}: the first frame of {len(found)} samples"
    return html.picture(html.contact_sheet(found, columns=8, tile_px=_TILE_PX), caption)


def _drops(drops: list[Drop]) -> list[str]:
    if not drops:
        return [html.paragraph("nothing")]
    reasons = Counter(f"{drop.stage}: {drop.reason}" for drop in drops)
    parts = [html.bars(dict(reasons.most_common()))]
    examples: dict[str, list[Drop]] = defaultdict(list)
    for drop in drops:
        examples[f"{drop.stage}: {drop.reason}"].append(drop)
    rows = []
    for reason, _ in reasons.most_common():
        shown = examples[reason][:4]
        rows += [(reason, Path(drop.key).name, drop.detail) for drop in shown]
        pictures = [tile for drop in examples[reason][:8] if (tile := _dropped_picture(drop)) is not None]
        if pictures:
            parts.append(html.picture(html.contact_sheet(pictures, columns=8, tile_px=_TILE_PX), reason))
    parts.append(html.table(("reason", "for example", "detail"), rows, text_columns=(1, 2)))
    return parts


def _dropped_picture(drop: Drop) -> np.ndarray | None:
    """A frame of the dropped file, where there is one to show."""
    path, _, place = drop.key.partition("#frame")
    path = path.partition("#shot")[0]
    start = int(place) if place.isdigit() else 0
    try:
        return next(read_frames(Path(path), start, start + 1), None)
    except (MediaError, OSError):
        return None
