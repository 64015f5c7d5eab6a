"""Detections of single frames -> heads: each followed through a shot, also where it is hidden for a moment."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from data_pipeline.records import SPECIES, Detection, Shot, Species, Track
from data_pipeline.smoothing import steadied

_RECENT = 4
"""Sightings that tell where a head is going."""
_HORIZON_S = 1.0
"""A head goes on as it moved for about this long; then it is looked for where it would have come to."""
_SIZE_RATIO, _SIZE_RATIO_LOST = 2.5, 1.7
_SPECIES_COST, _AGE_COST, _STOPPED_COST = 0.4, 0.2, 0.3
"""In head sides: what another species, a full gap, and stopping at once are worth."""
_REFUSED = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """One animal in a shot: its tracks in order, with a gap between two where it was not seen for too long."""

    species: Species
    parts: tuple[Track, ...]

    @property
    def num_frames(self) -> int:
        """Of all parts."""
        return sum(len(part.frames) for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackLinker:
    """Links detections by predicted place, size and species (optimal assignment), votes on the species, fills gaps."""

    min_iou: float = 0.2
    """Heads move by up to (1 - min_iou) / (1 + min_iou) sides, two thirds, from where they are expected."""
    max_gap_frames: int = 12
    """Positions are interpolated over gaps up to this; half a second at 25 frames/s."""
    max_lost_s: float = 1.0
    """A head found again nearby after up to this long, with like size and species, is the same animal."""
    smooth_s: float = 0.8
    """Half width of the window that calms boxes and points of still heads; 0: off."""
    min_detections: int = 1
    """Tracks of videos with fewer sightings are noise; stills have one."""
    min_video_detections: int = 3

    def __call__(self, shot: Shot, detections: Sequence[Sequence[Detection]]) -> list[Track]:
        """Tracks of one shot, the longest first; see `heads` for which belong to the same animal."""
        tracks = [part for head in self.heads(shot, detections) for part in head.parts]
        return sorted(tracks, key=_longest_first)

    def heads(
        self,
        shot: Shot,
        detections: Sequence[Sequence[Detection]],
        times_s: np.ndarray | None = None,
        looked: Sequence[int] = (),
    ) -> list[Head]:
        """Animals of one shot, the one with the most frames first.

        Args:
            shot: the frames; detections outside it are ignored.
            detections: one list for each looked-at frame, in order of frames.
            times_s: when each native frame is shown, where the rate varies.
            looked: the looked-at frames, also those without a head: what lies beyond a look that missed a head is not
                taken for it.
        """
        lost = max(self.max_gap_frames, round(self.max_lost_s * shot.media.fps))
        open_chains: list[_Chain] = []
        closed: list[_Chain] = []
        for found in detections:
            seen = [d for d in found if shot.start <= d.frame < shot.stop]
            if not seen:
                continue
            closed += [c for c in open_chains if seen[0].frame - c.last.frame > lost]
            open_chains = [c for c in open_chains if seen[0].frame - c.last.frame <= lost]
            self._extend(open_chains, seen, lost, _HORIZON_S * shot.media.fps)
        needed = self.min_detections if shot.media.kind == "image" else self.min_video_detections
        if shot.media.kind == "video" and shot.stop - shot.start < self.min_video_detections:
            needed = 1
        heads = [self._head(shot, chain, needed, times_s, looked) for chain in closed + open_chains]
        found_heads = [head for head in heads if head.parts]
        return sorted(found_heads, key=lambda h: (-h.num_frames, *_longest_first(h.parts[0])))

    def _extend(self, chains: list["_Chain"], seen: list[Detection], lost: int, horizon: float) -> None:
        taken: set[int] = set()
        if chains:
            expected = [(chain, chain.expected(seen[0].frame, horizon), chain.side) for chain in chains]
            cost = np.array([[self._cost(*one, d, lost) for d in seen] for one in expected])
            for row, column in zip(*linear_sum_assignment(cost), strict=True):
                if cost[row, column] < _REFUSED:
                    chains[row].append(seen[column])
                    taken.add(int(column))
        chains.extend(_Chain(d) for i, d in enumerate(seen) if i not in taken)

    def _cost(self, chain: "_Chain", expected: np.ndarray, side_px: float, seen: Detection, lost: int) -> float:
        """Of a sighting as the chain's next one, in head sides; a large number where it cannot be."""
        age = seen.frame - chain.last.frame
        is_lost = age > self.max_gap_frames
        seen_px, middle = _side(seen), _middle(seen)
        side = math.sqrt(side_px * seen_px)
        onward = math.dist(expected, middle) / side
        stayed = math.dist(_middle(chain.last), middle) / side
        # A head that stopped while nobody looked is where it was.
        away = min(onward, stayed + _STOPPED_COST)
        reach = (1 - self.min_iou) / (1 + self.min_iou) * (1.5 if is_lost else 1.0)
        grown = abs(math.log(seen_px / side_px))
        other = 1 - chain.share(seen.species)
        if min(onward, stayed) > reach or grown > math.log(_SIZE_RATIO_LOST if is_lost else _SIZE_RATIO):
            return _REFUSED
        if is_lost and other * seen.score > 0.5:
            return _REFUSED
        return away + grown + _SPECIES_COST * other * seen.score + _AGE_COST * age / max(lost, 1)

    def _head(
        self, shot: Shot, chain: "_Chain", needed: int, times_s: np.ndarray | None, looked: Sequence[int]
    ) -> Head:
        """Cut the chain where it was lost; runs with too few sightings are noise."""
        seen = chain.seen
        ends = [i for i in range(1, len(seen)) if seen[i].frame - seen[i - 1].frame > self.max_gap_frames]
        runs = [seen[a:b] for a, b in zip([0, *ends], [*ends, len(seen)], strict=True)]
        kept = [run for run in runs if len(run) >= needed]
        parts = tuple(self._track(shot, run, chain.species, times_s, looked) for run in kept)
        return Head(species=chain.species, parts=parts)

    def _track(
        self, shot: Shot, run: list[Detection], species: Species, times_s: np.ndarray | None, looked: Sequence[int]
    ) -> Track:
        known = np.array([d.frame for d in run])
        frames = np.arange(known[0], known[-1] + 1, dtype=np.int64)
        if shot.media.kind == "video":
            # Looking at every n-th frame misses up to n-1 frames at both ends: hold the first and last sighting.
            step = int(np.diff(known).min()) if len(known) > 1 else 1
            before, after = bisect_left(looked, known[0]) - 1, bisect_right(looked, known[-1])
            first = max(shot.start, known[0] - step + 1, looked[before] + 1 if before >= 0 else 0)
            stop = min(shot.stop, known[-1] + step, looked[after] if after < len(looked) else shot.stop)
            frames = np.arange(first, stop, dtype=np.int64)
        at, seen_at = (frames, known) if times_s is None else (times_s[frames], times_s[known])
        reach = self.smooth_s * (shot.media.fps if times_s is None else 1.0)
        scores = np.array([d.score for d in run])
        places = np.stack([np.concatenate([d.box_xyxy.reshape(2, 2), d.points_xy]) for d in run]).astype(np.float64)
        side = float(np.median([_side(d) for d in run]))
        calm = steadied(seen_at.astype(np.float64), places.reshape(len(run), -1), reach, side, scores)
        columns = [np.interp(at, seen_at, column) for column in (*calm.T, scores)]
        filled = np.stack(columns, axis=-1).astype(np.float32)
        return Track(
            shot=shot,
            species=species,
            frames=frames,
            boxes=filled[:, :4],
            points=filled[:, 4:14].reshape(-1, 5, 2),
            scores=filled[:, 14],
        )


