"""Stills and clips -> files with planted copies, so that any program can be asked which are alike."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, combinations
from pathlib import Path

import numpy as np

from data_pipeline import planted
from data_pipeline.dedup import Fingerprint, Match, NearDuplicates
from data_pipeline.hashes import thumbnails
from data_pipeline.media import read_frames
from data_pipeline.photo import encode_png
from data_pipeline.planted import Planted, media_originals, puppet_originals
from data_pipeline.video_writer import write_video
from data_pipeline.whole_file import whole_binary

_CRF = 10
"""Of the clips' files: what is planted is to differ, not what this step loses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyFile:
    """A file and what it shows."""

    path: Path
    origin: str
    variant: str
    is_clip: bool


def write_copies(folder: Path, puppets: int, media: Path | None, seed: int = 0, every: int = 1) -> list[CopyFile]:
    """Write originals and one copy of each variant, as `data_pipeline.planted` makes them; stills as PNG.

    Args:
        folder: where to; it may exist.
        puppets: identities of each species.
        media: a folder of real files besides; None: only puppets.
        seed: of all choices.
        every: of each 4 * every neighbours the first four are taken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    originals = chain(puppet_originals(puppets, seed), media_originals(media) if media else ())
    made = []
    for number, (origin, frames) in enumerate(originals):
        if number % (4 * every) > 3:
            continue
        rng = np.random.default_rng([seed, *origin.encode()])
        is_clip = len(frames) > 1
        changes = planted.CLIP_CHANGES if is_clip else planted.STILL_CHANGES
        for n, variant in enumerate(["original", *changes]):
            copy = frames if variant == "original" else changes[variant](frames, rng)
            path = folder / f"{number:04d}-{n:02d}.{'mp4' if is_clip else 'png'}"
            if is_clip:
                write_video(path, copy, Fraction(25), crf=_CRF)
            else:
                with whole_binary(path) as file:
                    file.write(encode_png(copy[0]))
            made.append(CopyFile(path=path, origin=origin, variant=variant, is_clip=is_clip))
    return made


def fingerprints(files: Sequence[CopyFile]) -> list[Planted]:
    """Decode every file and take the fingerprint that curation takes of a crop."""
    found = []
    for number, file in enumerate(files):
        frames = np.stack(list(read_frames(file.path)))
        key = file.path.name
        rank = float(frames.shape[1] - number % 16)
        mark = Fingerprint(key=key, source_id=key, thumbs=thumbnails(frames), rank=rank)
        found.append(Planted(fingerprint=mark, origin=file.origin, variant=file.variant))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenPairs(NearDuplicates):
    """Pairs that another program found, in the place of ours, so that both are scored by the same code."""

    pairs: frozenset[tuple[str, str]]

    def matches(
        self, prints: Sequence[Fingerprint], workers: int = 1, among: Collection[str] | None = None
    ) -> list[Match]:
        """Those of the pairs whose samples are both asked about."""
        del workers
        keys = {p.key for p in prints}
        wanted = (pair for pair in sorted(self.pairs) if keys.issuperset(pair))
        return [Match(a, b, True) for a, b in wanted if among is None or a in among or b in among]


def pairs_of(hashes: Mapping[Path, str]) -> frozenset[tuple[str, str]]:
    """All pairs of files with one hash, by name; files without a hash are no copies."""
    same: dict[str, list[str]] = defaultdict(list)
    for path, found in hashes.items():
        if found:
            same[found].append(path.name)
    return frozenset(_pairs(same))


def _pairs(same: Mapping[str, list[str]]) -> Iterator[tuple[str, str]]:
    for names in same.values():
        yield from combinations(sorted(names), 2)
