"""Weights before and after tuning + a list of animals and drivers -> docs/gallery.md with films, sheets and numbers.

python -m evaluation.gallery weights=starter before=runs/humans/weights

Stopped, the same command goes on: an animal that is done is kept in `work=`, under a hash of the photo, the drivers,
both weights, the options and the code, and made anew when one of these changes.
"""

import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_pipeline.cli_errors import user_errors
from data_pipeline.progress import track
from data_pipeline.typed_options import read_options
from data_pipeline.whole_file import check_writable, write_bytes
from evaluation.animator import Animator, load_detector
from evaluation.gallery_cast import Animal, Cast, check_files, read_cast
from evaluation.gallery_page import COLUMNS, Gallery, page
from evaluation.gallery_pictures import animation, jpeg_within, moments_names, moments_row, sheet, webp_within
from evaluation.gallery_rows import METHODS, RATE, RowMaker, driver_clip
from evaluation.gallery_scores import PairScore, Worst, with_identity, worst_cases
from evaluation.options import Options
from evaluation.pair_store import MEASURE_CODE, METHOD_CODE, Finished, PairStore, code_hash, hash_of

PROGRAM = "python -m evaluation.gallery"
SHEETS_SHARE = 0.25
"""Of the bytes; the films get the rest."""
CODE = (
    *METHOD_CODE,
    *MEASURE_CODE,
    "gallery.py",
    "gallery_rows.py",
    "gallery_pictures.py",
    "animator.py",
    "driver.py",
    "moved_photo.py",
    "source.py",
)
"""Files whose change makes finished animals of no use."""


@dataclass(frozen=True, kw_only=True)
class GalleryPlan:
    """The options.

    Raises:
        ValueError: a number is out of range.
    """

    weights: str
    """The tuned weights: a name, a directory or a checkpoint."""
    before: str
    """The weights before they were tuned for animals."""
    media: str = "../shared/data/media"
    """Folder with the photos and videos of the list."""
    cast: str = "docs/gallery/gallery.yaml"
    """The list: animals and drivers."""
    out: str = "docs/gallery"
    """Folder for films and sheets."""
    page: str = "docs/gallery.md"
    work: str = "runs/gallery"
    """Folder for what is finished, so that a stopped run goes on."""
    only: list[str] = field(default_factory=list)
    """Names of animals, for a look at some: only=[kitten,pug]."""
    stitching: bool = False
    multiplier: float = 1.0
    rules: str = "human"
    """human, animal or animal-stitched; see docs/animation.md."""
    frames: int = 30
    tile_px: int = 128
    """Side of a panel of the films."""
    sheet_px: int = 96
    """Side of a panel of the sheets."""
    max_mb: float = 8.0
    """All files together; quality falls until they fit."""
    device: str = "auto"

    def __post_init__(self) -> None:
        for name, least in (("frames", 8), ("tile_px", 16), ("sheet_px", 16)):
            if getattr(self, name) < least:
                raise ValueError(f"{PROGRAM}: {name}={getattr(self, name)} is too small; give {least} or more")
        if not self.max_mb > 0:
            raise ValueError(f"{PROGRAM}: max_mb={self.max_mb} is out of range; give a number above 0")
        self.driving()  # checks rules and multiplier

    def driving(self) -> Options:
        """How a driver's motion is taken over; a picture is the square that the networks make."""
        rules: Any = self.rules
        return Options(stitching=self.stitching, multiplier=self.multiplier, rules=rules, pasteback=False)


class Done(NamedTuple):
    """What is known of one animal when it is finished."""

    animal: Animal
    film: Path
    found: Finished


class GalleryRun:
    """Makes the animals that are not finished, and tells what is known of all.

    Args:
        plan: the options.
        cast: who is shown.
        num_animals: of the whole list: each has its share of the bytes.
    """

    def __init__(self, plan: GalleryPlan, cast: Cast, num_animals: int) -> None:
        self.plan, self.cast = plan, cast
        self.store = PairStore(Path(plan.work))
        self.film_bytes = int(plan.max_mb * 1e6 * (1 - SHEETS_SHARE) / num_animals)
        self.weights = {"tuned": _hash(plan.weights), "un-tuned base": _hash(plan.before)}
        detector = load_detector("starter")
        self.maker = RowMaker(
            base=Animator.from_pretrained(plan.before, detector=detector, device=plan.device),
            tuned=Animator.from_pretrained(plan.weights, detector=detector, device=plan.device),
            detector=detector, options=plan.driving(),
        )  # fmt: skip
        self.clips = [driver_clip(person, Path(plan.media), plan.frames) for person in cast.drivers]
        shown = {name: value for name, value in asdict(plan).items() if name in ("frames", "tile_px", "sheet_px")}
        self._made_of = hash_of(
            self.weights, plan.driving(), shown, self.film_bytes, code_hash(CODE),
            [(clip.person, clip.frames) for clip in self.clips],
        )  # fmt: skip

    def animals(self) -> Iterator[Done]:
        """Every animal, one after the other; each is kept as soon as it is finished."""
        for animal in self.cast.animals:
            film = Path(self.plan.out) / f"{animal.slug}.webp"
            photo = (Path(self.plan.media) / animal.file).read_bytes()
            key = hash_of(self._made_of, animal, photo)
            found = self.store.read(key)
            if found is None or not film.is_file() or _sum(film.read_bytes()) != found.facts["film"]:
                found = self._make(animal, film)
                self.store.keep(key, found)
            yield Done(animal, film, found)

    def _make(self, animal: Animal, film: Path) -> Finished:
        made = list(self.maker(animal, Path(self.plan.media), self.clips))
        frames = animation([pair.panels for pair in made], COLUMNS, self.plan.tile_px)
        data = webp_within(frames, RATE, self.film_bytes, film.name)
        write_bytes(film, data)
        facts = {
            "film": _sum(data), "taken_for": made[0].taken_for, "pairs": [_rounded(pair.values) for pair in made],
        }  # fmt: skip
        features: dict[str, dict[str, np.ndarray]] = {}
        for i, pair in enumerate(made):
            features.setdefault("row", {})[str(i)] = moments_row(pair.panels, self.plan.sheet_px)
            features |= {_rank_key(i, method): found for method, found in pair.features.items() if found}
        return Finished(facts, features)


