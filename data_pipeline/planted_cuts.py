"""Clips of one take each -> videos with known cuts and with look-alikes of cuts, and how many cuts are found.

python -m data_pipeline.planted_cuts media=../shared/data seed=1
"""

import csv
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache, partial
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from data_pipeline.cut_lookalikes import LOOK_ALIKES, Frames
from data_pipeline.media import probe, read_frames
from data_pipeline.shots import ShotSplitter, thumbnail
from data_pipeline.video import read_timestamps

SIZES = ((256, 256), (180, 320), (320, 180))
RATES = ((Fraction(24), 1), (Fraction(25), 1), (Fraction(30000, 1001), 1), (Fraction(15), 2), (Fraction(10), 3))
"""Frame rates, and which share of a take's frames (each n-th) they show."""
CUT_KINDS = ("other scene", "dark", "alike scene", "low contrast", "one scene, later", "short shot")
_SHOTS = 6
_VISIBLE = 6.0
"""A cut to a later moment must change the mean of 64-px pictures by this many of 255 levels; else nothing shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """A file that was filmed without a cut."""

    path: Path
    source: str
    """What it was taken from: takes of one source are in one half and count as one scene."""
    num_frames: int
    thumb: UInt8[np.ndarray, "32 32 3"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CutVideo:
    """A made video and what is true of it; frame numbers count from 0."""

    path: Path
    num_frames: int
    cuts: dict[int, str]
    """First frame of each shot after a hard cut -> kind."""
    dissolves: tuple[tuple[int, int], ...]
    """Frames [start, stop) that show two shots."""
    others: tuple[tuple[int, int, str], ...]
    """Frames [start, stop) of a shot, and what happens in it that is no cut."""


def takes(folders: Sequence[Path], half: str, skip: Sequence[str] = ()) -> list[Take]:
    """The videos below the folders whose manifest knows no cut, of one half of the sources: "tune" or "test"."""
    found = []
    for folder in folders:
        listed = _listed(folder)
        for path in sorted(folder.rglob("*.mp4")):
            source, cuts = listed.get(path, (re.sub(r"_\d+$", "", path.stem), "0"))
            is_test = sha256(source.encode()).digest()[0] % 2 == 1
            unfit = cuts not in ("", "0") or "broken" in path.parts or any(path.name.startswith(s) for s in skip)
            if unfit or is_test != (half == "test") or (item := probe(path)).num_frames < 40:
                continue
            thumb = thumbnail(next(read_frames(path, 2)))
            found.append(Take(path=path, source=source, num_frames=item.num_frames, thumb=thumb))
    if len({take.source for take in found}) < 3:
        raise ValueError(f"planted_cuts: media={','.join(map(str, folders))} has too few takes; give a larger folder")
    return found


def _listed(folder: Path) -> dict[Path, tuple[str, str]]:
    """Path -> source file and number of cuts, as the manifests below a folder tell them."""
    known = {}
    for manifest in (p for p in folder.rglob("*.csv") if p.name.lower() == "manifest.csv"):
        with manifest.open(newline="", encoding="utf-8") as handle:
            for row in csv.DictReader(handle):
                source = f"{row['source_repo']}:{row['source_path']}" if "source_repo" in row else row.get("source", "")
                known[manifest.parent / row["path"]] = (re.sub(r"@[0-9a-f]+", "", source), row.get("cuts", "0"))
    return known


@lru_cache(maxsize=24)
def _whole(path: Path, height: int, width: int) -> Frames:
    frames = []
    for frame in read_frames(path, 2, 302):
        scale = max(height / frame.shape[0], width / frame.shape[1])
        size = (max(width, round(frame.shape[1] * scale)), max(height, round(frame.shape[0] * scale)))
        big = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        top, left = (big.shape[0] - height) // 2, (big.shape[1] - width) // 2
        frames.append(big[top : top + height, left : left + width])
    return np.stack(frames)


def make(stock: Sequence[Take], folder: Path, videos: int, seed: int) -> Iterator[CutVideo]:
    """Write videos of six shots each; kinds of cuts, look-alikes, sizes and rates take turns."""
    for number in range(videos):
        rng = np.random.default_rng([seed, number])
        height, width = SIZES[number % len(SIZES)]
        rate, step = RATES[number % len(RATES)]
        parts, kinds, others = [], [], []
        take = stock[int(rng.integers(len(stock)))]
        frames = _whole(take.path, height, width)[::step]
        at = int(rng.integers(0, max(1, len(frames) - 60)))
        for shot in range(_SHOTS):
            kind = CUT_KINDS[(number + shot) % len(CUT_KINDS)]
            if shot:
                take, frames, at, kind = _next(stock, take, frames, at, kind, (height, width, step), rng)
            length = int(rng.integers(8, 25)) if kind == "short shot" else int(rng.integers(30, 61))
            part = frames[at : at + length]
            at += len(part)
            name = list(LOOK_ALIKES)[(number + 3 * shot) % len(LOOK_ALIKES)]
            has_other = len(part) >= 36 and rng.random() < 0.7
            parts.append(LOOK_ALIKES[name](part, rng) if has_other else part)
            others.append(name if has_other else "")
            kinds.append(kind)
        yield _write(folder / f"cuts_{seed}_{number:03d}.mp4", parts, kinds, others, rate, rng)


def _next(
    stock: Sequence[Take], take: Take, frames: np.ndarray, at: int, kind: str, look: tuple[int, int, int],
    rng: np.random.Generator,
) -> tuple[Take, np.ndarray, int, str]:  # fmt: skip
    """The take of the next shot, its frames, where the shot begins, and the kind of cut that this makes."""
    if kind == "one scene, later":
        last = cv2.resize(frames[at - 1], (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32)
        for start in rng.permutation(np.arange(0, len(frames) - 29, 5)):
            first = cv2.resize(frames[start], (64, 64), interpolation=cv2.INTER_AREA)
            if abs(int(start) - at) >= 15 and np.abs(first - last).mean() > _VISIBLE:
                return take, frames, int(start), kind
        kind = "alike scene"
    rest = [other for other in stock if other.source != take.source]
    if kind == "alike scene":
        own = _palette(take.thumb)
        rest = sorted(rest, key=lambda other: float(np.abs(_palette(other.thumb) - own).sum()))[:3]
    take = rest[int(rng.integers(len(rest)))]
    frames = _whole(take.path, *look[:2])[:: look[2]]
    return take, frames, int(rng.integers(0, max(1, len(frames) - 60))), kind


def _palette(thumb: UInt8[np.ndarray, "32 32 3"]) -> np.ndarray:
    cells = (thumb >> 6).astype(np.int64) @ (16, 4, 1)
    return np.bincount(cells.ravel(), minlength=64)


def _write(
    path: Path, parts: list[np.ndarray], kinds: list[str], others: list[str], rate: Fraction, rng: np.random.Generator
) -> CutVideo:
    """Join the shots, one seam of each video by a dissolve, and encode them."""
    soft = int(rng.integers(1, len(parts)))
    whole, cuts, dissolves, spans = [parts[0].copy()], {}, [], []
    count = len(parts[0])
    if others[0]:
        spans.append((0, count, others[0]))
    for n in range(1, len(parts)):
        part = parts[n]
        if kinds[n] in ("dark", "low contrast"):
            dim = (0.18, 4) if kinds[n] == "dark" else (0.22, 100)
            whole[-1], part = ((side * dim[0] + dim[1]).astype(np.uint8) for side in (whole[-1], part))
        blend = min(16, len(part) // 2, len(whole[-1]) // 2) if n == soft else 0
        if blend:
            weight = ((np.arange(blend) + 1) / (blend + 1))[:, None, None, None]
            whole[-1][-blend:] = (whole[-1][-blend:] * (1 - weight) + part[:blend] * weight).astype(np.uint8)
            part = part[blend:]
            dissolves.append((count - blend, count))
        else:
            cuts[count] = kinds[n]
        if others[n]:
            spans.append((count, count + len(part), others[n]))
        whole.append(part.copy())
        count += len(part)
    times_s = np.arange(count) / float(rate)
    if rng.random() < 0.25:  # a phone in bad light: frames come when they can
        times_s = np.cumsum(rng.choice([1, 1, 2, 3], count)) / float(rate)
    _encode(path, np.concatenate(whole), times_s, crf=int(rng.integers(18, 29)))
    return CutVideo(path=path, num_frames=count, cuts=cuts, dissolves=tuple(dissolves), others=tuple(spans))


def _encode(path: Path, frames: Frames, times_s: np.ndarray, crf: int) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": str(crf), "preset": "fast", "threads": "1"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 90_000)
        for image, time_s in zip(frames, times_s, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(time_s * 90_000), Fraction(1, 90_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@dataclass(slots=True, kw_only=True)
class Score:
    """How well one program found the cuts."""

    right: list[int] = field(default_factory=lambda: [0, 0])
    """Cuts found at the exact frame, and within one frame."""
    wrong: list[int] = field(default_factory=lambda: [0, 0])
    """Found where none is, by the same two rules; a first one inside a dissolve is neither right nor wrong."""
    planted: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    """Kind of cut -> found at the exact frame."""
    false: Counter[str] = field(default_factory=Counter)
    """What happened in a shot -> wrong cuts."""
    dissolves: int = 0
    frames: int = 0
    seconds: float = 0.0
    """Of processor time, from the file to the list of cuts."""

    def add(self, video: CutVideo, starts: Sequence[int], seconds: float) -> None:
        """Count what was found in one video."""
        self.frames, self.seconds = self.frames + video.num_frames, self.seconds + seconds
        for slack in (1, 0):  # the exact rule comes last: its leftovers are looked at
            left = set(starts)
            for cut in video.cuts:
                near = min(left, key=lambda start: abs(start - cut), default=-9)
                if abs(near - cut) <= slack:
                    left.discard(near)
                    self.right[slack] += 1
                    self.hits.update([video.cuts[cut]] * (1 - slack))
            inside = [next((s for s in sorted(left) if a <= s <= b), -1) for a, b in video.dissolves]
            left -= set(inside)
            self.wrong[slack] += len(left)
        self.dissolves += sum(start >= 0 for start in inside)
        self.planted.update(video.cuts.values())
        for start in left:
            self.false[next((name for a, b, name in video.others if a <= start < b), "a plain shot")] += 1

    def rates(self, slack: int = 0) -> tuple[float, float, float]:
        """Precision, recall and F1 with so many frames of slack."""
        right = self.right[slack]
        precision, recall = right / max(1, right + self.wrong[slack]), right / max(1, self.planted.total())
        return precision, recall, 2 * precision * recall / max(1e-9, precision + recall)


def ours(video: CutVideo) -> list[int]:
    """What `ShotSplitter` finds."""
    return ShotSplitter().cuts(np.stack([thumbnail(frame) for frame in read_frames(video.path)]))


def theirs(video: CutVideo, detector: str) -> list[int]:
    """What a detector of PySceneDetect finds, told that shots may be as short as ours."""
    import scenedetect

    short = ShotSplitter().min_frames
    scenes = scenedetect.detect(str(video.path), getattr(scenedetect, detector)(min_scene_len=short))
    times = np.array(read_timestamps(video.path))
    return [int(np.abs(times - scene[0].seconds).argmin()) for scene in scenes[1:]]


def measure(videos: Sequence[CutVideo], finders: dict[str, Callable[[CutVideo], list[int]]]) -> dict[str, Score]:
    """Let every program look at every video."""
    scores = {name: Score() for name in finders}
    for video in videos:
        for name, find in finders.items():
            started = time.process_time()
            found = find(video)
            scores[name].add(video, found, time.process_time() - started)
    return scores


def table(scores: dict[str, Score], num_dissolves: int) -> str:
    """A Markdown table: one column for each program."""
    columns = list(scores.values())
    rows = {
        f"{what}, {slack}": [f"{s.rates(n)[i]:.3f}" for s in columns]
        for n, slack in enumerate(("exact", "±1 frame"))
        for i, what in enumerate(("precision", "recall", "F1"))
    }
    for kind in CUT_KINDS:
        rows[f"found: {kind} ({columns[0].planted[kind]})"] = [str(s.hits[kind]) for s in columns]
    for name in (*LOOK_ALIKES, "a plain shot"):
        rows[f"wrong: {name}"] = [str(s.false[name]) for s in columns]
    rows[f"a cut in a dissolve ({num_dissolves})"] = [str(s.dissolves) for s in columns]
    rows["ms per frame, with decoding"] = [f"{1000 * s.seconds / s.frames:.2f}" for s in columns]
    lines = [f"| {name} | " + " | ".join(cells) + " |" for name, cells in {"": list(scores), **rows}.items()]
    return "\n".join([lines[0], "|---" * (len(columns) + 1) + "|", *lines[1:]])


def main(arguments: Sequence[str]) -> None:
    """Make `videos=N` from the files below `media=FOLDER[,FOLDER]` (seed=N) and print the table.

    half=test (default) and half=tune take different sources; skip=NAME,... leaves out files whose names begin so;
    out=FOLDER keeps the videos.
    """
    known = {"media": "", "seed": "1", "videos": "60", "half": "test", "skip": "", "out": ""}
    given: dict[str, str] = {}
    for argument in arguments:
        name, _, given[name] = argument.partition("=")
    if unknown := set(given) - set(known):
        raise ValueError(f"planted_cuts: unknown option {sorted(unknown)[0]!r}; choose from {', '.join(known)}")
    options = known | given
    if not options["media"] or options["half"] not in ("tune", "test"):
        raise ValueError("planted_cuts: give media=FOLDER with clips of one take each, and half=test or half=tune")
    skip = [name for name in options["skip"].split(",") if name]
    stock = takes([Path(folder) for folder in options["media"].split(",")], options["half"], skip)
    finders: dict[str, Callable[[CutVideo], list[int]]] = {"ShotSplitter": ours}
    if find_spec("scenedetect"):
        for detector in ("ContentDetector", "AdaptiveDetector"):
            finders[detector] = partial(theirs, detector=detector)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options["out"] or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        videos = list(make(stock, folder, int(options["videos"]), int(options["seed"])))
        scores = measure(videos, finders)
    sys.stdout.write(table(scores, sum(len(video.dissolves) for video in videos)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
