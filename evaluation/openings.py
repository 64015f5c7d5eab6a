"""Pictures, or what the user typed -> how open eyes and lips are, for retargeting and for the choice of a reference.

Openings are LivePortrait's ratios: lid distance over the distance of the eye's corners, distance of the inner lips over
the mouth's width; 0 is closed. Of the two eyes the viewer's left one comes first.
"""

import csv
import importlib
import io
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from data_pipeline.records import Species

EYES = ((159, 145, 33, 133), (386, 374, 362, 263))
"""Upper lid, lower lid, corner, corner of each eye in the face mesh: LivePortrait's points 6, 18, 0, 12 and 30, 42,
24, 36 of 203."""
LIPS = (13, 14, 61, 291)
"""Upper and lower inner lip, mouth corners: LivePortrait's points 90, 102, 48, 66."""
EPSILON = 1e-6
MAX_OPENING = 2.0
"""A mouth can be higher than wide; beyond this a number is a mistake."""
MAX_CURVE_BYTES = 16 * 2**20
CURVE_COLUMNS = (("frame", "value"), ("time_s", "value"))


class Openings(NamedTuple):
    """How open eyes and lips are in T frames."""

    eyes: Float[Tensor, "T 2"]
    lips: Float[Tensor, "T 1"]


@runtime_checkable
class OpeningReader(Protocol):
    """What reads openings from pictures of one head: the next frames of a clip, in order."""

    def __call__(self, frames: Sequence[UInt8[np.ndarray, "H W 3"]]) -> Sequence[Openings | None]:
        """RGB frames -> one reading (T = 1) for each; None where there is no face."""
        ...


@runtime_checkable
class SpeciesReader(OpeningReader, Protocol):
    """A reader that knows several species; as it comes it reads people, the drivers."""

    def of(self, species: Species) -> OpeningReader:
        """The reader of another species."""
        ...


def reader_of(reader: OpeningReader | None, species: Species | None) -> OpeningReader | None:
    """The reader for a source of this species; the same one where it knows no difference."""
    return reader.of(species) if species is not None and isinstance(reader, SpeciesReader) else reader


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenOpenings:
    """Openings that the user knows: the same for every frame.

    Raises:
        ValueError: a number is out of range.
    """

    eyes: float | int | Sequence[float | int] = 0.35
    """One number for both eyes, or the viewer's left and right."""
    lips: float | int = 0.0

    def __post_init__(self) -> None:
        if len(self._eyes()) != 2:
            raise ValueError(f"eyes={self.eyes} is not one number for both eyes, or two; give for example [0.3,0.35]")
        for name, values in (("eyes", self._eyes()), ("lips", [self.lips])):
            for value in values:
                if not 0 <= value <= MAX_OPENING:
                    raise ValueError(
                        f"{name}={value} is out of range; an opening is from 0 (closed) to {MAX_OPENING:g}, "
                        "of open eyes about 0.35"
                    )

    def _eyes(self) -> list[float | int]:
        return list(self.eyes) if isinstance(self.eyes, Sequence) else [self.eyes, self.eyes]

    def __call__(self, frames: Sequence[UInt8[np.ndarray, "H W 3"]]) -> list[Openings | None]:
        """Any frames -> the given numbers."""
        openings = Openings(torch.tensor([self._eyes()]).float(), torch.tensor([[self.lips]]).float())
        return [openings for _ in frames]


class FaceMeshOpenings:
    """Reads people's openings with MediaPipe's face mesh (Apache-2.0), offline. It knows no animals.

    Args:
        is_still: the frames are single photos; otherwise they are a clip, and the face is followed through it.
        confidence: 0-1, below which a face does not count as found.

    Raises:
        ValueError: mediapipe is not installed, or is of a version without the face mesh.
    """

    def __init__(self, *, is_still: bool = False, confidence: float = 0.5) -> None:
        options = {"static_image_mode": is_still, "max_num_faces": 1, "refine_landmarks": True}
        self._mesh = _face_mesh()(**options, min_detection_confidence=confidence, min_tracking_confidence=confidence)

    def __call__(self, frames: Sequence[UInt8[np.ndarray, "H W 3"]]) -> list[Openings | None]:
        """RGB frames -> one reading for each; None where no face was found."""
        return [self._read(frame) for frame in frames]

    def _read(self, frame: UInt8[np.ndarray, "H W 3"]) -> Openings | None:
        with warnings.catch_warnings():
            # mediapipe 0.10.14 uses a function that protobuf will drop; constraints.txt keeps a protobuf that has it.
            warnings.filterwarnings("ignore", message="SymbolDatabase.GetPrototype", category=UserWarning)
            found: Any = self._mesh.process(np.ascontiguousarray(frame))
        if not found.multi_face_landmarks:
            return None
        height, width, _ = frame.shape
        points = [(point.x * width, point.y * height) for point in found.multi_face_landmarks[0].landmark]
        return mesh_openings(torch.tensor([points], dtype=torch.float32))


