"""Seeds -> the puppet benchmark: a folder of pairs that any method can be measured on, with the exact truth apart.

python -m evaluation.puppet_benchmark out=DIR size=quick|full workers=2

A person performs, an animal should do the same. Identities and performances are made from seeds that no other set of
this project uses, so nobody has been trained on them. The layout is that of `evaluation/pair_folder.py`.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
from jaxtyping import Float32

from data_pipeline.cli_errors import user_errors
from data_pipeline.crop import crop_transform, invert, move_points, warp_crop_beyond, warp_labels
from data_pipeline.progress import track
from data_pipeline.puppets.identity import sample_identity
from data_pipeline.puppets.render import render
from data_pipeline.records import Species
from data_pipeline.typed_options import read_options
from data_pipeline.whole_file import write_text
from evaluation.metrics.signals import roll_of_square_deg
from evaluation.pair_folder import PAIRS_FILE, TRUTH, entry_of, pairs_text, write_arrays, write_pair
from evaluation.puppet_levels import KINDS, Kind, level_motion, level_pictures

Size = Literal["quick", "full"]
CHECKSUMS_FILE = "checksums.json"
"""Bytes of every file as made on this machine; pairs.json is the same everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much there is of one size."""

    identities: int
    """Animals of each species for each kind of pair."""
    num_frames: int
    stride: int
    """Native frames between those that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkSpec:
    """Everything that decides what the benchmark is."""

    version: int
    seed: int
    identity_offset: int
    """Training sets count from 0: nobody is in both."""
    fps: float
    render_px: int
    side_px: int
    species: tuple[Species, ...]
    sizes: Mapping[Size, Extent]
    checksums: Mapping[Size, str]
    """sha256 of pairs.json: a change of the plan, of motion or of the levels is noticed."""


