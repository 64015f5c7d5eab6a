"""Stills and clips -> a set with planted copies and look-alikes, and how many of them are found.

python -m data_pipeline.planted puppets=0 media=../shared/data/media/animal,../shared/data/media/human seed=1
"""

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from data_pipeline.dedup import Fingerprint, NearDuplicates
from data_pipeline.hashes import thumbnails
from data_pipeline.media import read_frames
from data_pipeline.photo import decode_jpeg, encode_jpeg
from data_pipeline.puppets.identity import sample_identity
from data_pipeline.puppets.motion import sample_performance, sample_stills
from data_pipeline.puppets.render import render
from data_pipeline.records import SPECIES
from data_pipeline.video import read_member
from data_pipeline.video_writer import encode_clip

SIDE_PX = 192
_INDISTINCT = 5.0
Frames = UInt8[np.ndarray, "T S S 3"]
Copy = UInt8[np.ndarray, "N P P 3"]
Change = Callable[[Frames, np.random.Generator], Copy]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """One sample of the set."""

    fingerprint: Fingerprint
    origin: str
    """Samples of one origin show the same; all others do not."""
    variant: str
    """What was done to the original; "original" for itself."""


def _every(per_frame: Callable[[np.ndarray], np.ndarray], frames: Frames) -> Copy:
    return np.stack([per_frame(frame) for frame in frames])


def _resized(frames: Frames, rng: np.random.Generator) -> Copy:
    side = int(rng.integers(72, 112))
    return _every(lambda f: cv2.resize(f, (side, side), interpolation=cv2.INTER_AREA), frames)


def _cropped(frames: Frames, rng: np.random.Generator) -> Copy:
    side = frames.shape[1]
    part = round(side * (1 - rng.uniform(0.05, 0.15)))
    left, top = rng.integers(0, side - part + 1, 2)
    return np.ascontiguousarray(frames[:, top : top + part, left : left + part])


def _shifted(frames: Frames, rng: np.random.Generator) -> Copy:
    gain = rng.uniform(0.75, 1.2) * rng.uniform(0.9, 1.1, 3)
    gamma, lift = rng.uniform(0.85, 1.18), rng.uniform(-20, 20)
    value = 255 * (np.arange(256)[:, None] / 255) ** gamma * gain + lift
    table = np.clip(value, 0, 255).astype(np.uint8)
    return np.stack([table[frames[..., c], c] for c in range(3)], axis=-1)


def _mirrored(frames: Frames, rng: np.random.Generator) -> Copy:
    del rng
    return np.ascontiguousarray(frames[:, :, ::-1])


def _encoded(frames: Frames, rng: np.random.Generator) -> Copy:
    if len(frames) == 1:
        return decode_jpeg(encode_jpeg(frames[0], int(rng.integers(20, 50))))[None]
    return read_member(encode_clip(frames, 25.0, crf=int(rng.integers(30, 38)), gop=250))


def _at_rate(frames: Frames, rate: float) -> Copy:
    at = np.arange(0, len(frames) - 1, rate).round().astype(int)
    return frames[at]


def _trimmed(frames: Frames, rng: np.random.Generator) -> Copy:
    length = int(len(frames) * rng.uniform(0.4, 0.8))
    start = int(rng.integers(0, len(frames) - length + 1))
    return frames[start : start + length]


STILL_CHANGES: dict[str, Change] = {
    "re-encoded": _encoded,
    "resized": _resized,
    "cropped": _cropped,
    "mirrored": _mirrored,
    "colour shifted": _shifted,
    "cropped, mirrored, re-encoded": lambda f, r: _encoded(_mirrored(_cropped(f, r), r), r),
}
CLIP_CHANGES: dict[str, Change] = {
    **STILL_CHANGES,
    "trimmed": _trimmed,
    "2x faster": lambda f, r: _encoded(_at_rate(f, 2.0), r),
    "slower": lambda f, r: _encoded(_at_rate(f, float(r.uniform(0.5, 0.7))), r),
    "other fps": lambda f, r: _encoded(_at_rate(f, 25 / float(r.choice([15, 20, 30, 50]))), r),
    "trimmed, cropped, colour shifted": lambda f, r: _shifted(_cropped(_trimmed(f, r), r), r),
}


