import json
from pathlib import Path

import numpy as np
import pytest
import torch

from data_pipeline.typed_options import read_options
from evaluation import reader_training
from evaluation.metrics.reader import FaceReader
from evaluation.reader_lessons import drawn, find_truth, read_lessons
from evaluation.reader_training import ReaderPlan, Training, loss_of, make_reader


def plan(folder: Path, out: Path, **options: int | float) -> ReaderPlan:
    return ReaderPlan(puppets=str(folder), out=str(out / "r.safetensors"), **{"steps": 4, "batch_size": 8} | options)


@pytest.mark.slow
def test_it_learns(puppet_set: Path, tmp_path: Path) -> None:
    lessons = read_lessons(find_truth([puppet_set]), 1, "reading")
    training = Training(plan(puppet_set, tmp_path, steps=12))

    def loss() -> float:
        some = drawn(lessons, list(range(len(lessons.image))) * 2, np.random.default_rng(3))
        training.network.train()
        with torch.no_grad():
            return float(
                loss_of(training.network(reader_training.to_float(some.image), torch.from_numpy(some.species)), some)
            )

    before = loss()
    training.run(lessons)
    assert training.step == 12
    assert loss() < 0.9 * before


def test_a_stopped_training_goes_on_to_the_same_weights(puppet_set: Path, tmp_path: Path) -> None:
    lessons = read_lessons(find_truth([puppet_set]), 1, "reading")
    straight = Training(plan(puppet_set, tmp_path))
    straight.run(lessons)
    stopped = Training(plan(puppet_set, tmp_path))

    class StopError(Exception):
        pass

    def stop_after_two(some) -> None:
        if stopped.step == 2:
            raise StopError
        Training._learn(stopped, some)

    stopped._learn = stop_after_two
    with pytest.raises(StopError):
        stopped.run(lessons, save_every=1)
    again = Training(plan(puppet_set, tmp_path))
    assert again.step == 2
    again.run(lessons)
    for one, other in zip(straight.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_another_plan_does_not_go_on_with_what_it_did_not_begin(puppet_set: Path, tmp_path: Path) -> None:
    Training(plan(puppet_set, tmp_path)).save()
    with pytest.raises(ValueError, match="is of another plan; remove it"):
        Training(plan(puppet_set, tmp_path, steps=9))


def test_a_training_begins_where_another_one_ended(puppet_set: Path, tmp_path: Path) -> None:
    first = Training(plan(puppet_set, tmp_path))
    first.save()
    second = Training(ReaderPlan(puppets="p", out=str(tmp_path / "two.safetensors"), begin=str(first.last), seed=9))
    assert second.step == 0
    assert torch.equal(second.network.hidden.weight, first.network.hidden.weight)
    with pytest.raises(ValueError, match=r"begin=.*is not a file"):
        Training(ReaderPlan(puppets="p", out=str(tmp_path / "three"), begin=str(tmp_path / "no.last")))


def test_weights_and_report_are_written_and_others_are_measured(puppet_set: Path, tmp_path: Path) -> None:
    options = plan(puppet_set, tmp_path, steps=2)
    made = make_reader(ReaderPlan(**{**options.__dict__, "check": str(puppet_set)}))
    assert set(made[puppet_set.name]) == {"human", "cat"}
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["steps"] == "2"
    assert report["measured"][puppet_set.name]["cat"]["yaw"]["frames"] == 6
    read = FaceReader(path=tmp_path / "r.safetensors")(
        np.random.default_rng(0).integers(0, 255, (1, 64, 64, 3), np.uint8), "cat"
    )
    assert np.isfinite(read.yaw_deg).all()
    assert not list(tmp_path.glob("*.part"))


def test_unknown_truth_costs_nothing(puppet_set: Path) -> None:
    lessons = read_lessons(find_truth([puppet_set])[:1], 3, "reading")
    some = drawn(lessons, [0, 1], np.random.default_rng(0))
    nothing = some._replace(
        pose_deg=some.pose_deg * np.nan, openings=some.openings * np.nan, landmarks=some.landmarks * np.nan,
        points=some.points * np.nan,
    )  # fmt: skip
    network = reader_training.ReaderNetwork()
    reading = network(reader_training.to_float(some.image), torch.from_numpy(some.species))
    assert float(loss_of(reading, nothing).detach()) == 0
    five_only = nothing._replace(points=some.points)
    assert 0 < float(loss_of(reading, five_only).detach()) < float(loss_of(reading, some).detach())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["puppets=a"], "needs out="),
        (["puppets=a", "out=b", "step=3"], "no option 'step=3'; write name=value with one of puppets"),
        (["puppets=a", "out=b", "steps=many"], "many"),
        (["puppets=a", "out=b", "steps=0"], "steps is 0; give 1 or more"),
        (["puppets=a", "out=b", "lr=2"], "lr is 2"),
    ],
)
def test_mistakes_are_one_sentence(words: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_options(ReaderPlan, words, "evaluation.reader_training")
