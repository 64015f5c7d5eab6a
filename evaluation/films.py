"""A list of sources, drivers and weights -> a looping film that shows them side by side: before, after, stage by stage.

python -m evaluation.films scenes=docs/films/stage_one.yaml out=docs/images/stage_one.webp \
    'roots={media: ../shared/data/media, puppets: runs/bench/pairs}' \
    'weights={before: runs/humans/weights, after: starter}'

A list names columns (each a name in `weights`, and options of lp-animate) and rows (a source, and a driver or an
opening to sweep). Paths begin with a name in `roots`.
"""

import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from data_pipeline import media
from data_pipeline.cli_errors import user_errors
from data_pipeline.progress import track
from data_pipeline.typed_options import read_options
from data_pipeline.whole_file import check_writable, write_bytes
from evaluation.animator import Animator, load_detector
from evaluation.built_in_openings import BuiltInOpenings
from evaluation.gallery_pictures import named, on_white, stacked, webp_within
from evaluation.gallery_rows import RATE, frames_at_rate
from evaluation.openings import CURVE_COLUMNS
from evaluation.options import Options
from evaluation.side_by_side import row_of

PROGRAM = "python -m evaluation.films"
WIDEST = 0.8
"""An opening cannot be swept further (docs/stitching.md)."""
Frames = UInt8[np.ndarray, "T H W 3"]


@dataclass(frozen=True, kw_only=True)
class FilmPlan:
    """The options.

    Raises:
        ValueError: a number is out of range.
    """

    scenes: str
    """A YAML file with columns and rows."""
    out: str
    """The film, .webp."""
    weights: dict[str, str]
    """Names in the list -> weights."""
    roots: dict[str, str] = field(default_factory=dict)
    """First parts of the list's paths -> folders."""
    frames: int = 30
    tile_px: int = 128
    max_mb: float = 1.0
    """Quality falls until the film fits."""
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.frames < 2 or self.tile_px < 16:
            raise ValueError(f"{PROGRAM}: give frames=2 or more and tile_px=16 or more")
        if Path(self.out).suffix.lower() != ".webp":
            raise ValueError(f"{PROGRAM}: out={self.out} must end in .webp")


@dataclass(frozen=True, kw_only=True)
class Column:
    """One way to move every source."""

    name: str
    weights: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of lp-animate, such as stitching."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One source, and what moves it.

    Raises:
        ValueError: there is not exactly one of driver, eyes and lips, or an opening is out of range.
    """

    source: str
    driver: str = ""
    start_s: float | int = 0.0
    eyes: float | int = 0.0
    """Sweep the eyes from shut to this opening and back."""
    lips: float | int = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of lp-animate, for every column: how open the source's eyes are, say."""

    def __post_init__(self) -> None:
        if sum(map(bool, (self.driver, self.eyes, self.lips))) != 1:
            raise ValueError("give one of driver, eyes and lips")
        if not self.driver and not 0 < self.eyes + self.lips <= WIDEST:
            raise ValueError(f"openings lie between 0 and {WIDEST}")
        if self.start_s < 0:
            raise ValueError(f"start_s is {self.start_s}; give 0 or more")


def read_list(path: Path, plan: FilmPlan) -> tuple[list[Column], list[Row]]:
    """Columns and rows of a list.

    Raises:
        ValueError: the file cannot be read, an entry is odd, or a name is not known; the message says where.
    """
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        columns = [Column(**entry) for entry in found["columns"]]
        rows = [Row(**entry) for entry in found["rows"]]
        for row, column in product(rows, columns):
            Options(**row.options, **column.options)  # checks them
        if not columns or not rows:
            raise ValueError("it needs one column and one row or more")
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        why = " ".join(str(error).split())
        raise ValueError(
            f"{path} cannot be used as a list of columns and rows ({why}); see docs/films/stage_one.yaml"
        ) from error
    if unknown := [column.weights for column in columns if column.weights not in plan.weights]:
        raise ValueError(f"{path} names the weights {unknown[0]}; give {PROGRAM} 'weights={{{unknown[0]}: DIR}}'")
    for row in rows:
        for name in filter(None, (row.source, row.driver)):
            _found(name, plan.roots, path)
    return columns, rows


