"""Videos with known cuts and the cuts that somebody found -> recall by kind, precision."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_pipeline.adapters.folder import MediaFile
from data_pipeline.adapters.known import Look
from data_pipeline.clock import read_clock
from data_pipeline.detect import Frame
from data_pipeline.first_pass import look_through
from data_pipeline.media import probe
from data_pipeline.planted_cuts import CutVideo
from data_pipeline.records import Detection
from data_pipeline.shots import ShotSplitter

TOLERANCE_FRAMES = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CutScore:
    """How well cuts were found."""

    recall_of: dict[str, float]
    """Kind -> share of its cuts that were found."""
    recall: float
    precision: float
    """Share of what was found that is a cut; what lies in a dissolve counts neither way."""
    cuts: int
    wrong: int

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        both = self.recall + self.precision
        return 2 * self.recall * self.precision / both if both else 0.0


def score(videos: Sequence[CutVideo], found: Mapping[Path, Sequence[int]]) -> CutScore:
    """Compare; each cut is found once, by the nearest frame within the tolerance."""
    planted: Counter[str] = Counter()
    right: Counter[str] = Counter()
    wrong = 0
    for video in videos:
        planted.update(video.cuts.values())
        left = sorted(found[video.path])
        for cut, kind in video.cuts.items():
            near = min(left, key=lambda frame, cut=cut: abs(frame - cut), default=None)
            if near is not None and abs(near - cut) <= TOLERANCE_FRAMES:
                right[kind] += 1
                left.remove(near)
        wrong += sum(not any(start <= frame <= stop for start, stop in video.dissolves) for frame in left)
    hits = right.total()
    return CutScore(
        recall_of={kind: right[kind] / count for kind, count in sorted(planted.items())},
        recall=hits / planted.total(),
        precision=hits / (hits + wrong) if hits + wrong else 1.0,
        cuts=planted.total(),
        wrong=wrong,
    )


def our_cuts(path: Path, splitter: ShotSplitter) -> list[int]:
    """First frames of new shots, as curation splits: decoding and small pictures included, the detector left out."""
    media = probe(path)
    look = Look(file=MediaFile(path=path), media=media, every=4, use_known=False, clock=read_clock(media))
    return splitter.cuts(look_through(look, _no_heads, batch_size=8, buffer_bytes=0).pictures)


def _no_heads(frames: list[Frame], first_frame: int = 0) -> list[list[Detection]]:
    del first_frame
    return [[] for _ in frames]


def cuts_of_clips(lengths: Sequence[int]) -> list[int]:
    """First frames of all clips but the first, of a video that was cut into clips of these lengths."""
    return [int(n) for n in np.cumsum(lengths)[:-1]]
