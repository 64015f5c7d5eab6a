"""An identity -> train, val or test, for ever the same."""

import hashlib
from dataclasses import dataclass

from data_pipeline.records import Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Splitter:
    """Splits by a hash of the identity (the individual, or the source file when nobody said who it is).

    Neither the order of files nor other files matter, so adding media never moves what is there.
    """

    val_frac: float = 0.05
    test_frac: float = 0.05
    salt: str = ""
    """Another salt, another split."""

    def __post_init__(self) -> None:
        if not (self.val_frac >= 0 and self.test_frac >= 0 and self.val_frac + self.test_frac < 1):
            raise ValueError(
                f"curation.splitter: val_frac {self.val_frac} and test_frac {self.test_frac} must be at least 0 and "
                "leave something for training"
            )

    def __call__(self, identity: str) -> Split:
        """The split of everything that shows this individual."""
        digest = hashlib.sha256(f"{self.salt}/{identity}".encode()).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        if place < self.test_frac:
            return "test"
        return "val" if place < self.test_frac + self.val_frac else "train"