def _found(name: str, roots: Mapping[str, str], path: Path) -> Path:
    first, _, rest = name.partition("/")
    if first not in roots:
        raise ValueError(f"{path} has a path below {first}/; give {PROGRAM} 'roots={{{first}: DIR}}'")
    if not (file := Path(roots[first]) / rest).is_file():
        raise ValueError(f"{file} of {path} is missing; give the folder that holds it as {first}")
    return file


def make_film(plan: FilmPlan) -> Path:
    """Read the list, animate everything, write the film.

    Raises:
        ValueError: a file or an option is not as it should be.
    """
    path, out = Path(plan.scenes), Path(plan.out)
    columns, rows = read_list(path, plan)
    check_writable(out)
    detector = load_detector("starter")
    animators = {
        name: Animator.from_pretrained(
            plan.weights[name], detector=detector, device=plan.device, openings=BuiltInOpenings()
        )
        for name in dict.fromkeys(column.weights for column in columns)
    }
    lines = [_line(row, columns, animators, plan) for row in track(rows, len(rows), "animating", "rows")]
    names = ["driver", "source", *(column.name for column in columns)]
    head = named(names, plan.tile_px, lines[0][0].shape[1])
    frames = [stacked([head, *(line[i] for line in lines)]) for i in range(plan.frames)]
    write_bytes(out, webp_within(frames, RATE, int(plan.max_mb * 1e6), out.name))
    return out


def _line(
    row: Row, columns: Sequence[Column], animators: Mapping[str, Animator], plan: FilmPlan
) -> list[UInt8[np.ndarray, "_H _W 3"]]:
    """A row of the film, frame by frame."""
    source, path = _found(row.source, plan.roots, Path(plan.scenes)), Path(plan.scenes)
    if row.driver:
        driver = _clip(_found(row.driver, plan.roots, path), row.start_s, plan.frames)
    else:
        photo = next(media.read_frames(source))
        driver = np.repeat(photo[None], plan.frames, axis=0)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        sweep = {} if row.driver else {_part(row): _curve(row, plan.frames, Path(folder))}
        for column in columns:
            given: dict[str, Any] = {"pasteback": False, **row.options, **column.options, **sweep}
            steps = animators[column.weights].animate(source, driver, Options(**given), fps=RATE).steps()
            results.append([(step.source, step.driving, step.result) for step in steps])
    lines = []
    for i in range(plan.frames):
        crop, driving, _ = results[0][i]
        shown = on_white(driving if row.driver and driving is not None else _gauge(row, i, plan.frames))
        lines.append(row_of([shown, crop, *(result[i][2] for result in results)], plan.tile_px))
    return lines


def _part(row: Row) -> str:
    return "eyes" if row.eyes else "lips"


def _wanted(row: Row, frame: int, num: int) -> float:
    """Shut, open in the middle, shut again."""
    return (row.eyes or row.lips) * 0.5 * (1 - math.cos(2 * math.pi * frame / (num - 1)))


def _curve(row: Row, num: int, folder: Path) -> str:
    path = folder / "curve.csv"
    values = (f"{i},{_wanted(row, i, num):.4f}" for i in range(num))
    path.write_text("\n".join([",".join(CURVE_COLUMNS[0]), *values]) + "\n")
    return str(path)


def _gauge(row: Row, frame: int, num: int) -> UInt8[np.ndarray, "S S 3"]:
    """A bar as high as the wanted opening, in place of a driver."""
    picture = np.full((128, 128, 3), 235, np.uint8)
    top = round(118 - 108 * _wanted(row, frame, num) / WIDEST)
    picture[top:118, 54:74] = (42, 157, 143)
    return picture


def _clip(path: Path, start_s: float | int, num: int) -> Frames:
    first = round(start_s * RATE)
    frames = list(islice(frames_at_rate(path), first, first + num))
    if not frames:
        raise ValueError(f"{path} ends before {start_s} s; give a smaller start_s")
    # A short clip waits on its last frame, so that all rows have one length.
    frames += [frames[-1]] * (num - len(frames))
    return np.stack(frames)


@user_errors
def main() -> None:
    """Console entry."""
    plan = read_options(FilmPlan, sys.argv[1:], "evaluation.films")
    out = make_film(plan)
    print(f"made {out} ({out.stat().st_size / 1e6:.2f} MB, {plan.frames} frames)")  # noqa: T201


if __name__ == "__main__":
    main()