def make_gallery(plan: GalleryPlan, words: Sequence[str]) -> Gallery:
    """Make what is missing, then sheets and page.

    Args:
        plan: the options.
        words: how they were typed, for the page.

    Raises:
        ValueError: a file, weights or an option is not as it should be.
    """
    from data_pipeline.run_lock import run_lock

    whole = read_cast(Path(plan.cast))
    cast = whole.only(plan.only)
    check_files(cast, Path(plan.media))
    for path in (Path(plan.page), Path(plan.out) / "sheet.jpg"):
        check_writable(path)
    with run_lock(Path(plan.work)):
        run = GalleryRun(plan, cast, len(whole.animals))
        done = list(track(run.animals(), len(cast.animals), "animating", "animals"))
        gallery = _gathered(plan, run, done, words)
        write_bytes(Path(plan.page), page(gallery, Path(plan.page)).encode())
    return gallery


def _gathered(plan: GalleryPlan, run: GalleryRun, done: Sequence[Done], words: Sequence[str]) -> Gallery:
    from evaluation.machine import provenance

    pairs, features, rows = [], {}, {}
    for animal, _, found in done:
        for i, (person, values) in enumerate(zip(run.cast.drivers, found.facts["pairs"], strict=True)):
            pair = PairScore(animal=animal, driver=person.name, values=values)
            pairs.append(pair)
            features[pair.name] = {method: found.features.get(_rank_key(i, method), {}) for method in METHODS}
            rows[pair.name] = found.features["row"][str(i)]
    pairs = with_identity(pairs, features, run.maker.rank)
    worst = worst_cases(pairs)
    sheets = _sheets(plan, pairs, worst, rows)
    films = {animal.name: film for animal, film, _ in done}
    known = provenance()
    about = {
        "command": " ".join([PROGRAM, *words]),
        **{f"hash of the {name} weights": value for name, value in run.weights.items()},
        **{name: known[name] for name in ("commit", "libraries", "machine", "device") if name in known},
    }
    return Gallery(
        cast=run.cast, pairs=pairs, worst=worst, films=films, sheets=sheets,
        taken_for={animal.name: found.facts["taken_for"] for animal, _, found in done}, about=about,
        num_frames=plan.frames, num_bytes=sum(path.stat().st_size for path in (*films.values(), *sheets.values())),
        stitching=plan.stitching,
    )  # fmt: skip


def _sheets(
    plan: GalleryPlan, pairs: Sequence[PairScore], worst: Sequence[Worst], rows: Mapping[str, np.ndarray]
) -> dict[str, Path]:
    """A contact sheet of each species, and one of the worst pairs, which say why they are there."""
    shown: dict[str, list[tuple[str, np.ndarray]]] = {}
    for pair in pairs:
        shown.setdefault(pair.animal.species, []).append((pair.name, rows[pair.name]))
    why: dict[str, list[str]] = {}
    for one in worst:
        why.setdefault(one.pair.name, []).append(one.fault.title)
    bad = [(f"{name}: {', '.join(faults)}", rows[name]) for name, faults in why.items()]
    shown["worst"] = bad or shown[pairs[0].animal.species][:1]
    num_rows = sum(map(len, shown.values()))
    sheets = {}
    for name, lines in shown.items():
        path = Path(plan.out) / f"sheet_{name}.jpg"
        most = int(plan.max_mb * 1e6 * SHEETS_SHARE * len(lines) / num_rows)
        write_bytes(path, jpeg_within(sheet(lines, moments_names(COLUMNS), plan.sheet_px), most, path.name))
        sheets[name] = path
    return sheets


def _rank_key(driver: int, method: str) -> str:
    return f"rank {driver} {method}"


def _rounded(values: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {method: {name: float(f"{value:.6g}") for name, value in found.items()} for method, found in values.items()}


def _hash(weights: str) -> str:
    from evaluation.methods import weights_hash
    from lp_models.weights import resolve_weights

    return weights_hash(resolve_weights(weights))


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@user_errors
def main() -> None:
    """Console entry."""
    words = sys.argv[1:]
    plan = read_options(GalleryPlan, words, "evaluation.gallery")
    gallery = make_gallery(plan, words)
    print(  # noqa: T201
        f"made {plan.page}, {len(gallery.films)} films and {len(gallery.sheets)} sheets in {plan.out} "
        f"({gallery.num_bytes / 1e6:.1f} MB)"
    )


if __name__ == "__main__":
    main()
