"""A batch -> its parts, one after the other, for steps that do not fit into memory at once."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, TypeVar

from torch import Tensor

from finetune.pairs import Batch

Record = TypeVar("Record", bound=tuple[Any, ...])


def micro_batches(batch: Batch, count: int) -> Iterator[Batch]:
    """Nearly equal parts in order; one that is the batch itself for `count` 1.

    Raises:
        ValueError: the batch has fewer rows than parts were asked for.
    """
    num = len(batch.source)
    if num < count:
        raise ValueError(f"recipe.accumulate={count} needs data.batch_size of {count} or more, not {num}")
    if count == 1:
        yield batch
        return
    ends = [num * index // count for index in range(count + 1)]
    for begin, end in pairwise(ends):
        yield rows(batch, begin, end)


def rows(record: Record, begin: int, end: int) -> Record:
    """The same rows of every tensor in a record of records."""
    parts = []
    for value in record:
        if isinstance(value, Tensor):
            parts.append(value[begin:end])
        elif isinstance(value, tuple):
            parts.append(rows(value, begin, end))
        else:
            parts.append(value)
    return type(record)(*parts)  # pyright: ignore[reportCallIssue]
