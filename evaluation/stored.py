"""What `lp-evaluate` wrote to a folder -> the `Evaluation` it was made from, for reports over several runs."""

import csv
import json
import re
from pathlib import Path

from evaluation.evaluate import Evaluation, Example, PairRow
from evaluation.metrics.catalog import METRICS


def read_evaluation(folder: Path) -> Evaluation:
    """Read rows.csv, summary.json and examples/.

    Raises:
        ValueError: the folder is not an evaluation, or a file of it is damaged; the message names it.
    """
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        with (folder / "rows.csv").open(newline="", encoding="utf-8") as handle:
            rows = [_row(cells) for cells in csv.DictReader(handle)]
        methods, about, missing = summary["methods"], summary["about"], summary["not_measured"]
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{folder} is not a finished evaluation ({error}); run lp-evaluate again") from error
    return Evaluation(
        protocol=summary["protocol"],
        rows=rows,
        methods=methods,
        not_measured=missing,
        examples=_examples(folder / "examples", rows, list(methods)),
        about=about,
    )


def _row(cells: dict[str, str]) -> PairRow:
    return PairRow(
        pair_id=cells["pair_id"],
        protocol=cells["protocol"],
        species=cells["species"],  # pyright: ignore[reportArgumentType]
        driver_species=cells["driver_species"],  # pyright: ignore[reportArgumentType]
        method=cells["method"],
        num_frames=int(cells["num_frames"]),
        seconds=float(cells["seconds"]),
        metrics={metric.name: float(cells[metric.name]) for metric in METRICS if cells.get(metric.name)},
    )


def _examples(folder: Path, rows: list[PairRow], methods: list[str]) -> list[Example]:
    found = []
    for pair_id, row in {row.pair_id: row for row in rows}.items():
        name = re.sub(r"[^\w-]+", "-", pair_id)[:120]
        still, video = folder / f"{name}.jpg", folder / f"{name}.mp4"
        if still.exists():
            driver = [] if row.protocol == "self" else ["driver"]
            panels = ("source", *driver, "truth", *(m for m in methods if m != "copy source"))
            where = video if video.exists() else None
            found.append(Example(pair_id=pair_id, species=row.species, panels=panels, still=still, video=where))
    return found
