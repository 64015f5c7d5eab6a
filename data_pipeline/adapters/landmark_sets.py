"""Sets of animal faces with landmarks (AnimalWeb, CatFLW, DogFLW, CAT) -> photos with their known heads."""

import fnmatch
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from data_pipeline.adapters.folder import MediaFile
from data_pipeline.adapters.points import ANIMALWEB, CAT, CATFLW, DOGFLW, PointMap
from data_pipeline.adapters.walk import dataset_root, picked, species_named, unmapped, walk
from data_pipeline.records import KnownHead, Species
from data_pipeline.whole_file import shown

ANIMALWEB_CLASSES = {"*domesticcat*": "cat", "*domesticdog*": "dog", "*giantpanda*": "panda"}
"""Pattern of a file name -> species."""
DAMAGED = "annotation damaged"
_MAX_BYTES = 1_000_000
"""The sets' own files are a few kB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnimalWebSource:
    """AnimalWeb: photos `<species>_<n>.jpg` with `<species>_<n>.pts` of nine points, beside them or in another folder.

    The file's name tells the species: `classes` maps patterns of the part before the last `_`. Licence: not found.
    """

    path: str
    classes: dict[str, str] | None = None
    """None: ANIMALWEB_CLASSES."""
    licence: str = "unknown"
    origin: str = "AnimalWeb"
    limit: int = 0

    def __call__(self) -> list[MediaFile]:
        """The photos, sorted by path; those of other species or with damaged points are drops.

        Raises:
            SourceError: no .pts file, or no photo of a mapped species.
        """
        root = dataset_root(self.path, "AnimalWeb", {"**/*.pts": "*.pts file"})
        points = {path.stem: path for path in sorted(root.rglob("*.pts"))}
        paths, problems = walk(root)
        files = [self._file(path, points.get(path.stem)) for path in paths]
        here = {path.stem for path in paths}
        files += [_absent(path, "its photo is not here") for stem, path in points.items() if stem not in here]
        return picked([*files, *problems], self.limit, root, "photo of a species in source.classes")

    def _file(self, path: Path, pts: Path | None) -> MediaFile:
        classes = ANIMALWEB_CLASSES if self.classes is None else self.classes
        name = path.stem.rsplit("_", 1)[0].lower()
        word = next((p for p in classes if fnmatch.fnmatchcase(name, p.lower())), name)
        species = species_named(word, classes)
        if species is None:
            return unmapped(path, f"species {name!r}")
        if pts is None:
            return MediaFile(path=path, licence=self.licence, origin=self.origin, species=species)
        return _labelled(path, lambda: (None, read_pts(pts)), species, ANIMALWEB, self.licence, self.origin)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatSetSource:
    """The CAT set: photos `x.jpg` with `x.jpg.cat` beside them, nine points of eyes, mouth and ears.

    It has no box, nose or mouth corners: eyes and mouth tell which head of the detector is meant. Licence: unconfirmed.
    """

    path: str
    licence: str = "unknown"
    origin: str = "CAT dataset"
    limit: int = 0

    def __call__(self) -> list[MediaFile]:
        """The photos, sorted by path; those with damaged points are drops.

        Raises:
            SourceError: no .cat file.
        """
        root = dataset_root(self.path, "the CAT set", {"**/*.cat": "*.cat file"})
        paths, problems = walk(root)
        files = [self._file(path) for path in paths]
        photos = {path.as_posix() for path in paths}
        lonely = [p for p in sorted(root.rglob("*.cat")) if p.as_posix().removesuffix(".cat") not in photos]
        files += [_absent(path, "its photo is not here") for path in lonely]
        return picked([*files, *problems], self.limit, root, "photo")

    def _file(self, path: Path) -> MediaFile:
        points = path.with_name(path.name + ".cat")
        if not points.is_file():
            return MediaFile(path=path, licence=self.licence, origin=self.origin, species="cat")
        return _labelled(path, lambda: (None, read_cat(points)), "cat", CAT, self.licence, self.origin)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatFlwSource:
    """CatFLW: `images/*.png` and `labels/*.json` with `labels` [48][2] and `bounding_boxes` [4].

    The part of a name before the last `_` is the cat: photos of one cat stay in one split.
    """

    path: str
    five_from: dict[str, list[int]] | None = None
    """Point -> the landmarks whose mean it is, instead of those in points.CATFLW."""
    licence: str = "CC BY-NC 4.0"
    origin: str = "CatFLW"
    limit: int = 0

    def __call__(self) -> list[MediaFile]:
        """The photos, sorted by path; those with damaged labels are drops.

        Raises:
            SourceError: not a CatFLW folder, or five_from names no landmark of it.
        """
        root = dataset_root(self.path, "CatFLW", {"images": "images", "labels/*.json": "labels/*.json"})
        table = CATFLW.changed(self.five_from)
        files = _flw(root, "cat", table, self.licence, self.origin, "catflw")
        return picked(files, self.limit, root, "photo")


@dataclass(frozen=True, slots=True, kw_only=True)
class DogFlwSource:
    """DogFLW: `{train,test}/images/*.png` and `{train,test}/labels/*.json` as in CatFLW, with 46 landmarks.

    points.DOGFLW says why no five points are made of them until `five_from` names the landmarks.
    """

    path: str
    five_from: dict[str, list[int]] | None = None
    licence: str = "on request"
    origin: str = "DogFLW"
    limit: int = 0

    def __call__(self) -> list[MediaFile]:
        """The photos, sorted by path; those with damaged labels are drops.

        Raises:
            SourceError: not a DogFLW folder, or five_from names no landmark of it.
        """
        root = dataset_root(self.path, "DogFLW", {"train/images": "train/images", "train/labels": "train/labels"})
        table = DOGFLW.changed(self.five_from)
        parts = [root / name for name in ("train", "test") if (root / name / "images").is_dir()]
        files = [file for part in parts for file in _flw(part, "dog", table, self.licence, self.origin, "")]
        return picked(files, self.limit, root, "photo")


def _flw(root: Path, species: Species, table: PointMap, licence: str, origin: str, prefix: str) -> Iterator[MediaFile]:
    paths, problems = walk(root / "images")
    yield from problems
    for path in paths:
        label = root / "labels" / f"{path.stem}.json"
        identity = f"{prefix}/{path.stem.rsplit('_', 1)[0]}" if prefix else ""
        if not label.is_file():
            yield MediaFile(path=path, licence=licence, origin=origin, identity=identity, species=species)
            continue
        read = _flw_reader(label, table.num_landmarks)
        yield _labelled(path, read, species, table, licence, origin, identity)
    photos = {path.stem for path in paths}
    for label in sorted((root / "labels").glob("*.json")):
        if label.stem not in photos:
            yield _absent(label, "its photo is not here")


_Read = Callable[[], tuple[Float32[np.ndarray, "4"] | None, Float32[np.ndarray, "L 2"]]]


def _labelled(
    path: Path, read: _Read, species: Species, table: PointMap, licence: str, origin: str, identity: str = ""
) -> MediaFile:
    """A photo with the one head that its annotation describes, or the drop that a damaged annotation makes."""
    try:
        box, landmarks = read()
        if len(landmarks) != table.num_landmarks:
            raise ValueError(f"{len(landmarks)} landmarks, {table.scheme} has {table.num_landmarks}")
    except (OSError, ValueError) as error:
        return MediaFile(path=path, problem=DAMAGED, detail=str(error))
    head = KnownHead(
        species=species,
        box_xyxy=box,
        points_xy=table.five(landmarks),
        anchors_xy=table.anchors(landmarks),
        scheme=table.scheme,
        landmarks_xy=landmarks,
    )
    return MediaFile(path=path, licence=licence, origin=origin, identity=identity, species=species, heads=(head,))


def _absent(annotation: Path, detail: str) -> MediaFile:
    return MediaFile(path=annotation, problem="listed but absent", detail=detail)


def _small_text(path: Path) -> str:
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"{shown(path)} is too large for an annotation")
    return path.read_text(encoding="utf-8")


def read_pts(path: Path) -> Float32[np.ndarray, "L 2"]:
    """An ibug `.pts` file: `version`, `n_points: N`, then N lines `x y` in braces; coordinates are taken as they are.

    Raises:
        ValueError: damaged.
    """
    text = _small_text(path)
    body = re.search(r"\{(.*)\}", text, re.DOTALL)
    said = re.search(r"n_points:\s*(\d+)", text)
    if body is None or said is None:
        raise ValueError(f"{shown(path)} has no n_points or no braces")
    return _pairs(path, body.group(1).split(), int(said.group(1)))


def read_cat(path: Path) -> Float32[np.ndarray, "L 2"]:
    """A `.cat` file: the number of points, then x and y of each.

    Raises:
        ValueError: damaged.
    """
    words = _small_text(path).split()
    if not words or not words[0].isdigit():
        raise ValueError(f"{shown(path)} does not begin with the number of points")
    return _pairs(path, words[1:], int(words[0]))


def _pairs(path: Path, words: Sequence[str], count: int) -> Float32[np.ndarray, "L 2"]:
    if len(words) != 2 * count:
        raise ValueError(f"{shown(path)} says {count} points and holds {len(words) / 2:g}")
    try:
        points = np.array([float(word) for word in words], np.float32).reshape(-1, 2)
    except ValueError as error:
        raise ValueError(f"{shown(path)} holds what is no number ({error})") from error
    if not np.isfinite(points).all():
        raise ValueError(f"{shown(path)} holds a value that is not finite")
    return points


def _flw_reader(path: Path, count: int) -> _Read:
    """What reads a CatFLW or DogFLW label; landmarks below 0 are unlabelled, that is NaN."""

    def read() -> tuple[Float32[np.ndarray, "4"] | None, Float32[np.ndarray, "L 2"]]:
        try:
            record = json.loads(_small_text(path))
            if not isinstance(record, Mapping):
                raise TypeError("it is no object")
            landmarks = np.array(record["labels"], np.float32).reshape(-1, 2)
            sides = [float(side) for side in record["bounding_boxes"] if str(side).strip()]
        except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{shown(path)} cannot be read ({error!r})") from error
        if len(sides) != 4 or not (sides[0] < sides[2] and sides[1] < sides[3]):
            raise ValueError(f"{shown(path)} has no box x1 y1 x2 y2: {sides}")
        if len(landmarks) != count:
            raise ValueError(f"{shown(path)} holds {len(landmarks)} landmarks instead of {count}")
        landmarks[(landmarks < 0).any(axis=1)] = np.nan
        return np.array(sides, np.float32), landmarks

    return read
