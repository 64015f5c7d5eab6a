"""What curation asks of whoever spreads its work: jobs -> results, as they finish."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

J = TypeVar("J")
R = TypeVar("R")


class ExecutorError(ValueError):
    """Work that cannot be spread; the message says what is missing and what to do."""


@runtime_checkable
class Executor(Protocol):
    """Spreads work over processes or machines."""

    def __call__(self, work: Callable[[J], R], jobs: Sequence[J], lost: Callable[[J], R]) -> Iterator[tuple[J, R]]:
        """Yield each job with its result, as they finish.

        Args:
            work: a picklable callable; it must turn its own failures into results.
            jobs: what to do, begun in this order.
            lost: the result for a job whose worker died again and again (out of memory, a crashing decoder).
        """
        ...


@runtime_checkable
class FileJob(Protocol):
    """A job that turns a file into a file, so that machines can say when they do not see one of them."""

    @property
    def needs(self) -> Path | None:
        """What it reads; None: nothing that must be there."""
        ...

    @property
    def result(self) -> Path:
        """What it writes."""
        ...
