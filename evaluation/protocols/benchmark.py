"""The folder of the puppet benchmark -> pairs with the exact truth, as others measured them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from data_pipeline.media import read_frames
from data_pipeline.records import Species
from evaluation.clips import annotated
from evaluation.pair_folder import PAIRS_FILE, read_arrays, read_pairs
from evaluation.protocols.pairs import Pair, PairFrames, Truth
from evaluation.protocols.plan import Size, of_side
from evaluation.puppet_benchmark import (
    CHECKSUMS_FILE,
    PUPPETS_BENCHMARK_V1,
    checksum,
    file_hash,
    make,
    truth_name,
)
from evaluation.puppet_levels import KINDS
from evaluation.source import HeadFinder


@dataclass(frozen=True, slots=True, kw_only=True)
class PuppetBenchmark:
    """The frozen puppet benchmark: a person drives an animal, in levels of difficulty; exact truth.

    It is rendered into the data folder when that is empty.
    """

    levels: tuple[str, ...] | None = None
    """Only these; None for all."""
    species: tuple[Species, ...] | None = None
    workers: int = 2
    """Processes that render it."""
    name: str = "puppet_benchmark"

    def __call__(self, data: Path, size: Size, side_px: int, detector: HeadFinder | None) -> list[Pair]:
        """The pairs of the folder, in a fixed order.

        Raises:
            ValueError: the folder holds something else, another size or version, or files were changed.
        """
        known = sorted({kind.level for kind in KINDS})
        if unknown := [level for level in self.levels or () if level not in known]:
            raise ValueError(f"protocol.levels={unknown} is unknown; choose some of {', '.join(known)}")
        if not data.exists() or (data.is_dir() and not any(data.iterdir())):
            make(data, size, self.workers)
        found, sums = self._read(data, size)
        pairs = [
            self._pair(data, entry, sums, side_px)
            for entry in found["pairs"]
            if (self.levels is None or entry["level"] in self.levels)
            and (self.species is None or entry["species"] in self.species)
        ]
        if not pairs:
            raise ValueError(f"data={data} holds no pair of {self.levels} {self.species}; give other levels or species")
        return sorted(pairs, key=lambda pair: pair.pair_id)

    def _read(self, data: Path, size: Size) -> tuple[dict[str, Any], dict[str, str]]:
        found = read_pairs(data)
        path, spec = data / PAIRS_FILE, PUPPETS_BENCHMARK_V1
        if found.get("benchmark") != "puppets":
            raise ValueError(f"{path} is not the puppet benchmark; make one with python -m evaluation.puppet_benchmark")
        if found.get("size") != size:
            raise ValueError(f"{path} is of size={found.get('size')}, and size={size} was asked for; make them equal")
        if checksum(path.read_text(encoding="utf-8")) != spec.checksums[size]:
            raise ValueError(f"{path} is not version {spec.version} of the benchmark; make it anew in another folder")
        try:
            sums = json.loads((data / CHECKSUMS_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"{data / CHECKSUMS_FILE} cannot be read ({error}); make the folder again") from error
        return found, sums

    def _pair(self, data: Path, entry: dict[str, Any], sums: Mapping[str, str], side_px: int) -> Pair:
        names = entry["source"], entry["driver"], truth_name(entry)
        files = {name: str(sums.get(name, "")) for name in names}
        return Pair(
            pair_id=entry["id"], protocol=self.name, species=entry["species"], driver_species=entry["driver_species"],
            num_frames=entry["num_frames"], fps=entry["fps"], stride=1,
            load=partial(_load, data, entry, files, side_px),
            facts={name: value for name, value in entry.items() if name != "prediction"} | {"files": files},
        )  # fmt: skip


def _load(data: Path, entry: Mapping[str, Any], files: Mapping[str, str], side_px: int) -> PairFrames:
    for name, digest in files.items():
        if not (data / name).is_file() or file_hash(data / name) != digest:
            raise ValueError(f"{data / name} is missing or was changed; make the benchmark anew in another folder")
    arrays = read_arrays(data / truth_name(entry))
    driver_arrays = {name: arrays.pop(f"driving_{name}") for name in ("points", "landmarks")}
    truth = of_side(annotated(arrays["frames"], arrays, arrays["labels"]), side_px)
    driving = np.stack(list(read_frames(data / entry["driver"])))
    driver = of_side(annotated(driving, driver_arrays, None), side_px)
    source = of_side(annotated(np.stack(list(read_frames(data / entry["source"]))), {}, None), side_px)
    if len(driving) != len(truth.frames):
        raise ValueError(f"{data / entry['driver']} has {len(driving)} frames, its truth {len(truth.frames)}")
    assert truth.points is not None
    assert truth.landmarks is not None
    assert truth.openings is not None
    return PairFrames(
        source=source.frames[0], driving=driver.frames,
        truth=Truth(frames=truth.frames, species=entry["species"], points=truth.points, labels=truth.labels),
        source_points=truth.points[0], driving_points=driver.points,
        species=entry["species"], driver_species=entry["driver_species"], signals=truth.signals,
        source_landmarks=truth.landmarks[0], driving_landmarks=driver.landmarks,
        source_openings=truth.openings[0], pair_id=entry["id"], fps=entry["fps"],
    )  # fmt: skip
