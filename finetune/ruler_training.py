"""`python -m finetune.ruler_training`: puppets drawn on the spot with evenly spread openings -> a trained ruler.

Performances hold few wide-open mouths: in shards a lip opening above 0.3 is rare, while retargeting asks for up to 0.8.
"""

import json
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_pipeline.cli_errors import user_errors
from data_pipeline.progress import track
from data_pipeline.records import SPECIES, Species
from data_pipeline.whole_file import write_text
from finetune.landmarks import OpeningRuler, save_ruler
from finetune.lessons import Accuracy, Lessons, accuracies, joined, lesson_loss, lessons

HELD_OUT = 100_000
"""Identities from here on are nobody's lessons."""


@dataclass(frozen=True, kw_only=True)
class RulerPlan:
    """What the ruler learns from and how long; the fields are the command's options.

    Raises:
        ValueError: a number is out of range.
    """

    out: str
    """The ruler's file (.safetensors); a report is written beside it (.json)."""
    identities: int = 60
    """Puppets of each species."""
    first_identity: int = 50_000
    """Number of the first: disjoint ranges share nobody."""
    pictures: int = 10
    """Of each puppet."""
    held_out: int = 8
    """Puppets of each species on which the ruler is measured."""
    steps: int = 1200
    batch_size: int = 48
    lr: float = 3e-3
    width: int = 16
    seed: int = 0
    workers: int = 2

    def __post_init__(self) -> None:
        for name in ("identities", "pictures", "held_out", "steps", "batch_size", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give 1 or more")
        if self.width % 4 or self.width < 4:
            raise ValueError(f"width is {self.width}; give a multiple of 4")
        if not 0 <= self.first_identity <= HELD_OUT - self.identities:
            raise ValueError(f"first_identity is {self.first_identity}; give 0 to {HELD_OUT - self.identities}")


def puppet_lessons(species: Species, number: int, pictures: int, seed: int) -> Lessons:
    """One puppet in random poses, with openings spread evenly over all that it can do (a fifth of them shut)."""
    from data_pipeline.puppets import render, sample_identity
    from data_pipeline.puppets.motion import COLUMN, HIGHEST, LOWEST, NEUTRAL

    torch.set_num_threads(1)
    rng = np.random.default_rng((seed, SPECIES.index(species), number))
    identity = sample_identity(species, number, seed=seed)
    usual = (HIGHEST - LOWEST) * 0.5
    frames = []
    for _ in range(pictures):
        motion = NEUTRAL + rng.uniform(-0.6, 0.6, len(NEUTRAL)).astype(np.float32) * usual
        lid = rng.uniform(0, 1.2) * (rng.random() > 0.2)
        other = lid if rng.random() < 0.7 else rng.uniform(0, 1.2)
        motion[[COLUMN["lid_right"], COLUMN["lid_left"]]] = lid, other
        motion[COLUMN["jaw"]] = rng.uniform(0, 1) * (rng.random() > 0.2)
        motion[COLUMN["pucker"]] = rng.uniform(0, 0.8) * (rng.random() < 0.3)
        frames.append(render(identity, np.clip(motion, LOWEST, HIGHEST).astype(np.float32), size_px=256))
    image = torch.from_numpy(np.stack([f.image for f in frames])).permute(0, 3, 1, 2).float() / 255
    marks, points = (
        torch.from_numpy((np.stack([getattr(f, n) for f in frames]) + 0.5) / 256).float()
        for n in ("landmarks", "points")
    )
    visible = torch.from_numpy(np.stack([f.landmark_visible for f in frames])).float()
    opening = np.stack([[*f.eye_open, float(f.lip_open)] for f in frames]).astype(np.float32)
    kind = torch.full((pictures,), SPECIES.index(species))
    return lessons(image, points, marks, visible, torch.from_numpy(opening), kind)


def draw_lessons(first: int, identities: int, pictures: int, seed: int, workers: int, what: str) -> Lessons:
    """Lessons of `identities` puppets of each species."""
    jobs: list[tuple[Species, int]] = [(species, first + n) for n in range(identities) for species in SPECIES]
    if workers == 1:
        return joined([puppet_lessons(*job, pictures, seed) for job in track(jobs, len(jobs), what, "puppets")])
    with ProcessPoolExecutor(workers) as pool:
        waiting = [pool.submit(puppet_lessons, *job, pictures, seed) for job in jobs]
        return joined([task.result() for task in track(waiting, len(jobs), what, "puppets")])


def teach(ruler: OpeningRuler, given: Lessons, plan: RulerPlan) -> None:
    """Train in place: Adam with a one-cycle rate."""
    draw = torch.Generator().manual_seed(plan.seed)
    optimiser = torch.optim.Adam(ruler.parameters(), lr=plan.lr)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.lr, total_steps=plan.steps, pct_start=0.1)
    for _ in track(range(plan.steps), plan.steps, "training the ruler", "steps"):
        rows = torch.randint(0, len(given.cut), (plan.batch_size,), generator=draw)
        loss = lesson_loss(ruler, given.rows(rows), draw)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rates.step()


def make_ruler(plan: RulerPlan) -> tuple[OpeningRuler, dict[str, dict[str, Accuracy]]]:
    """Draw, train, measure on others, write the ruler and its report."""
    torch.manual_seed(plan.seed)
    started = time.monotonic()
    given = draw_lessons(plan.first_identity, plan.identities, plan.pictures, plan.seed, plan.workers, "drawing")
    others = draw_lessons(HELD_OUT, plan.held_out, plan.pictures, plan.seed + 1, plan.workers, "drawing held-out")
    ruler = OpeningRuler(plan.width)
    teach(ruler, given, plan)
    table = accuracies(ruler.eval(), others)
    path = Path(plan.out)
    save_ruler(ruler.state_dict(), path)
    report: dict[str, Any] = {"plan": asdict(plan), "seconds": time.monotonic() - started}
    report["held_out"] = {name: {part: a._asdict() for part, a in row.items()} for name, row in table.items()}
    write_text(path.with_suffix(".json"), json.dumps(report, indent=1))
    return ruler, table


def accuracy_table(table: dict[str, dict[str, Accuracy]]) -> str:
    """Correlation and mean error for each species."""
    lines = [f"{'held-out puppets':18} {'eyes: r':>9} {'error':>7} {'lips: r':>9} {'error':>7}"]
    for name, row in table.items():
        eyes, lips = row["eyes"], row["lips"]
        lines.append(
            f"{name:18} {eyes.correlation:9.3f} {eyes.mean_error:7.3f} {lips.correlation:9.3f} {lips.mean_error:7.3f}"
        )
    return "\n".join(lines)


@user_errors
def main() -> None:
    """Console entry."""
    import sys

    from data_pipeline.typed_options import read_options

    plan = read_options(RulerPlan, sys.argv[1:], "finetune.ruler_training")
    _, table = make_ruler(plan)
    print(accuracy_table(table))  # noqa: T201
    print(f"ruler: {plan.out}\nnext: lp-finetune recipe=stitching recipe.ruler={plan.out} …")  # noqa: T201


if __name__ == "__main__":
    main()
