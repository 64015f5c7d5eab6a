"""`python -m finetune.ablation`: a base and variants -> animal fine-tunings of several seeds, and their table.

Every run is an `lp-finetune` of its own; finished ones stay, so a stopped ablation goes on where it was. Numbers are
those of `species.csv`: the same held-out rows for every variant and seed, with the averaged weights.
"""

import csv
import io
import math
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from data_pipeline.cli_errors import user_errors
from data_pipeline.progress import track
from data_pipeline.records import SPECIES
from data_pipeline.whole_file import write_text
from finetune.metrics_file import MetricsFile

ANIMALS = tuple(name for name in SPECIES if name != "human")
COLUMNS = ("animals/l1", "animals/guide", "animals/perceptual", "human/l1", "human/guide")
"""What the table shows; `animals` is the mean over the species that are not people."""


@dataclass(frozen=True, kw_only=True)
class AblationPlan:
    """What is trained how often; the fields are the command's options.

    Raises:
        ValueError: a number is out of range.
    """

    weights: str
    """The human base that all variants start from."""
    shards: str
    out: str
    variants: str = ""
    """A YAML file, variant -> overrides; "": conf/ablation/animals.yaml."""
    model: str = "tiny"
    steps: int = 300
    batch_size: int = 8
    seeds: int = 3
    frozen_steps: int = 40
    """Steps in which the motion network waits, in every variant that does not change `recipe.stages`."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "seeds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give 1 or more")


class Spread(NamedTuple):
    """Of one number over the seeds."""

    mean: float
    deviation: float
    """Standard deviation; 0 for one seed."""


def read_variants(path: str) -> dict[str, list[str]]:
    """Name -> overrides, in their order.

    Raises:
        ValueError: the file does not say that.
    """
    import yaml

    text = Path(path).read_text() if path else (resources.files("conf") / "ablation" / "animals.yaml").read_text()
    found = yaml.safe_load(text)
    if not isinstance(found, dict) or not all(isinstance(changes, list) for changes in found.values()):
        raise ValueError(
            f"{path or 'conf/ablation/animals.yaml'} is no list of variants; write `name: [option=value, …]` lines"
        )
    return {str(name): [str(change) for change in changes] for name, changes in found.items()}


def command(plan: AblationPlan, changes: Sequence[str], seed: int, out: Path) -> list[str]:
    """The lp-finetune of one run."""
    own = [
        "recipe=animals", f"model={plan.model}", f"weights={plan.weights}", f"data.shards={plan.shards}", f"out={out}",
        f"max_steps={plan.steps}", f"data.batch_size={plan.batch_size}", f"seed={seed}", f"grid_every={plan.steps}",
        f"checkpoint_every={plan.steps}", f"log_every={plan.steps}",
        f"recipe.stages=[{{until: {plan.frozen_steps}, train: [appearance, warping, generator]}}, "
        "{until: 10000000, module_lr: {motion: 0.2}}]",
    ]  # fmt: skip
    return [sys.executable, "-m", "finetune.cli", *own, *changes]


def folder_of(plan: AblationPlan, name: str, seed: int) -> Path:
    """Where one run lies."""
    return Path(plan.out) / name.replace(" ", "_") / f"seed{seed}"


def last_numbers(run: Path, steps: int) -> dict[str, float] | None:
    """The numbers of a finished run by column; None while there are none."""
    rows = [row for row in MetricsFile(path=run / "species.csv").rows() if int(row["step"]) == steps]
    if not rows:
        return None
    found = {name: float(value) for name, value in rows[-1].items() if value and name != "step"}
    for term in ("l1", "guide", "perceptual"):
        values = [found[f"{name}/{term}"] for name in ANIMALS if f"{name}/{term}" in found]
        if values:
            found[f"animals/{term}"] = statistics.fmean(values)
    return {name: found[name] for name in COLUMNS if name in found}


def run_all(plan: AblationPlan, variants: Mapping[str, Sequence[str]]) -> None:
    """Train what is missing.

    Raises:
        ValueError: a run failed; the message names it and where its output is.
    """
    jobs = [
        (name, seed, folder_of(plan, name, seed))
        for seed in range(plan.seeds) for name in variants
        if last_numbers(folder_of(plan, name, seed), plan.steps) is None
    ]  # fmt: skip
    for name, seed, out in track(jobs, len(jobs), "training variants", "runs"):
        out.mkdir(parents=True, exist_ok=True)
        log = out / "log.txt"
        with log.open("w") as file:
            done = subprocess.run(
                command(plan, variants[name], seed, out), stdout=file, stderr=subprocess.STDOUT, check=False
            )
        if done.returncode != 0:
            raise ValueError(f"the run {name!r}, seed {seed}, ended with exit code {done.returncode}; read {log}")


def spreads(plan: AblationPlan, variants: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Spread]]:
    """Variant -> column -> mean and deviation over the seeds."""
    table: dict[str, dict[str, Spread]] = {}
    for name in variants:
        rows = [last_numbers(folder_of(plan, name, seed), plan.steps) or {} for seed in range(plan.seeds)]
        table[name] = {}
        for column in COLUMNS:
            values = [row[column] for row in rows if column in row]
            if len(values) == plan.seeds:
                deviation = statistics.stdev(values) if len(values) > 1 else 0.0
                table[name][column] = Spread(statistics.fmean(values), deviation)
    return table


def markdown(table: Mapping[str, Mapping[str, Spread]]) -> str:
    """The table; a change of more than two deviations of the difference against the first row is marked."""
    first = next(iter(table.values()))
    columns = [column for column in COLUMNS if column in first]
    lines = ["| variant | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in table.items():
        cells = []
        for column in columns:
            if column not in row:
                cells.append("not measured")
                continue
            one, base = row[column], first[column]
            clear = abs(one.mean - base.mean) > 2 * math.hypot(one.deviation, base.deviation) > 0
            mark = ("" if not clear else " worse" if one.mean > base.mean else " better") if row is not first else ""
            cells.append(f"{one.mean:.4f} ± {one.deviation:.4f}{mark}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def write_table(folder: Path, table: Mapping[str, Mapping[str, Spread]]) -> Path:
    """ablation.md and ablation.csv, whole or not at all; returns the former."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["variant", *(f"{column} {part}" for column in COLUMNS for part in Spread._fields)])
    for name, row in table.items():
        writer.writerow(
            [name, *(f"{v:.6g}" for column in COLUMNS for v in row.get(column, Spread(math.nan, math.nan)))]
        )
    write_text(folder / "ablation.csv", text.getvalue())
    write_text(folder / "ablation.md", markdown(table))
    return folder / "ablation.md"


@user_errors
def main() -> None:
    """Console entry."""
    from data_pipeline.typed_options import read_options

    plan = read_options(AblationPlan, sys.argv[1:], "finetune.ablation")
    variants = read_variants(plan.variants)
    run_all(plan, variants)
    path = write_table(Path(plan.out), spreads(plan, variants))
    print(path.read_text())  # noqa: T201
    print(f"table: {path}\nnext: lp-finetune recipe=animals weights={plan.weights} data.shards={plan.shards} …")  # noqa: T201


if __name__ == "__main__":
    main()
