"""The clips of one group -> which of them serves a rank's n-th row: each equally often, a rolling window at a time.

Every epoch has its own order: shards shuffled, then the samples of each. A rank gets a run of that order, equal in
length to the others' within one clip, so it reads whole shards but for the two at the ends. Rounds of rows follow each
other; a round draws each clip of the window once, in an order of its own. After a round the oldest clips leave and as
many new ones come. Everything is a function of the numbers given: only what saves time is remembered.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int64


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How many clips are drawn from at a time."""

    clips: int
    visits: int
    """Rounds that a clip stays for: how often it is drawn before it leaves."""

    @property
    def step(self) -> int:
        """Clips that come and go after a round."""
        return self.clips // self.visits


@dataclass(kw_only=True, eq=False)
class Deck:
    """Clips in the order in which rows draw them."""

    shards: Sequence[Sequence[int]]
    """Numbers of the group's clips, shard by shard."""
    seed: tuple[int, ...]
    rank: int = 0
    world: int = 1
    room_frac: float = 1.0
    """Share of the rank's clips that may be in memory at a time; 1: all."""
    visits: int = 8
    window: Window = field(init=False)
    _orders: dict[int, Int64[np.ndarray, " N"]] = field(default_factory=dict, init=False)
    _rounds: dict[int, Int64[np.ndarray, " M"]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        total = sum(map(len, self.shards))
        first = self.rank * total // self.world
        # With fewer clips than ranks some ranks share one: none is without.
        self._slice = slice(first, max((self.rank + 1) * total // self.world, first + 1))
        self.num_clips = self._slice.stop - self._slice.start
        if self.room_frac >= 1 and self.world == 1:
            self.window = Window(clips=self.num_clips, visits=1)
            return
        room = max(1, int(min(1.0, self.room_frac) * self.num_clips))
        visits = min(self.visits, room)
        self.window = Window(clips=room // visits * visits, visits=visits)

    def at(self, row: int) -> tuple[int, int]:
        """A row of the group -> the clip's number, and which of all visits to clips this is (epochs count on)."""
        number, inside = self._round(row)
        window = self.window
        stop = (number + 1) * window.step
        first = max(0, stop - window.clips)
        place = first + int(self._shuffled(number, stop - first)[inside])
        epoch, position = divmod(place, self.num_clips)
        return int(self._order(epoch)[position]), place

    def _round(self, row: int) -> tuple[int, int]:
        """Round, and position in it. The window fills during the first rounds, which are shorter."""
        window, number = self.window, 0
        while number < window.visits - 1:
            length = (number + 1) * window.step
            if row < length:
                return number, row
            number, row = number + 1, row - length
        more, inside = divmod(row, window.clips)
        return number + more, inside

    def _shuffled(self, number: int, length: int) -> Int64[np.ndarray, " M"]:
        if number not in self._rounds:
            rng = np.random.default_rng((*self.seed, self.rank, 1, number))
            self._rounds = {n: v for n, v in self._rounds.items() if abs(n - number) <= 1}
            self._rounds[number] = rng.permutation(length)
        return self._rounds[number]

    def _order(self, epoch: int) -> Int64[np.ndarray, " N"]:
        if epoch not in self._orders:
            rng = np.random.default_rng((*self.seed, 0, 0, epoch))
            order = [rng.permutation(np.array(self.shards[i])) for i in rng.permutation(len(self.shards))]
            self._orders = {n: v for n, v in self._orders.items() if abs(n - epoch) <= 1}
            self._orders[epoch] = np.concatenate(order)[self._slice]
        return self._orders[epoch]