def puppet_originals(identities: int, seed: int = 0) -> Iterator[tuple[str, Frames]]:
    """Hard to tell apart: per species, everyone performs the same motion, and everyone performs two motions.

    Each identity gives two clips of 48 frames and three stills: one pose that all share and two of its own.
    """
    motions = [sample_performance(seed, 48, 25.0, "normal", name=f"planted-{n}") for n in range(2)]
    pose = sample_stills(seed, 1, "normal", name="planted-pose")[0]
    for species in SPECIES:
        for index in range(identities):
            who = sample_identity(species, index, seed)
            for n, motion in enumerate(motions):
                yield f"{who.name}-clip{n}", np.stack([render(who, code, SIDE_PX).image for code in motion])
            own = sample_stills(seed, 2, "normal", name=f"planted-{who.name}")
            for n, code in enumerate([pose, *own]):
                yield f"{who.name}-still{n}", render(who, code, SIDE_PX).image[None]


def media_originals(folder: Path, clip_frames: int = 60) -> Iterator[tuple[str, Frames]]:
    """Photos and clips of a folder: of each video up to three moments as clips, and a still of each moment's middle.

    Moments lie half a moment apart, so that the animal had time to move; all of them count as different.
    """
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        frames = np.stack([_square(frame) for frame in read_frames(path, 0, 5 * clip_frames)])
        if len(frames) == 1:
            yield path.name, frames
            continue
        for n, start in enumerate(range(0, min(len(frames) - clip_frames // 2, 3 * clip_frames), clip_frames * 3 // 2)):
            moment = frames[start : start + clip_frames]
            yield f"{path.name}-clip{n}", moment
            yield f"{path.name}-still{n}", moment[len(moment) // 2][None]


def _square(frame: np.ndarray) -> np.ndarray:
    side = min(frame.shape[:2])
    top, left = (frame.shape[0] - side) // 2, (frame.shape[1] - side) // 2
    part = frame[top : top + side, left : left + side]
    return cv2.resize(part, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)


def plant(originals: Iterator[tuple[str, Frames]], seed: int = 0, every: int = 1) -> list[Planted]:
    """Originals with one copy of each variant; of each 4 * every neighbours (look-alikes) the first four."""
    planted = []
    for number, (origin, frames) in enumerate(originals):
        if number % (4 * every) > 3:
            continue
        rng = np.random.default_rng([seed, *origin.encode()])
        changes = STILL_CHANGES if len(frames) == 1 else CLIP_CHANGES
        made = [("original", frames), *((name, change(frames, rng)) for name, change in changes.items())]
        for n, (variant, copy) in enumerate(made):
            key = f"{origin}/{n:02d}"
            mark = Fingerprint(key=key, source_id=key, thumbs=thumbnails(copy), rank=float(copy.shape[1] - n))
            planted.append(Planted(fingerprint=mark, origin=origin, variant=variant))
    return planted


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How well copies were found, for stills or for clips."""

    recall_of: dict[str, float]
    """Variant -> share of originals that were paired with it."""
    recall: float
    precision: float
    """Share of all pairs found that are of one origin; those left unclear are not counted."""
    strict_precision: float
    """The same with the unclear ones counted as wrong."""
    wrong: list[tuple[str, str]]
    """Pairs that are not."""
    unclear: int
    """Pairs that are not, but whose originals nobody could tell apart: counted as neither right nor wrong."""
    samples: int
    seconds: float


def measure(planted: Sequence[Planted], find: NearDuplicates, *, clips: bool, workers: int = 1) -> Found:
    """Search the stills (or the clips) and compare with what was planted; pairs are counted before clustering."""
    some = [p for p in planted if (len(p.fingerprint.thumbs) > 1) == clips]
    by_key = {p.fingerprint.key: p for p in some}
    started = time.perf_counter()
    matches = find.matches([p.fingerprint for p in some], workers)
    seconds = time.perf_counter() - started
    right: dict[str, set[str]] = defaultdict(set)
    wrong: list[tuple[str, str]] = []
    unclear = 0
    original = {p.origin: p.fingerprint.thumbs for p in some if p.variant == "original"}
    for match in matches:
        a, b = by_key[match.a], by_key[match.b]
        if a.origin != b.origin and _indistinct(original[a.origin], original[b.origin]):
            unclear += 1
        elif a.origin != b.origin:
            wrong.append((match.a, match.b))
        for one, other in ((a, b), (b, a)):
            if one.origin == other.origin and one.variant == "original":
                right[other.variant].add(one.origin)
    origins = len({p.origin for p in some})
    names = [p.variant for p in some if p.origin == some[0].origin and p.variant != "original"]
    recall_of = {name: len(right[name]) / origins for name in names}
    return Found(
        recall_of=recall_of,
        recall=sum(recall_of.values()) / len(recall_of),
        precision=1 - len(wrong) / max(1, len(matches) - unclear),
        strict_precision=1 - (len(wrong) + unclear) / max(1, len(matches)),
        wrong=wrong,
        unclear=unclear,
        samples=len(some),
        seconds=seconds,
    )


def _indistinct(a: UInt8[np.ndarray, "N P P"], b: UInt8[np.ndarray, "M P P"]) -> bool:
    """Two stills of an animal that did not move: 64-px pictures within 5 of 255 grey levels, as they lie."""
    return len(a) == len(b) == 1 and float(np.abs(a.astype(np.float32) - b.astype(np.float32)).mean()) < _INDISTINCT


def table(stills: Found, clips: Found) -> str:
    """A Markdown table of both."""
    lines = ["| variant | stills | clips |", "|---|---|---|"]
    for name in clips.recall_of:
        still = stills.recall_of.get(name)
        lines.append(f"| {name} | {'' if still is None else f'{still:.3f}'} | {clips.recall_of[name]:.3f} |")
    lines.append(f"| all (recall) | {stills.recall:.3f} | {clips.recall:.3f} |")
    lines.append(f"| precision | {stills.precision:.4f} | {clips.precision:.4f} |")
    lines.append(f"| precision, all counted | {stills.strict_precision:.4f} | {clips.strict_precision:.4f} |")
    lines.append(f"| pairs left uncounted | {stills.unclear} | {clips.unclear} |")
    lines.append(f"| samples | {stills.samples} | {clips.samples} |")
    rates = [1000 * found.seconds / found.samples for found in (stills, clips)]
    lines.append(f"| seconds per 1000 | {rates[0]:.1f} | {rates[1]:.1f} |")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Print the table for `puppets=N` identities per species and the files below `media=FOLDER,FOLDER`.

    `every=N` takes four of each 4 * N originals; `workers=N` processes search. Files of these folders must differ.
    """
    options: dict[str, str] = {}
    for argument in arguments:
        name, _, value = argument.partition("=")
        options[name] = value
    known = ("puppets", "media", "seed", "every", "workers")
    if unknown := set(options) - set(known):
        raise ValueError(f"planted: unknown option {sorted(unknown)[0]!r}; choose from {', '.join(known)}")
    every, seed, workers = (
        int(options.get(name, default)) for name, default in (("every", 1), ("seed", 0), ("workers", 1))
    )
    planted = plant(puppet_originals(int(options.get("puppets", 8)), seed), seed, every)
    for folder in filter(None, options.get("media", "").split(",")):
        planted += plant(media_originals(Path(folder)), seed, every)
    if not planted:
        raise ValueError("planted: nothing to plant copies of; give puppets=N or media=FOLDER")
    find = NearDuplicates()
    stills, clips = (measure(planted, find, clips=wanted, workers=workers) for wanted in (False, True))
    sys.stdout.write(table(stills, clips) + "\n")
    confused = Counter(f"{by_origin(a)} = {by_origin(b)}" for a, b in [*stills.wrong, *clips.wrong])
    for pair, count in confused.most_common(20):
        sys.stdout.write(f"wrong {count} times: {pair}\n")


def by_origin(key: str) -> str:
    """Key of a planted sample -> the original it was made from."""
    return key.rpartition("/")[0]


if __name__ == "__main__":
    main(sys.argv[1:])
