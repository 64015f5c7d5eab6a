"""`python -m finetune.curves`: metrics.csv of a run, or of runs one after another -> a picture of their curves."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from data_pipeline.cli_errors import user_errors
from data_pipeline.typed_options import read_options
from data_pipeline.whole_file import whole_file, write_errors
from finetune.metrics_file import MetricsFile

TERMS = ("reconstruction", "perceptual", "guide", "spans", "pose", "agreement", "stitch", "eyes", "lips", "total")
"""What is drawn when `terms` is empty, where a run has it."""
COLUMNS = 3


@dataclass(frozen=True, kw_only=True)
class CurvePlan:
    """What is drawn; the fields are the command's options.

    Raises:
        ValueError: no run is named, or the smoothing is outside 0-1.
    """

    runs: str
    """Folders of lp-finetune, in their order, separated by commas."""
    out: str
    """The picture: .png or .svg."""
    terms: str = ""
    """Columns of metrics.csv, separated by commas; "": the usual ones that are there."""
    smoothing: float = 0.6
    """Share of the running mean that stays at each logged step; 0 draws what was logged."""
    log_scale: bool = True

    def __post_init__(self) -> None:
        if not self.folders:
            raise ValueError("runs names no folder; give runs=DIR or runs=DIR,DIR")
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"smoothing is {self.smoothing}; give 0 or more and less than 1")
        if Path(self.out).suffix not in (".png", ".svg"):
            raise ValueError(f"out={self.out} is neither a .png nor an .svg")

    @property
    def folders(self) -> list[Path]:
        """The runs."""
        return [Path(name) for name in self.runs.split(",") if name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One column of one run, where it was logged."""

    steps: Float64[np.ndarray, " N"]
    values: Float64[np.ndarray, " N"]

    def smoothed(self, share: float) -> Float64[np.ndarray, " N"]:
        """Running mean: `share` of what was, the rest of what is."""
        kept = self.values.copy()
        for i in range(1, len(kept)):
            kept[i] = share * kept[i - 1] + (1 - share) * kept[i]
        return kept


def read_curves(folder: Path) -> dict[str, Curve]:
    """Column -> curve of a run's metrics.csv.

    Raises:
        ValueError: there is none, or it has no number.
    """
    rows = MetricsFile(path=folder / "metrics.csv").rows()
    if not rows:
        raise ValueError(f"{folder} has no metrics.csv with a row; give a folder that lp-finetune wrote")
    try:
        steps = np.array([float(row["step"]) for row in rows])
        columns = {name: [row[name] for row in rows] for name in rows[0] if name != "step"}
        numbers = {name: np.array([float(cell or "nan") for cell in cells]) for name, cells in columns.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / 'metrics.csv'} is no table of numbers by step ({error})") from error
    return {
        name: Curve(steps=steps[known], values=values[known])
        for name, values in numbers.items()
        if (known := np.isfinite(values)).any()
    }


def chosen_terms(runs: Sequence[Mapping[str, Curve]], asked: str) -> list[str]:
    """The terms to draw.

    Raises:
        ValueError: a term is in none of the runs.
    """
    there = {name for run in runs for name in run}
    if not asked:
        return [name for name in TERMS if name in there]
    terms = [name for name in asked.split(",") if name]
    if unknown := [name for name in terms if name not in there]:
        raise ValueError(f"terms: {unknown[0]} is in none of the runs; there are {', '.join(sorted(there))}")
    return terms


def draw(plan: CurvePlan) -> list[str]:
    """Draw the picture, whole or not at all; returns the terms in it."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    runs = [read_curves(folder) for folder in plan.folders]
    terms = chosen_terms(runs, plan.terms)
    # Each run begins where the one before ended.
    ends = [max(float(curve.steps[-1]) for curve in run.values()) for run in runs]
    begins = np.concatenate(([0.0], np.cumsum(ends)[:-1]))
    num_rows = -(-len(terms) // COLUMNS)
    figure, axes = plt.subplots(num_rows, COLUMNS, figsize=(4 * COLUMNS, 2.4 * num_rows), squeeze=False, sharex=True)
    for axis, term in zip(axes.flat, terms, strict=False):
        for number, (folder, run, begin) in enumerate(zip(plan.folders, runs, begins, strict=True)):
            if (curve := run.get(term)) is None:
                continue
            colour = f"C{number}"
            axis.plot(begin + curve.steps, curve.values, color=colour, alpha=0.25, linewidth=0.8)
            axis.plot(begin + curve.steps, curve.smoothed(plan.smoothing), color=colour, label=folder.name)
        if plan.log_scale:
            axis.set_yscale("log")
        axis.set_title(term, fontsize=10)
        axis.tick_params(which="both", labelsize=7)
        axis.grid(visible=True, which="both", alpha=0.15)
    for axis in axes.flat[len(terms) :]:
        axis.set_visible(False)
    lines = {label: line for axis in axes.flat for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=len(runs), fontsize=9, frameon=False)
    figure.supxlabel("step", fontsize=9, x=0.02, ha="left")
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    out = Path(plan.out)
    with whole_file(out) as part, write_errors(out):
        figure.savefig(part, format=out.suffix[1:], dpi=100)
    plt.close(figure)
    return terms


@user_errors
def main() -> None:
    """`runs=DIR,DIR out=FILE.png`, more in CurvePlan."""
    plan = read_options(CurvePlan, sys.argv[1:], "finetune.curves")
    terms = draw(plan)
    print(f"{', '.join(terms)} of {len(plan.folders)} runs: {plan.out}")  # noqa: T201


if __name__ == "__main__":
    main()
