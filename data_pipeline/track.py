"""Detections of single frames -> tracks: one head followed through a shot."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from data_pipeline.detect import box_iou
from data_pipeline.records import SPECIES, Detection, Shot, Track


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackLinker:
    """Links detections by overlap (optimal assignment), votes on the species, fills short gaps."""

    min_iou: float = 0.2
    """Heads move by up to half their side between looked-at frames."""
    max_gap_frames: int = 12
    """A head that is not seen for longer starts a new track; half a second at 25 frames/s."""
    min_detections: int = 1
    """Tracks of videos with fewer sightings are noise; stills have one."""
    min_video_detections: int = 3

    def __call__(self, shot: Shot, detections: Sequence[Sequence[Detection]]) -> list[Track]:
        """Tracks of one shot, the longest first.

        Args:
            shot: the frames; detections outside it are ignored.
            detections: one list for each looked-at frame, in order of frames.
        """
        open_chains: list[list[Detection]] = []
        closed: list[list[Detection]] = []
        for found in detections:
            seen = [d for d in found if shot.start <= d.frame < shot.stop]
            if not seen:
                continue
            ages = [seen[0].frame - chain[-1].frame for chain in open_chains]
            closed += [c for c, age in zip(open_chains, ages, strict=True) if age > self.max_gap_frames]
            open_chains = [c for c, age in zip(open_chains, ages, strict=True) if age <= self.max_gap_frames]
            self._extend(open_chains, seen)
        needed = self.min_detections if shot.media.kind == "image" else self.min_video_detections
        if shot.media.kind == "video" and shot.stop - shot.start < self.min_video_detections:
            needed = 1
        chains = [c for c in closed + open_chains if len(c) >= needed]
        tracks = [self._track(shot, chain) for chain in chains]
        return sorted(tracks, key=lambda t: (-len(t.frames), float(t.boxes[0, 0])))

    def _extend(self, chains: list[list[Detection]], seen: list[Detection]) -> None:
        taken: set[int] = set()
        if chains:
            last = np.stack([c[-1].box_xyxy for c in chains])
            iou = box_iou(last, np.stack([d.box_xyxy for d in seen]))
            for row, column in zip(*linear_sum_assignment(-iou), strict=True):
                if iou[row, column] >= self.min_iou:
                    chains[row].append(seen[column])
                    taken.add(int(column))
        chains.extend([d] for i, d in enumerate(seen) if i not in taken)

    def _track(self, shot: Shot, chain: list[Detection]) -> Track:
        known = np.array([d.frame for d in chain])
        frames = np.arange(known[0], known[-1] + 1, dtype=np.int64)
        if shot.media.kind == "video":
            # Looking at every n-th frame misses up to n-1 frames at both ends: hold the first and last sighting.
            step = int(np.median(np.diff(known))) if len(known) > 1 else 1
            frames = np.arange(max(shot.start, known[0] - step + 1), min(shot.stop, known[-1] + step), dtype=np.int64)

        def fill(values: np.ndarray) -> np.ndarray:
            flat = values.reshape(len(chain), -1)
            columns = [np.interp(frames, known, column) for column in flat.T]
            return np.stack(columns, axis=-1).reshape(len(frames), *values.shape[1:]).astype(np.float32)

        return Track(
            shot=shot,
            species=max(SPECIES, key=lambda s: sum(d.score for d in chain if d.species == s)),
            frames=frames,
            boxes=fill(np.stack([d.box_xyxy for d in chain])),
            points=fill(np.stack([d.points_xy for d in chain])),
            scores=fill(np.array([d.score for d in chain], np.float32)),
        )
