"""A curated folder -> `report.html`: what came out, what was left out and why, and what both look like."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_pipeline import charts, html
from data_pipeline.candidates import NEAR_DUPLICATE
from data_pipeline.charts import Mark, Shown
from data_pipeline.curate import Summary
from data_pipeline.quality import QualityGate
from data_pipeline.records import Drop
from data_pipeline.report_numbers import Numbers, file_of, funnel, gather, read_file_rows
from data_pipeline.report_pictures import of_candidate, of_place, of_sample
from data_pipeline.report_scores import CLIPS_ONLY, LOGARITHMIC, SCORES, thresholds
from data_pipeline.whole_file import write_text

_TILES = 16
_TILE_PX = 144
_MOST_DROPPED_TILES = 320
"""About 2.5 MB of pictures; the rarer reasons come first, so that each is seen."""
_CLUSTERS, _CLUSTER_TILES = 8, 7
_FEW_TILES = 4
"""Sheets of so few share a line."""
_SLOWEST = 12
_SPLITS = ("train", "val", "test")


def write_report(out: Path, summary: Summary, gate: QualityGate) -> Path:
    """Write `report.html` into the shard folder; of the media only a bounded number of frames is decoded."""
    clusters = _clusters(summary.drops)
    places = frozenset(place for kept, copies in clusters for place in (kept, *copies))
    numbers = gather(out, summary.drops, _TILES, places)
    sections = {
        "From files to samples": _funnel(numbers, summary),
        "What came out": [*_balance(numbers), *_lengths(numbers)],
        "What the networks will see": _kept(numbers),
        "What was left out, and why": [*_reasons(numbers, summary.drops), *_dropped(numbers, summary.drops)],
        "Scores, kept and dropped": _scores(numbers, gate),
        "Near-duplicates": _duplicates(numbers, clusters, summary.manifest),
        "Where the time went": _slowest(out),
        "Licences": _licences(summary.manifest),
        "How it was made": _provenance(summary.manifest, gate),
    }
    made = summary.manifest["samples"]
    subtitle = (
        f"{summary.num_files} files in, {made} samples out, {len(summary.drops)} drops; "
        f"pawtrait {summary.manifest['code_version']}"
    )
    body = [charts.STYLE, html.contents(list(sections)), *(html.section(h, *parts) for h, parts in sections.items())]
    path = out / "report.html"
    write_text(path, html.page("Curation report", body, subtitle))
    return path


def _funnel(numbers: Numbers, summary: Summary) -> list[str]:
    steps = funnel(numbers, summary.drops, summary.num_files, summary.manifest["samples"])
    note = "Blue: files. Green: pieces, one head for up to 120 frames each. A piece counts under its first reason."
    return [charts.funnel(steps), f"<p class='note'>{note}</p>"]


def _balance(numbers: Numbers) -> list[str]:
    """One row a species: how much of it, of whom, and where."""
    header = ("species", "samples", "stills", "clips", "frames", "minutes", "identities", "sources", *_SPLITS)
    rows, bars = [], []
    most = max((row.splits.total() for row in numbers.species.values()), default=0)
    for species, row in sorted(numbers.species.items()):
        count = row.splits.total()
        minutes = f"{row.seconds / 60:.1f}"
        parts = [row.splits[split] for split in _SPLITS]
        rows.append(
            (
                species,
                count,
                count - row.clips,
                row.clips,
                row.frames,
                minutes,
                len(row.identities),
                len(row.sources),
                *parts,
            )
        )
        bar = charts.stack(row.splits, most, _SPLITS)
        bars.append(f"<tr><td>{html.text(species)}</td><td style='width:80%'>{bar}</td></tr>")
    total = ("all", *(sum(row[i] for row in rows) for i in range(1, 5)))
    seconds = sum(row.seconds for row in numbers.species.values())
    owners = (
        len(set().union(*(getattr(row, name) for row in numbers.species.values())))
        for name in ("identities", "sources")
    )
    rows.append((*total, f"{seconds / 60:.1f}", *owners, *(sum(row[i] for row in rows) for i in (8, 9, 10))))
    table = f"<div class='wide'>{html.table(header, rows)}</div>"
    return [table, charts.key(_SPLITS), f"<table style='width:100%'><tbody>{''.join(bars)}</tbody></table>"]


def _lengths(numbers: Numbers) -> list[str]:
    chart = charts.histogram(numbers.clip_seconds, [], "length of clips", "seconds")
    return [f"<div class='cards'>{chart}</div>"]


def _kept(numbers: Numbers) -> list[str]:
    parts = []
    for species, row in sorted(numbers.species.items()):
        some = sorted(row.tiles)[:_TILES]
        shown = [Shown(of_sample(t), _name(numbers.place_of.get(t.key, t.key)), t.title) for t in some]
        parts += [f"<h3>{html.text(species)}: {len(some)} of {row.splits.total()}</h3>", charts.tiles(shown, _TILE_PX)]
    return parts or [html.paragraph("nothing")]


def _reasons(numbers: Numbers, drops: Sequence[Drop]) -> list[str]:
    """How often each reason holds, and how often it alone does."""
    if not drops:
        return [html.paragraph("nothing")]
    files = Counter(f"{drop.stage}: {drop.reason}" for drop in drops if drop.stage not in ("quality", "dedup"))
    crops = [(reason, count, numbers.fails_only[reason]) for reason, count in numbers.fails.most_common()]
    return [
        "<div class='two'><div><h3>Files, shots and tracks</h3>",
        html.bars(dict(files.most_common())),
        "</div><div><h3>Crops</h3>",
        html.table(("reason", "crops", "for this alone"), crops),
        "</div></div>",
    ]


def _dropped(numbers: Numbers, drops: Sequence[Drop]) -> list[str]:
    """Sheets by reason: of crops what the crop would have shown, of files and shots a whole frame."""
    found: dict[str, list[tuple[Any, str, str]]] = {}
    counts = Counter(f"{drop.stage}: {drop.reason}" for drop in drops)
    for reason, some in numbers.shown.items():
        if reason == NEAR_DUPLICATE:  # they have a section of their own
            continue
        pairs = sorted(some, key=lambda pair: pair[0])[:_TILES]
        found[f"quality: {reason}"] = [(one, one.place, ", ".join(one.reasons[1:])) for _, one in pairs]
    for drop in drops:
        name = f"{drop.stage}: {drop.reason}"
        if drop.stage not in ("quality", "dedup") and len(found.setdefault(name, [])) < _TILES:
            found[name].append((None, drop.key, drop.detail))
    left, sheets = _MOST_DROPPED_TILES, {}
    for name in sorted(found, key=lambda name: (counts[name], name)):
        some, left = found[name][: max(left, 0)], left - len(found[name])
        sheets[name] = [
            Shown(of_candidate(one, _TILE_PX) if one else of_place(place), _name(place), note)
            for one, place, note in some
        ]
    parts = []
    for name in sorted(sheets, key=lambda name: (-counts[name], name)):
        shown = f", {len(sheets[name])} shown" if len(sheets[name]) < counts[name] else ""
        num_pictures = sum(one.image is not None for one in sheets[name])
        is_sheet = 2 * num_pictures > len(sheets[name])
        inside = charts.tiles(sheets[name], _TILE_PX) if is_sheet else _list(sheets[name])
        width = max(11.0, len(sheets[name]) * 8.3) if is_sheet and len(sheets[name]) <= _FEW_TILES else None
        parts.append(html.details(f"{name} ({counts[name]}{shown})", inside, is_open=is_sheet, width_rem=width))
    return [f"<div class='flow'>{''.join(parts)}</div>"]


def _list(shown: Sequence[Shown]) -> str:
    return html.table(("file", "why"), [(one.title, one.note) for one in shown], text_columns=(0, 1))


def _name(place: str) -> str:
    """The file's name, with the frame where it is not the first."""
    path = file_of(place)
    rest = place[len(path) :]
    return Path(path).name + ("" if rest in ("", "#frame0", "#shot0") else f" {rest[1:]}")


