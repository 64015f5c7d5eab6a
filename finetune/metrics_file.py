"""Rows of numbers by step -> a CSV file that is always whole and has each step once, however often a run is resumed."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_pipeline.whole_file import whole_file, write_errors


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsFile:
    """One row per step; a name that first comes up later leaves earlier rows empty there."""

    path: Path

    def rows(self) -> list[dict[str, str]]:
        """What is there."""
        return list(csv.DictReader(self.path.read_text().splitlines())) if self.path.is_file() else []

    def cut_after(self, step: int) -> None:
        """Leave out rows beyond the checkpoint that a run goes on from."""
        rows = self.rows()
        if kept := [row for row in rows if int(row["step"]) <= step]:
            self._write(kept)
        elif rows:
            self.path.unlink()

    def append(self, row: Mapping[str, float | int]) -> None:
        """One more; `row` has a step."""
        self._write([*self.rows(), dict(row)])

    def _write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        names = list(dict.fromkeys(name for row in rows for name in row))
        with whole_file(self.path) as part, write_errors(self.path), part.open("w", newline="") as file:
            writer = csv.DictWriter(file, names, restval="")
            writer.writeheader()
            writer.writerows(rows)
