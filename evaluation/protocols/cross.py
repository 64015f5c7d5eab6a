"""Clips -> pairs in which one individual drives another."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_pipeline.records import SPECIES, Species
from evaluation.clips import Clip, by_performance, find_clips
from evaluation.protocols.plan import SHORTEST_FRAMES, Plan, Size, aligned_plan, common_frames, free_plan, mark
from evaluation.protocols.protocol import PairProtocol, is_list, listed_plans
from evaluation.source import HeadFinder

Sources = Literal["all", "stills", "clips"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SameSpecies(PairProtocol):
    """Another individual of the species drives the first frame. Exact truth where it performs the same (puppets).

    In a plain folder of videos every file counts as an individual of its own.
    """

    drivers_per_source: int = 1
    name: str = "same_species"

    def plans(self, data: Path, size: Size, side_px: int, detector: HeadFinder | None) -> list[Plan]:
        """Some drivers for each clip, chosen by names' hashes."""
        if is_list(data):
            found = [plan for pair, plan in listed_plans(data, side_px, detector) if self.is_wanted(plan.species)]
            if other := [plan for plan in found if plan.driver.species != plan.species]:
                raise ValueError(
                    f"{data}: {other[0].driver.key} is a {other[0].driver.species} and {other[0].source.key} a "
                    f"{other[0].species}; same_species needs equal ones, human_animal a person and an animal"
                )
        else:
            clips = find_clips(data, split=self.split, side_px=side_px, detector=detector)
            found = []
            for species in SPECIES:
                if self.is_wanted(species):
                    found += self._of_species([clip for clip in clips if clip.species == species])
        if not found:
            raise ValueError(
                f"data={data} (split={self.split}) holds no two individuals of one species; give more clips"
            )
        return found

    def _of_species(self, clips: Sequence[Clip]) -> list[Plan]:
        performers = {clip.key: group for group in by_performance(clips) for clip in group}
        plans = []
        for source in clips:
            same = [clip for clip in performers.get(source.key, ()) if common_frames(source, clip)]
            exact = _partners(source, same, self.drivers_per_source)
            others = exact or _partners(source, _long_enough(clips), self.drivers_per_source)
            plans += [aligned_plan(source, one) if exact else free_plan(source, one) for one in others]
        return plans


@dataclass(frozen=True, slots=True, kw_only=True)
class HumanAnimal(PairProtocol):
    """A person drives an animal's photo or the first frame of its clip: what the product is for; no truth exists."""

    drivers: Path | str | None = None
    """Where the people are, when not among the data."""
    drivers_per_source: int = 1
    sources: Sources = "all"
    """Photos, first frames of clips, or both."""
    name: str = "human_animal"

    def plans(self, data: Path, size: Size, side_px: int, detector: HeadFinder | None) -> list[Plan]:
        """Some people for each animal, chosen by names' hashes."""
        if self.sources not in ("all", "stills", "clips"):
            raise ValueError(f"protocol.sources={self.sources!r} is unknown; choose all, stills or clips")
        if is_list(data):
            plans = [plan for _, plan in listed_plans(data, side_px, detector) if self._is_source(plan.source)]
        else:
            self.check_split(data)
            clips = find_clips(data, side_px=side_px, detector=detector, stills=True)
            people = clips
            if self.drivers is not None:
                people = find_clips(Path(self.drivers), side_px=side_px, detector=detector)
            people = [clip for clip in _long_enough(people) if clip.species == "human"]
            if not people:
                raise ValueError(
                    f"data={data} holds no clip of a person; give a folder with people as protocol.drivers=DIR"
                )
            plans = [
                free_plan(source, driver)
                for source in clips
                if self._is_source(source) and self.in_split(source.split)
                for driver in _partners(source, people, self.drivers_per_source)
            ]
        if not plans:
            raise ValueError(
                f"data={data} (split={self.split}) holds no animal to be driven; give other data or species"
            )
        return plans

    def _is_source(self, clip: Clip) -> bool:
        is_kind = self.sources == "all" or (clip.num_frames == 1) == (self.sources == "stills")
        return is_kind and clip.species != "human" and self.is_wanted(clip.species)


@dataclass(frozen=True, slots=True, kw_only=True)
class PuppetsCross(PairProtocol):
    """A person drives an animal that is known to perform the same: the animal's own frames are the exact truth."""

    driver_species: Species = "human"
    """Of any split."""
    name: str = "puppets_cross"

    def plans(self, data: Path, size: Size, side_px: int, detector: HeadFinder | None) -> list[Plan]:
        """Every animal with every person that performs the same."""
        if is_list(data):
            raise ValueError(f"data={data} is a media list; puppets_cross needs shards or puppets, or use human_animal")
        self.check_split(data)
        plans = []
        for group in by_performance(find_clips(data, side_px=side_px, detector=detector)):
            drivers = [clip for clip in group if clip.species == self.driver_species]
            sources = [clip for clip in group if clip.species != self.driver_species and self.in_split(clip.split)]
            plans += [
                aligned_plan(source, driver)
                for source in sources
                if self.is_wanted(source.species)
                for driver in drivers
                if common_frames(source, driver)
            ]
        if not plans:
            raise ValueError(
                f"data={data} (split={self.split}): no animal performs what a {self.driver_species} performs; make "
                "puppets with performances=shared and human among the species, or use protocol=self"
            )
        return plans


def _long_enough(clips: Sequence[Clip]) -> list[Clip]:
    return [clip for clip in clips if clip.num_frames >= SHORTEST_FRAMES]


def _partners(source: Clip, clips: Sequence[Clip], count: int) -> list[Clip]:
    """Up to `count` clips of other individuals: a walk through the list from a place that the source's name gives."""
    if count < 1:
        raise ValueError(f"protocol.drivers_per_source={count} is out of range; give 1 or more")
    chosen: list[Clip] = []
    first = int(mark(source.key)[:12], 16)
    for step in range(len(clips)):
        clip = clips[(first + step) % len(clips)]
        if clip.identity != source.identity:
            chosen.append(clip)
        if len(chosen) == count:
            break
    return chosen