def _scores(numbers: Numbers, gate: QualityGate) -> list[str]:
    kept, clips = np.array(numbers.is_kept, bool), np.array(numbers.is_clip, bool)
    marks = thresholds(gate, numbers.sides_px)
    cards = []
    for name, (title, unit) in SCORES.items():
        if name not in numbers.scores:
            continue
        values, which = np.array(numbers.scores[name]), clips if name in CLIPS_ONLY else np.ones(len(kept), bool)
        drawn = [Mark(value, said) for value, said in marks.get(name, [])]
        cards.append(
            charts.histogram(values[which & kept], values[which & ~kept], title, unit, drawn, name in LOGARITHMIC)
        )
    colours = (
        "<p class='key note'><i style='background:var(--ink)'></i>kept<i style='background:var(--gone)'></i>dropped, "
        "for this or another reason; dashed: the threshold. Heights are square roots of counts; the outermost bars "
        "hold what lies beyond.</p>"
    )
    return [colours, f"<div class='cards'>{''.join(cards)}</div>"]


def _clusters(drops: Sequence[Drop]) -> list[tuple[str, list[str]]]:
    """Kept place -> places of its dropped copies, the largest groups first."""
    copies: dict[str, list[str]] = defaultdict(list)
    for drop in drops:
        if drop.stage == "dedup":
            copies[drop.detail.removeprefix("kept ")].append(drop.key)
    return sorted(copies.items(), key=lambda item: (-len(item[1]), item[0]))[:_CLUSTERS]


