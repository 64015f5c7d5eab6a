"""The package's own face reader as a reader of openings: offline, for people and animals, roughly."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import UInt8

from data_pipeline.records import Species
from evaluation.metrics.reader import FaceReader
from evaluation.openings import Openings


@dataclass(frozen=True, kw_only=True)
class BuiltInOpenings:
    """Reads openings from crops framed like ours; how well: docs/face_reader.md.

    It always answers where a picture shows anything. Real animals' lips it mostly reads as shut.
    """

    species: Species = "human"
    """Whom the crops show: a driver is taken for a person."""
    reader: FaceReader = field(default_factory=FaceReader)

    def of(self, species: Species) -> "BuiltInOpenings":
        """The same for heads of another species: a source's."""
        return replace(self, species=species)

    def __call__(self, frames: Sequence[UInt8[np.ndarray, "S S 3"]]) -> list[Openings | None]:
        """RGB crops -> one reading for each; None for a picture that shows nothing."""
        if not len(frames):
            return []
        found = self.reader(np.stack(frames), self.species)
        read = np.stack((found.right_eye, found.left_eye, found.lips), axis=1).clip(min=0)
        values = torch.from_numpy(read).float()
        return [Openings(v[None, :2], v[None, 2:]) if bool(v.isfinite().all()) else None for v in values]
