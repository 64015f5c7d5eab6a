"""The interface of every logger: numbers, pictures, videos and texts of a run, each with its step."""

from abc import abstractmethod
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from lightning.pytorch.loggers import Logger

if TYPE_CHECKING:
    import lightning


class Film(NamedTuple):
    """A sample video: as a file, and as frames for loggers that cannot take the file."""

    path: Path
    frames: UInt8[np.ndarray, "T H W 3"]
    fps: float


class RunLogger(Logger):
    """A logger that Lightning's trainer accepts. Everything that goes through it also lies in `out` as files."""

    @abstractmethod
    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Numbers by name; names may have a group in front, as in cat/l1."""

    @abstractmethod
    def pictures(self, pictures: Mapping[str, UInt8[np.ndarray, "H W 3"]], step: int) -> None:
        """RGB pictures by name."""

    @abstractmethod
    def videos(self, films: Mapping[str, Film], step: int) -> None:
        """Videos by name."""

    @abstractmethod
    def texts(self, texts: Mapping[str, str]) -> None:
        """Files of text by file name: the composed config, the shards' manifest."""

    @property
    def version(self) -> str:
        """Lightning asks for one."""
        return ""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """What Lightning calls `scalars`."""
        self.scalars(metrics, step or 0)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: object, **kwargs: object) -> None:
        """Nothing: the composed config is sent as text, exactly."""


def loggers_of(trainer: "lightning.Trainer") -> list[RunLogger]:
    """Those that a run was given; none on other ranks than the first, so that nothing is sent twice."""
    found = trainer.loggers if trainer.is_global_zero else []
    return [logger for logger in found if isinstance(logger, RunLogger)]