def _duplicates(numbers: Numbers, clusters: Sequence[tuple[str, list[str]]], manifest: Mapping[str, Any]) -> list[str]:
    told = manifest.get("duplicates", {})
    parts = [
        html.paragraph(
            f"Groups that show the same: {told.get('clusters', 0)}; crops in them: "
            f"{told.get('samples_in_clusters', 0)}. "
            f"Copies left out: {told.get('dropped', 0)}."
        )
    ]
    for kept, copies in clusters:
        some = [(kept, "kept"), *((place, "gone") for place in sorted(copies)[:_CLUSTER_TILES])]
        shown = []
        for place, mood in some:
            one = numbers.at.get(place)
            image = of_candidate(one, _TILE_PX) if one else of_place(place)
            note = (
                f"{'kept' if mood == 'kept' else 'left out'}{f', head {one.scores.min_side_px:.0f} px' if one else ''}"
            )
            shown.append(Shown(image, _name(place), note, mood))
        more = len(copies) - _CLUSTER_TILES
        note = html.paragraph(f"and {more} more") if more > 0 else ""
        parts.append(f"<div class='group'>{charts.tiles(shown, _TILE_PX)}{note}</div>")
    return parts


def _slowest(out: Path) -> list[str]:
    rows = read_file_rows(out)
    if rows is None:
        return [html.paragraph("not measured")]
    media_s, seconds = (sum(row[name] for row in rows) for name in ("media_s", "seconds"))
    slow = sorted(rows, key=lambda row: (-row["seconds"], row["key"]))[:_SLOWEST]
    table = [
        (
            Path(row["key"]).name, f"{row['seconds']:.1f}", f"{row['media_s']:.1f}", row["frames"],
            f"{row['seconds'] / row['media_s']:.2f}" if row["media_s"] else "", row["samples"], row["drops"],
        )
        for row in slow
    ]  # fmt: skip
    header = ("slowest files", "seconds", "of media", "frames", "seconds a second", "samples", "drops")
    whole = f"{seconds:.0f} seconds of work for {media_s:.0f} seconds of video and all stills, over {len(rows)} files."
    return [html.paragraph(whole), f"<div class='wide'>{html.table(header, table)}</div>"]


def _licences(manifest: Mapping[str, Any]) -> list[str]:
    header = ("licence", "origin", "samples", "frames", "minutes", "identities", "species")
    rows = [
        (
            row["licence"], row["origin"], row["samples"], row["frames"], f"{row['seconds'] / 60:.1f}",
            row["identities"], ", ".join(f"{name} {n}" for name, n in row["species"].items()),
        )
        for row in manifest["ledger"]
    ]  # fmt: skip
    left_out = "; ".join(f"{reason}: {n}" for reason, n in manifest["left_out"].items())
    told = [html.paragraph(f"Left out when the shards were packed: {left_out}")] if left_out else []
    return [f"<div class='wide'>{html.table(header, rows, text_columns=(1, 6))}</div>", *told]


def _provenance(manifest: Mapping[str, Any], gate: QualityGate) -> list[str]:
    shards = [(s["name"], s["samples"], f"{s['bytes'] / 1e6:.1f}", s["sha256"][:16]) for s in manifest["shards"]]
    limits = [(name, getattr(gate, name)) for name in gate.__dataclass_fields__]
    config = sorted(_flat(manifest.get("config", {})))
    return [
        html.paragraph(f"pawtrait {manifest['code_version']}, {manifest.get('inputs', '?')} inputs."),
        html.details("thresholds of the gate", html.table(("curation.gate.", "value"), limits)),
        html.details("configuration", html.table(("option", "value"), config, text_columns=(1,))),
        html.details("shards", html.table(("shard", "samples", "MB", "sha256 begins"), shards)),
    ]


def _flat(config: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    found = []
    for name, value in config.items():
        whole = f"{before}{name}"
        found += _flat(value, f"{whole}.") if isinstance(value, Mapping) else [(whole, str(value))]
    return found
