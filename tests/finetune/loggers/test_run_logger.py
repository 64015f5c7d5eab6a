from types import SimpleNamespace
from typing import Any

from finetune.loggers import loggers_of
from finetune.loggers.run_logger import RunLogger


class Notes(RunLogger):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[Any] = []

    @property
    def name(self) -> str:
        return "notes"

    def scalars(self, values: Any, step: int) -> None:
        self.said.append((dict(values), step))

    def pictures(self, pictures: Any, step: int) -> None:
        raise NotImplementedError

    videos = texts = pictures  # pyright: ignore[reportAssignmentType]


def test_lightnings_metrics_arrive_as_scalars_and_hyperparameters_are_left_out() -> None:
    notes = Notes()
    notes.log_metrics({"a": 1.0}, step=3)
    notes.log_hyperparams({"x": 1})
    assert notes.said == [({"a": 1.0}, 3)]
    assert notes.version == ""


def test_only_the_first_process_sends() -> None:
    notes = Notes()
    trainer: Any = SimpleNamespace(is_global_zero=True, loggers=[notes, object()])
    assert loggers_of(trainer) == [notes]
    assert loggers_of(SimpleNamespace(is_global_zero=False, loggers=[notes])) == []  # pyright: ignore[reportArgumentType]
