"""What all protocols share: candidates -> a fixed choice of pairs, or exactly those of a manifest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from data_pipeline.records import Species
from evaluation.clips import every_nth, find_clips
from evaluation.media_clips import ListedPair, listed_pairs
from evaluation.protocols.manifest import Entry, check, entry_of, read_manifest
from evaluation.protocols.pairs import Pair
from evaluation.protocols.plan import LIMITS, SHORTEST_FRAMES, Plan, Size, balanced, free_plan, loaded
from evaluation.source import HeadFinder


@dataclass(frozen=True, slots=True, kw_only=True)
class PairProtocol:
    """Calls `plans` of the protocol at hand and makes pairs of some of them."""

    split: str = "test"
    """Of the sources: train, val, test or all; data without splits give all."""
    species: tuple[Species, ...] | None = None
    """Only sources of these; None for all."""
    manifest: Path | str | None = None
    """A protocol.json: run exactly its pairs and refuse data that are not the same."""
    name: str = ""

    def plans(self, data: Path, size: Size, side_px: int, detector: HeadFinder | None) -> list[Plan]:
        """Every pair that the data allow, in any order.

        Raises:
            ValueError: there is none.
        """
        raise NotImplementedError

    def __call__(self, data: Path, size: Size, side_px: int, detector: HeadFinder | None) -> list[Pair]:
        """The pairs of the data, in a fixed order.

        Args:
            data: shards, puppets, a folder of media, or a media list (.csv).
            size: how many pairs, and how many frames of each; a manifest overrules it.
            side_px: of the squares that are compared.
            detector: finds heads in plain media.

        Raises:
            ValueError: the data hold no pair, or not those of the manifest.
        """
        plans = self.plans(data, size, side_px, detector)
        max_pairs, max_frames = LIMITS[size]
        if self.manifest is None:
            return [self._pair(plan, _offsets(plan, max_frames), side_px) for plan in balanced(plans, max_pairs)]
        path = Path(self.manifest)
        wanted = read_manifest(path, self, side_px)
        known = {plan.pair_id: plan for plan in plans}
        pairs = []
        for entry in wanted:
            plan = known.get(entry["id"])
            if plan is None:
                raise ValueError(
                    f"{path} names the pair {entry['id']}, which data={data} does not hold; give the data it was made "
                    "from, with the same protocol options"
                )
            if plan.sweep is None:
                first = plan.driver.start + plan.driver_at
                offsets = [frame - first for frame in entry["driver"]["frames"]]
            else:
                offsets = []
                plan = replace(plan, commanded=tuple(float(ratio) for ratio in entry["commanded"]))
            pair = self._pair(plan, offsets, side_px)
            check(path, entry, pair.facts)
            pairs.append(pair)
        return pairs

    def _pair(self, plan: Plan, offsets: Sequence[int], side_px: int) -> Pair:
        stride = offsets[1] - offsets[0] if len(offsets) > 1 else 1
        facts: Entry = entry_of(plan, offsets)
        return Pair(
            pair_id=plan.pair_id, protocol=self.name, species=plan.species, driver_species=plan.driver.species,
            num_frames=len(plan.commanded) or len(offsets), fps=plan.driver.fps, stride=stride,
            load=partial(loaded, plan, offsets, stride, side_px), facts=facts,
        )  # fmt: skip

    def is_wanted(self, species: Species) -> bool:
        """Whether sources of this species are asked for."""
        return self.species is None or species in self.species

    def in_split(self, split: str) -> bool:
        """Whether sources of this split are asked for."""
        return self.split == "all" or split in ("", self.split)

    def check_split(self, data: Path) -> None:
        """Refuse a split that shards do not have."""
        if self.split != "all" and (data / "manifest.json").exists():
            find_clips(data, split=self.split, stills=True)


def listed_plans(data: Path, side_px: int, detector: HeadFinder | None) -> list[tuple[ListedPair, Plan]]:
    """The lines of a media list that name a driver of enough frames.

    Raises:
        ValueError: a line has no driver, or one that is too short.
    """
    plans = []
    for pair in listed_pairs(data, side_px, detector):
        if pair.driver is None or pair.driver.num_frames < SHORTEST_FRAMES:
            who = "no driver" if pair.driver is None else f"a driver of {pair.driver.num_frames} frames"
            raise ValueError(
                f"{data}: the source {pair.source.key} has {who}; give a video of {SHORTEST_FRAMES} or more"
            )
        plans.append((pair, free_plan(pair.source, pair.driver)))
    return plans


def is_list(data: Path) -> bool:
    """Whether the data are a media list."""
    return data.suffix == ".csv" and data.is_file()


def _offsets(plan: Plan, max_frames: int) -> list[int]:
    return [] if plan.sweep is not None else list(every_nth(plan.count, max_frames))