class _Chain:
    """Sightings of one head so far, and where it is going."""

    def __init__(self, first: Detection) -> None:
        self.seen = [first]
        self._votes: dict[Any, float] = {first.species: first.score}

    def append(self, seen: Detection) -> None:
        self.seen.append(seen)
        self._votes[seen.species] = self._votes.get(seen.species, 0.0) + seen.score

    @property
    def last(self) -> Detection:
        return self.seen[-1]

    @property
    def side(self) -> float:
        """Of the last sightings: single boxes breathe."""
        return median([_side(d) for d in self.seen[-3:]])

    @property
    def species(self) -> Species:
        """Voted on by score."""
        return max(SPECIES, key=lambda s: self._votes.get(s, 0.0))

    def share(self, species: Species) -> float:
        """Of the votes."""
        return self._votes.get(species, 0.0) / max(sum(self._votes.values()), 1e-9)

    def expected(self, frame: int, horizon: float) -> np.ndarray:
        """The middle of the head's box, if it goes on as it moved."""
        recent = self.seen[-_RECENT:]
        at = np.array([d.frame for d in recent], np.float64)
        middles = np.stack([_middle(d) for d in recent])
        offset = at - at.mean()
        spread = float((offset**2).sum())
        # Of a step between two sightings a quarter is taken for jitter, of a longer line less.
        trust = 1 - 1 / len(recent) ** 2
        speed = trust * (offset @ middles) / spread if spread > 0 else np.zeros(2)
        return middles[-1] + speed * min(frame - at[-1], max(horizon, 1.0))


def _middle(seen: Detection) -> np.ndarray:
    return (seen.box_xyxy[:2].astype(np.float64) + seen.box_xyxy[2:]) / 2


def _side(seen: Detection) -> float:
    x0, y0, x1, y1 = seen.box_xyxy.tolist()
    return math.sqrt(max((x1 - x0) * (y1 - y0), 1e-6))


def _longest_first(track: Track) -> tuple[int, float]:
    return -len(track.frames), float(track.boxes[0, 0])
