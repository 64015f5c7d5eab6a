"""An index, a mixture and a rank -> what every row is made of: the clip, and who drives it.

A plan reads nothing and remembers nothing: row n is a function of the seed, the rank and n.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from data_pipeline.records import SPECIES
from finetune.deck import Deck
from finetune.mixture import Kind, Mixture
from finetune.partners import Partners
from finetune.schedule import Schedule, Turns
from finetune.shard_index import ClipCard


class Group(NamedTuple):
    """Clips that rows are drawn from alike; Kind's fields, and whether cross rows are possible."""

    is_video: bool
    species: int
    has_truth: bool
    is_crossable: bool


class Draw(NamedTuple):
    """What a row is made of: numbers of clips."""

    clip: int
    partner: int | None
    """Who drives, in a cross row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How much may be in memory; `None` bytes: everything."""

    window_bytes: float | None = None
    visits: int = 8
    """How often a clip is drawn before it leaves the memory."""


class Plan:
    """Row numbers -> draws.

    Raises:
        ValueError: none of the clips belongs to a species with a share above 0.
    """

    def __init__(
        self, cards: Sequence[ClipCard], mixture: Mixture, room: Room, *, seed: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        self.cards, self.mixture, self.room, self.seed = cards, mixture, room, seed
        self.rank, self.world = rank, world
        exact = [n for n, card in enumerate(cards) if card.has_truth and card.is_video]
        self.partners = Partners(cards, exact, mixture.drivers)
        kinds: dict[Kind, list[int]] = {}
        for number, card in enumerate(cards):
            if mixture.species.get(SPECIES[card.species], 0.0) > 0:
                kinds.setdefault(Kind(card.is_video, card.species, card.has_truth), []).append(number)
        if not kinds:
            present = sorted({SPECIES[card.species] for card in cards})
            raise ValueError(f"the shards hold {', '.join(present)} only, data.mixture.species gives those no share")
        self.kinds = kinds
        self.shares = {kind: share for kind, share in mixture.shares(set(kinds)).items() if share > 0}
        self.members: dict[Group, list[int]] = {}
        self._turns: dict[Group, Turns] = {}
        group_shares: dict[Group, float] = {}
        for kind, share in self.shares.items():
            group_shares |= self._part(kind, share)
        self.schedule = Schedule(group_shares, rank, world)
        self._codes = {group: code for code, group in enumerate(sorted(self.members))}
        self._decks = self._deal()

    def _part(self, kind: Kind, share: float) -> dict[Group, float]:
        """Tell clips that allow cross rows from those that do not.

        Every clip of the kind has the same weight as long as the cross share allows it: with few that allow cross rows,
        their rows are all cross rows, and they are drawn more often than the others.
        """
        numbers = self.kinds[kind]
        puppet = kind.has_truth and kind.is_video
        wanted = self.mixture.cross_frac if puppet else 0.0
        crossable = {n for n in numbers if self.partners.has(n)} if wanted else set()
        crossable_share = max(len(crossable) / len(numbers), wanted) if crossable else 0.0
        shares: dict[Group, float] = {}
        for is_crossable, part in ((False, 1 - crossable_share), (True, crossable_share)):
            members = [n for n in numbers if (n in crossable) == is_crossable]
            if members and part > 0:
                group = Group(*kind, is_crossable)
                self.members[group], shares[group] = members, share * part
                frac = wanted / crossable_share if is_crossable else 0.0
                self._turns[group] = Turns.of(frac, self.rank, self.world)
        return shares

    def _deal(self) -> dict[Group, Deck]:
        need = sum(
            self.cards[n].kept_bytes * (2 if group.is_crossable else 1)
            for group, numbers in self.members.items()
            for n in numbers
        )
        window = self.room.window_bytes
        decks = {}
        for group, numbers in self.members.items():
            shards: dict[int, list[int]] = {}
            for n in numbers:
                shards.setdefault(self.cards[n].shard, []).append(n)
            decks[group] = Deck(
                shards=list(shards.values()), seed=(self.seed, self._codes[group]), rank=self.rank, world=self.world,
                room_frac=1.0 if window is None else window * self.world / max(1, need),
                visits=1 if window is None else self.room.visits,
            )  # fmt: skip
        return decks

    def draw(self, row: int) -> Draw:
        """What the rank's n-th row is made of."""
        group, inside = self.schedule.locate(row)
        number, place = self._decks[group].at(inside)
        if not self._turns[group].has(inside):
            return Draw(number, None)
        # In memory any partner will do; what must be read first stays the same for as long as the clip stays.
        moment = (0, row) if self.room.window_bytes is None else (1, place)
        rng = np.random.default_rng((self.seed, self.rank, self._codes[group], *moment))
        return Draw(number, self.partners.choose(number, rng))

    @property
    def window_clips(self) -> int:
        """Clips that are drawn from at a time."""
        return sum(deck.window.clips for deck in self._decks.values())

    def describe(self) -> str:
        """One line: what is there to draw from, and what differs from what was asked for."""
        parts = []
        for truth, name in ((True, "puppet"), (False, "real")):
            for video, kind in ((True, "clips"), (False, "stills")):
                counts = {
                    SPECIES[k.species]: len(v) for k, v in sorted(self.kinds.items())
                    if (k.has_truth, k.is_video) == (truth, video)
                }  # fmt: skip
                if counts:
                    parts.append(f"{name} {kind}: " + ", ".join(f"{n} {s}" for s, n in counts.items()))
        parts.append(f"performances with several identities: {self.partners.num_shared}")
        parts += self.mixture.differences(self.shares)
        for kind in self.shares:
            if self.mixture.cross_frac and kind.has_truth and kind.is_video:
                count = len(self.members.get(Group(*kind, True), ()))
                if count < len(self.kinds[kind]):
                    who = f"{count} of {len(self.kinds[kind])}" if count else "none"
                    parts.append(f"{who} of the {SPECIES[kind.species]} puppet clips can be driven by another")
        if few := [group for group, numbers in self.members.items() if len(numbers) < self.world]:
            shared = sorted({f"{SPECIES[g.species]} {'clips' if g.is_video else 'stills'}" for g in few})
            parts.append(f"fewer {', '.join(shared)} than processes, which share them")
        if self.room.window_bytes is not None:
            parts.append(
                f"streamed: {self.window_clips} of {len(self.cards)} clips at a time, {self.room.visits} draws each"
            )
        return "; ".join(parts)
