"""`python -m evaluation.reader_training puppets=DIR out=FILE`: media with truth -> the trained face reader.

puppets=DIR[,DIR…]  folders of lp-puppets, or of clips with truth files (their missing arrays are not learnt)
check=DIR[,DIR…]    folders on which it is measured; none: the held-out identities of the training folders
"""

import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from data_pipeline.cli_errors import user_errors
from data_pipeline.progress import track
from data_pipeline.typed_options import read_options
from data_pipeline.whole_file import whole_file
from evaluation.metrics.reader import SIDE_PX, FaceReader, ReaderNetwork, Reading, save_reader, to_float
from evaluation.reader_accuracy import Table, measured, shown_table
from evaluation.reader_lessons import Lessons, drawn, find_truth, parted, read_lessons

_POSE_STEP_DEG, _OPENING_STEP, _MARK_STEP = 6.0, 0.06, 0.06
"""An error of this size counts 1 in the loss."""
_CORNERS = ((36, 39), (42, 45), (30,), (48,), (54,))
"""The five points among the landmarks."""


@dataclass(frozen=True, kw_only=True)
class ReaderPlan:
    """What the reader learns from and how long; the fields are the command's options.

    Raises:
        ValueError: a number is out of range.
    """

    puppets: str
    out: str
    check: str = ""
    begin: str = ""
    """A `.last` file of an earlier training whose network is where this one begins."""
    held_out: int = 3
    """Last identities of each folder and species from which nothing is learnt."""
    every: int = 8
    """Of clips, every so many-th frame is learnt."""
    steps: int = 3000
    minutes: float = 60.0
    """The training ends after so many steps or so many minutes by the clock, whichever comes first."""
    batch_size: int = 64
    lr: float = 3e-3
    weight_decay: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("held_out", "every", "steps", "minutes", "batch_size"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give 1 or more")
        if not 0 < self.lr < 1:
            raise ValueError(f"lr is {self.lr}; give a number between 0 and 1, such as 0.003")


def folders_of(text: str) -> list[Path]:
    """a,b -> the folders a and b."""
    return [Path(part) for part in text.split(",") if part]


def loss_of(reading: Reading, lessons: Lessons) -> Float[Tensor, ""]:
    """Mean absolute errors (smooth near 0) of what is known, each in its own unit."""

    def part(read: Tensor, true: np.ndarray, unit: float) -> Tensor:
        target = torch.from_numpy(true)
        known = target.isfinite()
        error = torch.nn.functional.smooth_l1_loss(
            read, target.where(known, read.detach()), reduction="none", beta=unit / 4
        )
        return error.sum() / known.sum().clamp(min=1) / unit

    marks = (lessons.landmarks + 0.5) / SIDE_PX
    five = (lessons.points + 0.5) / SIDE_PX
    has_all = np.asarray(np.isfinite(marks).all(axis=(1, 2)))
    only_five = np.where(has_all[:, None, None], np.float32(np.nan), five)
    read_five = torch.stack([reading.landmarks[:, list(index)].mean(dim=1) for index in _CORNERS], dim=1)
    return (
        part(reading.pose_deg, lessons.pose_deg, _POSE_STEP_DEG)
        + part(reading.openings, lessons.openings, _OPENING_STEP)
        + part(reading.landmarks, marks, _MARK_STEP)
        + 0.5 * part(read_five, only_five, _MARK_STEP)
    )


class Training:
    """A network, its optimiser and how far they are; goes on from `<out>.last` when it is there."""

    def __init__(self, plan: ReaderPlan) -> None:
        torch.manual_seed(plan.seed)
        self.plan, self.step, self.cpu_s, self.clock_s = plan, 0, 0.0, 0.0
        self.network = ReaderNetwork().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=plan.lr, weight_decay=plan.weight_decay)
        self.last = Path(plan.out).with_name(Path(plan.out).name + ".last")
        if plan.begin and not self.last.is_file():
            if not Path(plan.begin).is_file():
                raise ValueError(f"begin={plan.begin} is not a file; give the .last file of an earlier training")
            self.network.load_state_dict(torch.load(plan.begin, weights_only=True)["network"])
        if self.last.is_file():
            state = torch.load(self.last, weights_only=True)
            if state["plan"] != self._kept():
                raise ValueError(f"{self.last} is of another plan; remove it to begin anew, or give its options")
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.cpu_s, self.clock_s = state["step"], state["cpu_s"], state["clock_s"]

    def _kept(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self.plan).items() if name not in ("check", "out")}

    def save(self) -> None:
        """Everything that is needed to go on."""
        self.last.parent.mkdir(parents=True, exist_ok=True)
        state = {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}
        with whole_file(self.last) as part:
            torch.save(
                {**state, "step": self.step, "cpu_s": self.cpu_s, "clock_s": self.clock_s, "plan": self._kept()}, part
            )

    @property
    def share(self) -> float:
        """How much of the training is done."""
        return max(self.step / self.plan.steps, self.clock_s / (60 * self.plan.minutes))

    def run(self, lessons: Lessons, save_every: int = 250) -> None:
        """To the end: AdamW, a short warm-up, then a cosine to 0; bfloat16 convolutions."""
        self.network.train()
        order = _rows(lessons, self.plan.batch_size, self.plan.seed, self.step)
        for _ in track(range(self.step, self.plan.steps), self.plan.steps - self.step, "training", "steps"):
            if self.share >= 1:
                break
            cpu, clock = time.process_time(), time.monotonic()
            self._learn(drawn(lessons, next(order), np.random.default_rng((self.plan.seed, self.step))))
            self.step += 1
            self.cpu_s += time.process_time() - cpu
            self.clock_s += time.monotonic() - clock
            if self.step % save_every == 0:
                self.save()

    def _learn(self, some: Lessons) -> None:
        rate = self.plan.lr * min(1.0, (self.step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * min(1.0, self.share)))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16):
            reading = self.network(to_float(some.image), torch.from_numpy(some.species))
        self.optimizer.zero_grad()
        loss_of(reading, some).backward()
        self.optimizer.step()


