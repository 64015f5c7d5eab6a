"""Calls -> how long they take when they take turns, in wall and in processor seconds."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from finetune.step_ways import wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """One way's seconds, a number for each round."""

    wall_s: tuple[float, ...]
    cpu_s: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """Of the wall time."""
        return statistics.median(self.wall_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """How often things are timed, on which device."""

    rounds: int = 5
    device: str = "cpu"

    def alternating(self, calls: Sequence[Callable[[], object]]) -> list[Times]:
        """Each call once to warm up, then `rounds` times in turns, every other round backwards."""
        for call in calls:
            self._timed(call)
        found: list[list[tuple[float, float]]] = [[] for _ in calls]
        for turn in range(self.rounds):
            order = range(len(calls)) if turn % 2 == 0 else range(len(calls) - 1, -1, -1)
            for index in order:
                found[index].append(self._timed(calls[index]))
        return [Times(wall_s=tuple(w for w, _ in times), cpu_s=tuple(c for _, c in times)) for times in found]

    def _timed(self, call: Callable[[], object]) -> tuple[float, float]:
        wait(self.device)
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        wait(self.device)
        return time.perf_counter() - wall, time.process_time() - cpu


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A number that was measured several times."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Span":
        """From the measurements."""
        return cls(median=statistics.median(values), least=min(values), most=max(values))
