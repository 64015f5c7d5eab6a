"""Clips -> pairs in which each clip drives its own first frame."""

from dataclasses import dataclass
from pathlib import Path

from data_pipeline.records import Species
from evaluation.clips import find_clips
from evaluation.protocols.plan import Plan, Size
from evaluation.protocols.protocol import PairProtocol
from evaluation.source import HeadFinder


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfReenactment(PairProtocol):
    """The first frame of a clip is moved by all its frames, and should become them (LivePortrait, section 4)."""

    name: str = "self"

    def plans(self, data: Path, size: Size, side_px: int, detector: HeadFinder | None) -> list[Plan]:
        """One for each clip."""
        clips = find_clips(data, split=self.split, side_px=side_px, detector=detector)
        plans = [
            Plan(pair_id=clip.key, source=clip, driver=clip, count=clip.num_frames, truth_at=0)
            for clip in clips
            if self.is_wanted(clip.species)
        ]
        if not plans:
            wanted = ", ".join(self.species or ())
            raise ValueError(f"data={data} (split={self.split}) holds no clip of {wanted}; give other data or species")
        return plans


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgetting(SelfReenactment):
    """Self-reenactment of people only: run with weights from before and after the animals, it says what was lost."""

    species: tuple[Species, ...] | None = ("human",)
    name: str = "forgetting"