def _rows(lessons: Lessons, batch_size: int, seed: int, step: int) -> Iterator[np.ndarray]:
    """Rows for each step, species evenly; step n of a run that went on is step n of one that was never stopped."""
    groups = [np.flatnonzero(lessons.species == one) for one in np.unique(lessons.species)]
    while True:
        rng = np.random.default_rng((seed, step, 1))
        yield np.concatenate([rng.choice(group, -(-batch_size // len(groups))) for group in groups])
        step += 1


def make_reader(plan: ReaderPlan) -> Table:
    """Train (or go on), write the weights, measure them on others, write the report beside them."""
    files, others = parted(find_truth(folders_of(plan.puppets)), plan.held_out)
    if plan.check:
        others += find_truth(folders_of(plan.check))
    training = Training(plan)
    if training.share < 1:
        training.run(read_lessons(files, plan.every, "reading crops"))
        training.save()
    out = Path(plan.out)
    facts = {"folders": ",".join(folder.name for folder in folders_of(plan.puppets)), "steps": str(training.step)}
    save_reader(training.network, out, facts)
    table = measured(FaceReader(path=out), list({file.media: file for file in others}.values()))
    scores = {
        folder: {species: {name: score._asdict() for name, score in row.items()} for species, row in rows.items()}
        for folder, rows in table.items()
    }
    report = {"plan": asdict(plan), **facts, "cpu_seconds": round(training.cpu_s), "measured": scores}
    with whole_file(out.with_suffix(".json")) as part:
        part.write_text(json.dumps(report, indent=1))
    return table


@user_errors
def main() -> None:
    """Console entry."""
    plan = read_options(ReaderPlan, sys.argv[1:], "evaluation.reader_training")
    table = make_reader(plan)
    print(shown_table(table))  # noqa: T201
    print(f"reader: {plan.out}")  # noqa: T201


if __name__ == "__main__":
    main()
