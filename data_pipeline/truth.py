"""Exact annotations beside a media file -> the same in crop pixels, for the frames of a crop."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data_pipeline.crop import invert, move_points, warp_labels
from data_pipeline.media import MASKS_SUFFIX, TRUTH_SUFFIX
from data_pipeline.records import SPECIES, CropPlan, Species

POINT_ARRAYS = ("points", "landmarks")
"""[T,*,2] in source pixels: moved into the crop."""
FRAME_ARRAYS = ("landmark_visible", "eye_open", "lip_open", "pose_deg", "motion")
"""[T,...] that do not depend on the crop."""


class TruthError(ValueError):
    """An annotation file that does not fit its media file; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What is known exactly about a file (docs/data.md lists the arrays)."""

    species: Species
    identity: str
    performance: str
    """Files with the same performance show the same motion, frame by frame; empty for stills."""
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    labels: np.ndarray | None = None
    """u8[T,H,W] label maps, when the file beside it is there."""

    def in_crop(self, plan: CropPlan) -> dict[str, np.ndarray]:
        """The arrays for the plan's frames, points in crop pixels, roll relative to the crop."""
        frames = plan.track.frames
        found = {name: self.arrays[name][frames] for name in FRAME_ARRAYS if name in self.arrays}
        inverse = [invert(t) for t in plan.source_from_crop]
        for name in POINT_ARRAYS:
            if name in self.arrays:
                moved = [move_points(t, p) for t, p in zip(inverse, self.arrays[name][frames], strict=True)]
                found[name] = np.stack(moved)
        if "pose_deg" in found:
            turned = np.degrees(np.arctan2(plan.source_from_crop[:, 1, 0], plan.source_from_crop[:, 0, 0]))
            found["pose_deg"] = found["pose_deg"].astype(np.float32)
            found["pose_deg"][:, 2] -= turned.astype(np.float32)
        if self.labels is not None:
            pairs = zip(self.labels[frames], plan.source_from_crop, strict=True)
            found["labels"] = np.stack([warp_labels(m, t, plan.side_px) for m, t in pairs])
        return found


def read_truth(path: Path) -> Truth:
    """Read `<stem>.truth.npz` and, when present, `<stem>.masks.npz`. Nothing is unpickled.

    Raises:
        TruthError: damaged, or an array or label is missing.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        masks_path = path.with_name(path.name.removesuffix(TRUTH_SUFFIX) + MASKS_SUFFIX)
        labels = None
        if masks_path.exists():
            with np.load(masks_path, allow_pickle=False) as stored:
                labels = stored["labels"]
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise TruthError(f"{path} cannot be read ({error}); make it again or remove it") from error
    try:
        species = str(arrays.pop("species"))
        if species not in SPECIES:
            raise TruthError(f"{path} names the species {species!r}; known are {', '.join(SPECIES)}")
        return Truth(
            species=species,
            identity=str(arrays.pop("identity")),
            performance=str(arrays.pop("performance", "")),
            arrays={name: value for name, value in arrays.items() if value.ndim > 0},
            labels=labels,
        )
    except KeyError as error:
        raise TruthError(f"{path} has no entry {error}; it is not an annotation file of lp-puppets") from error