def _face_mesh() -> Any:  # noqa: ANN401
    """MediaPipe's class; it comes with the extra `face`."""
    os.environ.setdefault("GLOG_minloglevel", "2")  # else it greets on stderr
    try:
        return importlib.import_module("mediapipe").solutions.face_mesh.FaceMesh
    except (ImportError, AttributeError) as error:
        raise ValueError(
            "reading how open eyes and lips are needs mediapipe 0.10.14; install it with "
            "`uv pip install -c constraints.txt -e '.[face]'` or give the numbers by hand"
        ) from error


def mesh_openings(points: Float[Tensor, "T L 2"]) -> Openings:
    """Points of the face mesh, in pixels -> openings."""

    def ratio(upper: int, lower: int, one: int, other: int) -> Tensor:
        across = (points[:, upper] - points[:, lower]).norm(dim=1)
        return across / ((points[:, one] - points[:, other]).norm(dim=1) + EPSILON)

    return Openings(torch.stack([ratio(*eye) for eye in EYES], dim=1), ratio(*LIPS)[:, None])


def stacked(readings: Sequence[Openings | None]) -> Openings:
    """Readings of single frames -> one for all of them; NaN where there was no face."""
    unknown = Openings(torch.full((1, 2), torch.nan), torch.full((1, 1), torch.nan))
    known = [unknown if reading is None else reading for reading in readings] or [Openings(*(v[:0] for v in unknown))]
    return Openings(torch.cat([reading.eyes for reading in known]), torch.cat([reading.lips for reading in known]))


def held(openings: Openings, name: str = "the driver") -> Openings:
    """Openings with gaps -> each gap takes the last reading before it; a gap at the start, the first one after it.

    Raises:
        ValueError: no frame has a reading.
    """
    known = (openings.eyes.isfinite().all(dim=1) & openings.lips.isfinite().all(dim=1)).nonzero()[:, 0]
    if not len(known):
        raise ValueError(f"{name}: no face was found in any frame; give the openings by hand")
    at = torch.searchsorted(known, torch.arange(len(openings.lips), device=known.device), right=True) - 1
    chosen = known[at.clamp(min=0)]
    return Openings(openings.eyes[chosen], openings.lips[chosen])


def read_curve(
    path_or_number: str | Path | float | int, fps: Fraction | float | int, num_frames: int
) -> Float[Tensor, " T"]:
    """One opening for each frame: a number for all, or a CSV of points in time, joined by lines and held at the ends.

    Args:
        path_or_number: a number, or a file whose first line is `frame,value` (from 0) or `time_s,value`.
        fps: frames a second, for `time_s`.
        num_frames: T.

    Raises:
        ValueError: the number is out of range, or the file cannot be read; the message names the file and the line.
    """
    try:
        number = float(str(path_or_number))
    except ValueError:
        pass  # then it is a path
    else:
        if not 0 <= number <= MAX_OPENING:
            raise ValueError(f"{path_or_number} is out of range; an opening is from 0 (closed) to {MAX_OPENING:g}")
        return torch.full((num_frames,), number)
    path = Path(str(path_or_number))
    at, values = _points(path, float(fps))
    return torch.from_numpy(np.interp(np.arange(num_frames), at, values)).float()


def _points(path: Path, fps: float) -> tuple[list[float], list[float]]:
    """The CSV's points, in frames."""
    lines = _rows(path)
    number, head = next(lines, (1, []))
    columns = tuple(cell.lower() for cell in head)
    if columns not in CURVE_COLUMNS:
        raise ValueError(f"{path} line {number}: it must be frame,value or time_s,value, not {','.join(head)[:40]!r}")
    at: list[float] = []
    values: list[float] = []
    for number, row in lines:
        try:
            when, value = (float(cell) for cell in row)
        except ValueError as error:
            raise ValueError(f"{path} line {number}: {','.join(row)[:40]!r} is not two numbers") from error
        if not 0 <= value <= MAX_OPENING:
            raise ValueError(
                f"{path} line {number}: {value:g} is out of range; an opening is from 0 to {MAX_OPENING:g}"
            )
        when = when * fps if columns[0] == "time_s" else when
        if not math.isfinite(when) or when < 0 or (at and when <= at[-1]):
            raise ValueError(
                f"{path} line {number}: {columns[0]} {row[0]} must be 0 or more and rise from line to line"
            )
        at.append(when)
        values.append(value)
    if not at:
        raise ValueError(f"{path} has no line of numbers after the first; give at least one")
    return at, values


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines of a CSV that are not empty, with their numbers."""
    if not path.is_file():
        raise ValueError(f"{path} is neither a number nor a file; give a number from 0 to {MAX_OPENING:g} or a CSV")
    if path.stat().st_size > MAX_CURVE_BYTES:
        raise ValueError(f"{path} is too large for a curve; give at most {MAX_CURVE_BYTES} bytes")
    try:
        text = path.read_bytes().decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield reader.line_num, cells
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV that can be read ({error}); save it as plain text") from error
