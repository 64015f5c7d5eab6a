"""Stills -> pairs in which eyes or lips are told to open and close along a curve."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluation.clips import Clip, find_clips
from evaluation.openings import MAX_OPENING
from evaluation.protocols.pairs import Sweep
from evaluation.protocols.plan import LIMITS, Plan, Size
from evaluation.protocols.protocol import PairProtocol
from evaluation.source import HeadFinder

LONGEST_FRAMES = 48
"""Up and down in finer steps says nothing new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EyesSweep(PairProtocol):
    """The eyes of a still are told to go from `low` to `high` and back; what comes out is read and compared.

    The source's own openings come from its annotations; without them, from the numbers given here; without those, from
    the face reader that also judges the results.
    """

    low: float | int = 0.0
    high: float | int = 0.8
    """The end of the range that LivePortrait's own sliders offer."""
    source_eyes: float | int | None = None
    source_lips: float | int | None = None
    read_openings: bool = True
    name: str = "eyes_sweep"

    @property
    def sweep(self) -> Sweep:
        """What moves."""
        return "eyes"

    def plans(self, data: Path, size: Size, side_px: int, detector: HeadFinder | None) -> list[Plan]:
        """One for each still, and for the first frame of each clip."""
        if not 0 <= self.low < self.high <= MAX_OPENING:
            raise ValueError(
                f"protocol.low={self.low} and protocol.high={self.high} must rise and lie between 0 and {MAX_OPENING:g}"
            )
        clips = find_clips(data, split=self.split, side_px=side_px, detector=detector, stills=True)
        count = min(LIMITS[size][1], LONGEST_FRAMES)
        plans = [self._plan(clip, self.curve(count)) for clip in clips if self.is_wanted(clip.species)]
        if not plans:
            wanted = ", ".join(self.species or ())
            raise ValueError(
                f"data={data} (split={self.split}) holds no picture of {wanted}; give other data or species"
            )
        return plans

    def curve(self, count: int) -> tuple[float, ...]:
        """The ratio asked for in each frame: up in one half, down in the other."""
        half = np.interp(np.arange(count), (0, (count - 1) / 2, count - 1), (self.low, self.high, self.low))
        return tuple(round(float(value), 4) for value in half)

    def _plan(self, clip: Clip, commanded: tuple[float, ...]) -> Plan:
        eyes, lips = self.source_eyes, self.source_lips
        own = None
        if (eyes if self.sweep == "eyes" else lips) is not None:
            # The other one is not moved, so nobody asks how open it is.
            own = (float(eyes or 0), float(eyes or 0), float(lips or 0))
        return Plan(
            pair_id=f"{self.sweep}__{clip.key}", source=clip, driver=clip, count=1, sweep=self.sweep,
            commanded=commanded, openings=own, reads_openings=self.read_openings,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LipsSweep(EyesSweep):
    """The same with the lips."""

    name: str = "lips_sweep"

    @property
    def sweep(self) -> Sweep:
        """What moves."""
        return "lips"
