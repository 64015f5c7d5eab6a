"""Folders whose names say what is in them (species, or individuals) -> the files to curate."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_pipeline.adapters.folder import MediaFile, SourceError
from data_pipeline.adapters.walk import dataset_root, picked, species_named, unmapped, walk
from data_pipeline.records import SPECIES, Species
from data_pipeline.whole_file import shown


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFolderSource:
    """A tree in which a folder names the species of all files below it, e.g. `train/cats/1.jpg`.

    The folder nearest to the file counts. Names that are no species are given with `classes`, e.g. {tabby: cat}.
    """

    path: str
    classes: dict[str, str] | None = None
    """Folder name -> species; `none` leaves a folder out. Plain names (cat, dogs, person) need no entry."""
    licence: str = ""
    origin: str = ""
    limit: int = 0

    def __call__(self) -> list[MediaFile]:
        """The files, sorted by path.

        Raises:
            SourceError: no such folder, or no folder in it names a species.
        """
        root = dataset_root(self.path, "class folders", {"*": "folder in it"})
        paths, problems = walk(root)
        files = [self._file(root, path) for path in paths]
        if files and all(file.problem for file in files):
            names = sorted({path.parent.name for path in paths})
            raise SourceError(
                f"no folder in source.path {shown(root)} names a species (found {', '.join(names[:5])}); "
                f"map them, e.g. 'source.classes={{{names[0]}: cat}}'"
            )
        return picked([*files, *problems], self.limit, root, "photo or clip")

    def _file(self, root: Path, path: Path) -> MediaFile:
        folders = path.relative_to(root).parts[:-1]
        for name in reversed(folders):
            species = species_named(name, self.classes)
            if species is not None:
                return MediaFile(path=path, licence=self.licence, origin=self.origin, species=species)
            if name.lower() in {key.lower() for key in self.classes or {}}:
                break
        return unmapped(path, "folder " + (repr(folders[-1]) if folders else "source.path itself"))


@dataclass(frozen=True, slots=True, kw_only=True)
class AfhqSource:
    """AFHQ v1 or v2: `{train,val,test}/{cat,dog,wild}/*.{jpg,png}`, aligned faces of 512 px.

    `wild` (lions, foxes, ...) is left out unless `classes` maps it. Licence: what the data set states.
    """

    path: str
    classes: dict[str, str] | None = None
    licence: str = "CC BY-NC 4.0"
    origin: str = "AFHQ"
    limit: int = 0

    def __call__(self) -> list[MediaFile]:
        """The files, sorted by path.

        Raises:
            SourceError: not an AFHQ folder.
        """
        root = dataset_root(self.path, "AFHQ", {"train/cat": "train/cat", "train/dog": "train/dog"})
        files: list[MediaFile] = []
        for split in ("train", "val", "test"):
            for folder in sorted(p for p in (root / split).glob("*") if p.is_dir()):
                species = species_named(folder.name, self.classes)
                paths, problems = walk(folder)
                files += problems
                files += [
                    MediaFile(path=path, licence=self.licence, origin=self.origin, species=species)
                    if species
                    else unmapped(path, f"class {folder.name!r}")
                    for path in paths
                ]
        return picked(files, self.limit, root, "photo")


@dataclass(frozen=True, slots=True, kw_only=True)
class IPandaSource:
    """iPanda-50: one folder for each giant panda (`00_name/*.jpg`); the folder is the identity.

    The folder `iPanda50-images` is looked into when source.path holds it. The data set states no licence. Its eye
    labels say which way an eye's pupil looks, not where the eye is in the whole picture: they are not read.
    """

    path: str
    licence: str = "unknown"
    origin: str = "iPanda-50"
    limit: int = 0

    def __call__(self) -> list[MediaFile]:
        """The files, sorted by path.

        Raises:
            SourceError: no folders of individuals.
        """
        root = dataset_root(self.path, "iPanda-50", {"*/": "folder of an individual"})
        inner = root / "iPanda50-images"
        root = inner if inner.is_dir() else root
        dataset_root(str(root), "iPanda-50", {"*/*.[jJpP]*": "folder of an individual with photos"})
        return picked(_individuals(root, "panda", self.licence, self.origin, "ipanda50"), self.limit, root, "photo")


@dataclass(frozen=True, slots=True, kw_only=True)
class PetFaceSource:
    """PetFace: `images/<family>/<individual>/NN.png`, aligned faces; family and individual are the identity.

    Of its 13 families cat and dog are species here; others are left out unless `classes` maps them.
    """

    path: str
    classes: dict[str, str] | None = None
    licence: str = "non-commercial research"
    origin: str = "PetFace"
    limit: int = 0

    def __call__(self) -> list[MediaFile]:
        """The files, sorted by path.

        Raises:
            SourceError: not a PetFace folder.
        """
        root = dataset_root(self.path, "PetFace", {"images/*/*/": "images/<family>/<individual>"})
        files: list[MediaFile] = []
        for folder in sorted(p for p in (root / "images").iterdir() if p.is_dir()):
            species = species_named(folder.name, self.classes)
            files += _individuals(folder, species, self.licence, self.origin, f"petface/{folder.name}")
        return picked(files, self.limit, root, "photo")


def _individuals(root: Path, species: Species | None, licence: str, origin: str, prefix: str) -> Iterator[MediaFile]:
    """Files of one folder for each individual; identities of different sets do not meet."""
    if species is not None and species not in SPECIES:
        raise SourceError(f"{species!r} is no species; choose from {', '.join(SPECIES)}")
    paths, problems = walk(root)
    yield from problems
    for path in paths:
        folders = path.relative_to(root).parts[:-1]
        if species is None:
            yield unmapped(path, f"family {root.name!r}")
        elif not folders:
            yield MediaFile(
                path=path, problem="no individual", detail="the photo lies outside the individuals' folders"
            )
        else:
            identity = f"{prefix}/{folders[0]}"
            yield MediaFile(path=path, licence=licence, origin=origin, identity=identity, species=species)
