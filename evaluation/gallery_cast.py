"""docs/gallery/gallery.yaml -> the animals and the drivers of a gallery, and where they come from."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from data_pipeline.records import SPECIES, Species

Record = TypeVar("Record")
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Animal:
    """A photo to be moved.

    Raises:
        ValueError: the species is not one of an animal.
    """

    name: str
    file: str
    """Below the folder of media."""
    species: Species
    origin: str
    """Repository, commit and path."""
    licence: str
    note: str = ""
    """What makes it hard, or what it shows."""

    def __post_init__(self) -> None:
        if self.species not in SPECIES or self.species == "human":
            known = ", ".join(one for one in SPECIES if one != "human")
            raise ValueError(f"species: {self.species!r} is no animal that is known; choose one of {known}")

    @property
    def slug(self) -> str:
        """The name as a file has it."""
        return _NOT_IN_A_NAME.sub("_", self.name.lower()).strip("_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A part of a video that drives.

    Raises:
        ValueError: the part begins before the video.
    """

    name: str
    file: str
    start_s: float
    origin: str
    licence: str
    note: str = ""

    def __post_init__(self) -> None:
        if not self.start_s >= 0:
            raise ValueError(f"start_s: {self.start_s} is out of range; give seconds from 0")


class Cast(NamedTuple):
    """Who is in the gallery."""

    animals: Sequence[Animal]
    drivers: Sequence[Person]

    def only(self, names: Sequence[str]) -> "Cast":
        """The animals of these names, in the order of the list; all for no names.

        Raises:
            ValueError: there is no animal of a name.
        """
        known = [animal.name for animal in self.animals]
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"only={unknown[0]} is no animal of the gallery; choose among {', '.join(known)}")
        return Cast([animal for animal in self.animals if not names or animal.name in names], self.drivers)


def read_cast(path: Path) -> Cast:
    """The list of a gallery.

    Raises:
        ValueError: the file is missing or no such list; the message names the entry.
    """
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise ValueError(f"{path} cannot be read as a gallery's list ({why}); give cast=FILE.yaml") from error
    if not isinstance(found, dict) or set(found) != {"animals", "drivers"}:
        raise ValueError(f"{path} must hold two lists, animals and drivers; docs/gallery/gallery.yaml is an example")
    animals = _records(Animal, found["animals"], path, "animals")
    drivers = _records(Person, found["drivers"], path, "drivers")
    _check_names([animal.slug for animal in animals], path, "animals")
    _check_names([person.name for person in drivers], path, "drivers")
    return Cast(animals, drivers)


def check_files(cast: Cast, media: Path) -> None:
    """Tell of a missing file before anything is made.

    Raises:
        ValueError: one is missing.
    """
    for one in (*cast.animals, *cast.drivers):
        if not (media / one.file).is_file():
            raise ValueError(
                f"media={media} does not hold {one.file} ({one.name}); give the folder of the gallery's media"
            )


def _records(kind: type[Record], found: Any, path: Path, where: str) -> list[Record]:  # noqa: ANN401
    if not isinstance(found, list) or not found:
        raise ValueError(f"{path}: {where} must be a list of one entry or more; see docs/gallery/gallery.yaml")
    return [_record(kind, entry, f"{path}: {where}[{i}]") for i, entry in enumerate(found)]


def _record(kind: type[Record], entry: Any, where: str) -> Record:  # noqa: ANN401
    known = {field.name: field for field in fields(kind)}  # pyright: ignore[reportArgumentType]
    if not isinstance(entry, Mapping):
        raise ValueError(f"{where} is no entry; give {', '.join(known)}")
    if unknown := [name for name in entry if name not in known]:
        raise ValueError(f"{where}.{unknown[0]} is unknown; choose among {', '.join(known)}")
    if missing := [name for name, field in known.items() if field.default is MISSING and name not in entry]:
        raise ValueError(f"{where}.{missing[0]} is missing; give {', '.join(known)}")
    values = dict(entry)
    for name, value in values.items():
        is_number = known[name].type is float
        if is_number and isinstance(value, int | float) and not isinstance(value, bool):
            values[name] = float(value)
        elif is_number or not isinstance(value, str) or not (value.strip() or name == "note"):
            raise ValueError(f"{where}.{name}={value!r} cannot be used; give {'a number' if is_number else 'words'}")
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{where}.{error}") from error


def _check_names(names: Sequence[str], path: Path, where: str) -> None:
    for name in names:
        if not name:
            raise ValueError(f"{path}: a name of {where} holds no letter of a-z and no digit; give another")
        if names.count(name) > 1:
            raise ValueError(f"{path}: two {where} are called {name}; give each a name of its own")
