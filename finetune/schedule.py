"""Shares and a row number -> which group the row belongs to: exact ratios without chance and without state.

A share p has the rows at which floor(n p + phase) grows. In any run of N rows these are N p, give or take less than
one, and how many came before row n is one multiplication. Splits of splits divide the rows of several groups; each
level adds less than one row.

Rank r of W has phases of its own, 1/W apart. The sum of floor(x + r/W) over all r is floor(W x): so all ranks together
keep the share of the first split as exactly as one alone does. Below it they differ by less than W times one's rows.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

G = TypeVar("G", bound=Hashable)

ONE = 1 << 40
"""Shares and phases are counted in units of 2**-40, in integers, so that no rounding grows with the row number."""


@dataclass(frozen=True, slots=True)
class Turns:
    """The rows of a share."""

    share: int
    phase: int

    @classmethod
    def of(cls, share: float, rank: int = 0, world: int = 1) -> "Turns":
        """Those of one rank. Half-way between 0 and 1 the first turn comes neither early nor late."""
        return cls(round(share * ONE), (2 * rank + 1) * ONE // (2 * world))

    def before(self, row: int) -> int:
        """How many of the rows before this one have it."""
        return (row * self.share + self.phase) // ONE

    def has(self, row: int) -> bool:
        """Whether it is this row's turn."""
        return self.before(row + 1) > self.before(row)


@dataclass(frozen=True, slots=True)
class Split(Generic[G]):
    """Divides rows between two groups, or further splits."""

    turns: Turns
    first: "Split[G] | G"
    second: "Split[G] | G"


class Schedule(Generic[G]):
    """Divides row numbers among groups.

    Args:
        shares: of each group, above 0; they sum to 1. Groups are told apart by their fields in order, so that what
            comes first is kept most exactly.
        rank: of this process.
        world: processes in all.
    """

    def __init__(self, shares: Mapping[G, float], rank: int = 0, world: int = 1) -> None:
        self.shares = {group: share for group, share in sorted(shares.items()) if share > 0}  # pyright: ignore
        self._rank, self._world = rank, world
        self._root = self._divide(list(self.shares), 0)

    def locate(self, row: int) -> tuple[G, int]:
        """The row's group, and how many of the group's rows came before."""
        node = self._root
        while isinstance(node, Split):
            before = node.turns.before(row)
            if node.turns.before(row + 1) > before:
                node, row = node.first, before
            else:
                node, row = node.second, row - before
        return node, row  # pyright: ignore[reportReturnType]

    def _divide(self, groups: Sequence[G], depth: int) -> "Split[G] | G":
        if len(groups) == 1:
            return groups[0]
        return self._halve(_by(groups, lambda group: group[depth]), depth + 1)  # pyright: ignore[reportIndexIssue]

    def _halve(self, parts: list[list[G]], depth: int) -> "Split[G] | G":
        if len(parts) == 1:
            return self._divide(parts[0], depth)
        middle = len(parts) // 2
        ahead, behind = parts[:middle], parts[middle:]
        mass = [sum(self.shares[group] for part in half for group in part) for half in (ahead, behind)]
        turns = Turns.of(mass[0] / sum(mass), self._rank, self._world)
        return Split(turns, self._halve(ahead, depth), self._halve(behind, depth))


def _by(groups: Sequence[G], field: Callable[[G], object]) -> list[list[G]]:
    parts: dict[object, list[G]] = {}
    for group in groups:
        parts.setdefault(field(group), []).append(group)
    return list(parts.values())
