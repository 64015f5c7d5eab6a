"""What one number is: name, unit, direction, definition and where it comes from."""

from dataclasses import dataclass
from typing import Literal

STAND_IN = "_stand_in"
"""Ends the names of metrics that stand in for one that needs a network file."""
Direction = Literal["up", "down", "one", "zero"]
"""More is better, less is better, 1 is right, or 0 is right (either sign is an error)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number per pair, or per method where the definition says so."""

    name: str
    """Key in rows and summaries."""
    title: str
    unit: str
    better: Direction
    definition: str
    source: str
    """Paper, library or file that defines it; "ours" where nobody else does."""
    stands_for: str = ""
    """Title of the metric in whose place this one is measured because that one needs weights that are not at hand."""
    of_set: bool = False
    """One number for all pairs of a method together (a `SetMeasure`), not one per pair."""
    needs: str = ""
    """What has to be given before it is measured, as a reason to be shown; empty when nothing has to."""
    digits: int = 4

    @property
    def is_stand_in(self) -> bool:
        """Never to be quoted under the name of the metric that it stands for."""
        return bool(self.stands_for)