PUPPETS_BENCHMARK_V1 = BenchmarkSpec(
    version=1,
    seed=2_407_031,
    identity_offset=9_000,
    fps=25.0,
    render_px=320,
    side_px=256,
    species=("cat", "dog", "panda"),
    sizes={
        "quick": Extent(identities=1, num_frames=24, stride=2),
        "full": Extent(identities=3, num_frames=60, stride=1),
    },
    checksums={
        "quick": "4fb9de1c8aa5c25ec1e5d57bf5fe43a076a8edec4184e4b64787be6b361dcd65",
        "full": "8fcd084ea210815f303a5cf21e58358828fd4727ce6429e755e64e7082ca27ac",
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One pair of the benchmark."""

    kind: Kind
    species: Species
    number: int
    size: Size

    @property
    def pair_id(self) -> str:
        """Like large_pose-all-cat-00."""
        return f"{self.kind.level}-{self.kind.factor}-{self.species}-{self.number:02d}"

    @property
    def performance(self) -> str:
        """Names the motion; the animals of one kind and number share it, and its performer."""
        return f"benchmark-{self.kind.level}-{self.kind.factor}-{self.number:02d}"

    @property
    def index(self) -> int:
        """Number of performer and animal: nobody is in two kinds of pairs."""
        return PUPPETS_BENCHMARK_V1.identity_offset + len(KINDS) * self.number + KINDS.index(self.kind)

    def motion(self) -> Float32[np.ndarray, "T P"]:
        """The motion codes of the frames that are kept."""
        spec = PUPPETS_BENCHMARK_V1
        extent = spec.sizes[self.size]
        whole = level_motion(self.kind, spec.seed, extent.num_frames * extent.stride, spec.fps, self.performance)
        return whole[:: extent.stride]

    def entry(self) -> dict[str, Any]:
        """What pairs.json says."""
        spec, motion = PUPPETS_BENCHMARK_V1, self.motion()
        # Thousandths: the last digits of a sine differ between machines.
        digest = hashlib.sha256(np.rint(motion.astype(np.float64) * 1000).astype("<i4").tobytes()).hexdigest()[:16]
        facts = {
            "level": self.kind.level, "factor": self.kind.factor, "species": self.species, "driver_species": "human",
            "source_identity": f"{self.species}-{self.index:04d}", "driver_identity": f"human-{self.index:04d}",
            "performance": self.performance, "motion": digest,
        }  # fmt: skip
        return entry_of(self.pair_id, len(motion), spec.fps / spec.sizes[self.size].stride, facts)


def cases(size: Size) -> list[Case]:
    """Every pair, in a fixed order."""
    spec = PUPPETS_BENCHMARK_V1
    return [
        Case(kind=kind, species=species, number=number, size=size)
        for kind in KINDS
        for number in range(spec.sizes[size].identities)
        for species in spec.species
    ]


def benchmark_text(size: Size) -> str:
    """pairs.json."""
    spec = PUPPETS_BENCHMARK_V1
    about = {
        "benchmark": "puppets", "version": spec.version, "size": size, "side_px": spec.side_px, "seed": spec.seed,
        "render_px": spec.render_px,
    }  # fmt: skip
    return pairs_text([case.entry() for case in cases(size)], about)


def checksum(text: str) -> str:
    """sha256 of a text file's bytes."""
    return hashlib.sha256(text.encode()).hexdigest()


def make(out: Path, size: Size = "quick", workers: int = 2) -> Path:
    """Render the benchmark; pairs.json appears last.

    Args:
        out: the folder.
        size: quick: 24 pairs of 24 frames; full: 72 of 60.
        workers: processes.

    Raises:
        ValueError: the folder holds another size or version, or this code makes another benchmark than version 1.
    """
    spec, text, path = PUPPETS_BENCHMARK_V1, benchmark_text(size), out / PAIRS_FILE
    if checksum(text) != spec.checksums[size]:
        raise ValueError(
            f"this code's puppets perform otherwise than version {spec.version} of the benchmark; give it a new version"
        )
    if path.exists():
        if path.read_text(encoding="utf-8") == text:
            return path
        raise ValueError(f"{path} is of another size or version; give another out= or remove the folder")
    sums: dict[str, str] = {}
    todo: list[tuple[Path, Kind, int, Size]] = [
        (out, kind, number, size) for kind in KINDS for number in range(spec.sizes[size].identities)
    ]
    for found in track(_made(todo, workers), len(todo), "rendering the benchmark", "performances"):
        sums |= found
    write_text(out / CHECKSUMS_FILE, json.dumps(sums, indent=1, sort_keys=True))
    write_text(path, text)
    return path


def _made(todo: Sequence[tuple[Path, Kind, int, Size]], workers: int) -> Iterator[dict[str, str]]:
    if workers <= 1 or len(todo) <= 1:
        yield from starmap(make_performance, todo)
        return
    import multiprocessing

    # Spawned, not forked: the caller may have threads (torch, encoders) that a fork would break.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(todo)), mp_context=context) as pool:
        yield from pool.map(make_performance, *zip(*todo, strict=True))


def make_performance(out: Path, kind: Kind, number: int, size: Size) -> dict[str, str]:
    """Render a person and the animals that perform the same; returns the files' sha256 by path below `out`."""
    spec = PUPPETS_BENCHMARK_V1
    group = [Case(kind=kind, species=species, number=number, size=size) for species in spec.species]
    driver = _performed("human", group[0])
    shown = level_pictures(kind, driver["frames"], driver["points"], spec.seed, group[0].performance)
    sums: dict[str, str] = {}
    for case in group:
        entry = case.entry()
        truth = _performed(case.species, case)
        write_pair(out, entry, truth["frames"][0], shown)
        arrays = truth | {"driving_points": driver["points"], "driving_landmarks": driver["landmarks"]}
        name = truth_name(entry)
        write_arrays(out / name, arrays)
        sums |= {path: file_hash(out / path) for path in (entry["source"], entry["driver"], name)}
    return sums


def truth_name(entry: Mapping[str, Any]) -> str:
    """Where the truth of a pair lies below the folder."""
    return f"{TRUTH}/{Path(entry['prediction']).stem}.npz"


def _performed(species: Species, case: Case) -> dict[str, np.ndarray]:
    """An identity performs a case -> crops and the arrays of a truth file, in crop pixels."""
    spec = PUPPETS_BENCHMARK_V1
    identity = sample_identity(species, case.index, spec.seed)
    made = [render(identity, row, spec.render_px) for row in case.motion()]
    points = np.stack([frame.points for frame in made])
    square = crop_transform(np.median(points, axis=0).astype(np.float32), species, spec.side_px)
    back = invert(square)
    pose = np.stack([frame.pose_deg for frame in made])
    pose[:, 2] -= roll_of_square_deg(square)
    return {
        # The backdrop goes on where the picture ends: a black bar would move with nobody.
        "frames": np.stack(
            [warp_crop_beyond(frame.image, square, spec.side_px, cv2.BORDER_REPLICATE) for frame in made]
        ),
        "labels": np.stack([warp_labels(frame.labels, square, spec.side_px) for frame in made]),
        "points": move_points(back, points),
        "landmarks": move_points(back, np.stack([frame.landmarks for frame in made])),
        "eye_open": np.stack([frame.eye_open for frame in made]),
        "lip_open": np.stack([frame.lip_open for frame in made]),
        "pose_deg": pose.astype(np.float32),
    }


def file_hash(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, kw_only=True)
class Order:
    """What the command makes; the fields are its options.

    Raises:
        ValueError: an option is unknown or out of range.
    """

    out: str
    """The folder."""
    size: str = "quick"
    workers: int = 2
    """Processes."""

    def __post_init__(self) -> None:
        if self.size not in get_args(Size):
            raise ValueError(f"size={self.size} is unknown; choose {' or '.join(get_args(Size))}")
        if self.workers < 1:
            raise ValueError(f"workers={self.workers} is out of range; give 1 or more")


def main(arguments: Sequence[str]) -> None:
    """Make what the words `out=DIR size=quick|full workers=N` order."""
    order = read_options(Order, arguments, "evaluation.puppet_benchmark")
    path = make(Path(order.out), "full" if order.size == "full" else "quick", order.workers)
    sys.stdout.write(
        f"made {path}\nnext: put predictions at {path.parent}/METHOD/<id>.mp4 and run lp-evaluate "
        f"protocol=puppet_benchmark data={path.parent} methods.external={path.parent} weights=starter out=…\n"
    )


if __name__ == "__main__":
    user_errors(main)(sys.argv[1:])
