"""What belongs together -> train, val or test, the same however often it is asked."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from data_pipeline.clusters import UnionFind
from data_pipeline.records import Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Relations:
    """What ties a sample to others."""

    key: str
    identity: str
    source_id: str
    cluster: str
    """Of near-duplicates; the sample's own key when it has none."""
    performance: str = ""
    """Empty: it shares its motion with nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Splitter:
    """Splits by a hash of the smallest identity of everything that must stay together.

    An identity is the individual, or the source file when nobody said who it is. Neither the order of files nor
    unrelated files matter. Added media moves what is there in one case only: it ties two groups together, or brings a
    smaller identity into a group; then that group may move, as a whole. Removing such media can undo it.
    """

    val_frac: float = 0.05
    test_frac: float = 0.05
    salt: str = ""
    """Another salt, another split."""
    performances_together: bool = False
    """Keep samples of the same performance (puppets) in one split, too."""

    def __post_init__(self) -> None:
        if not (self.val_frac >= 0 and self.test_frac >= 0 and self.val_frac + self.test_frac < 1):
            raise ValueError(
                f"curation.splitter: val_frac {self.val_frac} and test_frac {self.test_frac} must be at least 0 and "
                "leave something for training"
            )

    def __call__(self, identity: str) -> Split:
        """The split of a group, by its smallest identity."""
        digest = hashlib.sha256(f"{self.salt}/{identity}".encode()).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        if place < self.test_frac:
            return "test"
        return "val" if place < self.test_frac + self.val_frac else "train"

    def assign(self, samples: Sequence[Relations]) -> dict[str, Split]:
        """Key -> split; samples of one identity, source file or duplicate cluster never part."""
        union = UnionFind()
        for sample in samples:
            for tie in self._ties(sample):
                union.join(("key", sample.key), tie)
        smallest: dict[object, str] = {}
        for sample in samples:
            group = union.root(("key", sample.key))
            smallest[group] = min(smallest.get(group, sample.identity), sample.identity)
        return {sample.key: self(smallest[union.root(("key", sample.key))]) for sample in samples}

    def _ties(self, sample: Relations) -> Iterable[tuple[str, str]]:
        yield "identity", sample.identity
        yield "source", sample.source_id
        yield "cluster", sample.cluster
        if self.performances_together and sample.performance:
            yield "performance", sample.performance
