"""paper_tables.yaml -> what other people's papers report, kept apart from what was measured here."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

FILE = Path(__file__).with_name("paper_tables.yaml")
BOUND_COLUMNS = ("PSNR", "L1")


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTable:
    """One table as printed."""

    title: str
    kind: Literal["self", "cross"]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float, ...]], ...]
    """Method and its numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTables:
    """All tables with what has to be said beside them."""

    paper: str
    says: str
    psnr_warning: str
    csim_warning: str
    tables: tuple[PaperTable, ...]

    def of_kind(self, kind: str) -> tuple[PaperTable, ...]:
        """Tables of self- or cross-reenactment."""
        return tuple(table for table in self.tables if table.kind == kind)


@cache
def paper_tables() -> PaperTables:
    """Read the shipped file."""
    import yaml

    found = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    tables = tuple(
        PaperTable(
            title=one["title"], kind=one["kind"], columns=tuple(one["columns"]),
            rows=tuple((str(name), tuple(float(value) for value in values)) for name, *values in one["rows"]),
        )
        for one in found.pop("tables")
    )  # fmt: skip
    return PaperTables(tables=tables, **found)
