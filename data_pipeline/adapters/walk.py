"""A folder -> the media files below it in a fixed order, and what could not be looked into."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from data_pipeline.adapters.folder import NOT_MEDIA, SIDECARS, MediaFile, SourceError
from data_pipeline.records import SPECIES, Species
from data_pipeline.whole_file import shown

PLAIN_NAMES: Mapping[str, Species] = {
    **{name: name for name in SPECIES},
    "cats": "cat",
    "dogs": "dog",
    "pandas": "panda",
    "humans": "human",
    "people": "human",
    "person": "human",
}
"""Folder and column values that name a species, in lower case."""
NO_SPECIES = "species not mapped"


def walk(root: Path) -> tuple[list[Path], list[MediaFile]]:
    """Media files below a folder, sorted; hidden ones and known other endings are left out.

    Linked folders are followed, each real folder once, so that a link to a parent ends.

    Returns:
        the files, and one problem for each folder that cannot be opened and each link that leads nowhere.
    """
    found: list[Path] = []
    problems: list[MediaFile] = []
    seen: set[tuple[int, int]] = set()

    def refuse(error: OSError) -> None:
        what = f"{shown(Path(error.filename or root))}: {error.strerror or error}; check its rights"
        problems.append(MediaFile(path=Path(error.filename or root), problem="folder unreadable", detail=what))

    for place, folders, names in os.walk(root, followlinks=True, onerror=refuse):
        state = Path(place).stat()
        if (state.st_dev, state.st_ino) in seen:
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = Path(place, name)
            if name.startswith(".") or name.endswith(SIDECARS) or path.suffix.lower() in NOT_MEDIA:
                continue
            if path.is_file():
                found.append(path)
            elif path.is_symlink() and not path.exists():
                what = f"{shown(path)} leads to nothing, or to itself; mend or remove the link"
                problems.append(MediaFile(path=path, problem="broken link", detail=what))
    return sorted(found, key=lambda p: p.as_posix()), problems


def dataset_root(path: str, dataset: str, needed: Mapping[str, str]) -> Path:
    """The folder of a data set, or one sentence that says what is missing in it.

    Args:
        path: what source.path says.
        dataset: name for the message.
        needed: glob pattern below the folder -> how the message calls it.

    Raises:
        SourceError: no such folder, or it does not look like the data set.
    """
    root = Path(path)
    if not root.is_dir():
        raise SourceError(f"source.path {shown(root)} is no folder; give the folder that holds {dataset}")
    missing = [name for pattern, name in needed.items() if next(root.glob(pattern), None) is None]
    if missing:
        raise SourceError(
            f"source.path {shown(root)} does not look like {dataset}: no {' and no '.join(missing)}; "
            "give the folder that holds them, or another source="
        )
    return root


def picked(files: Iterable[MediaFile], limit: int, root: Path, what: str) -> list[MediaFile]:
    """Files in the order of paths, at most `limit` of them (0: all).

    Raises:
        SourceError: there is none that can be used.
    """
    ordered = sorted(files, key=lambda f: f.path.as_posix())
    if not any(not file.problem for file in ordered):
        why = f" ({ordered[0].problem}: {ordered[0].detail})" if ordered else ""
        raise SourceError(f"there is no usable {what} in {shown(root)}{why}")
    return ordered[:limit] if limit else ordered


def species_named(name: str, classes: Mapping[str, str] | None) -> Species | None:
    """The species that a folder or column value means: by `classes`, else by its plain English name.

    Raises:
        SourceError: `classes` maps to something that is no species.
    """
    said = {key.lower(): value for key, value in (classes or {}).items()}.get(name.lower())
    if said is None:
        return PLAIN_NAMES.get(name.lower())
    if said in ("", "none"):
        return None
    for species in SPECIES:
        if said == species:
            return species
    raise SourceError(f"source.classes maps {name!r} to {said!r}; choose from {', '.join(SPECIES)} or none")


def unmapped(path: Path, name: str) -> MediaFile:
    """The drop of a file whose species nobody asked for."""
    return MediaFile(path=path, problem=NO_SPECIES, detail=f"{name}; add it to source.classes to keep it")
