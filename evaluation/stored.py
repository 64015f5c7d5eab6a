"""What `lp-evaluate` wrote to a folder -> the `Evaluation` it was made from, for reports over several runs."""

import json
from dataclasses import replace
from pathlib import Path

from evaluation.results import Evaluation, examples_from
from evaluation.rows import read_curves, read_failures, read_rows


def read_evaluation(folder: Path) -> Evaluation:
    """Read rows.csv, curves.json, failures.csv, summary.json and examples/.

    Raises:
        ValueError: the folder is not an evaluation, or a file of it is damaged; the message names it.
    """
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        curves = read_curves(folder / "curves.json")
        rows = [replace(row, curve=curves.get((row.method, row.pair_id), {})) for row in read_rows(folder / "rows.csv")]
        return Evaluation(
            protocol=summary["protocol"],
            rows=rows,
            methods=summary["methods"],
            not_measured=summary["not_measured"],
            examples=examples_from(summary.get("examples", []), folder),
            about=summary["about"],
            failures=read_failures(folder / "failures.csv"),
            set_values=summary.get("set_values", {}),
            reference=summary.get("reference", ""),
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder} is not a finished evaluation ({error}); run lp-evaluate again") from error


def is_evaluation(folder: Path) -> bool:
    """Whether a run wrote its summary there."""
    return (folder / "summary.json").is_file() and (folder / "rows.csv").is_file()
