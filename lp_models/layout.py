"""A name or a path -> where the five weight files lie, what is written about them, and which bytes they should have."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lp_models.config import LivePortraitConfig
from lp_models.lock import LOCK, locked_sum
from lp_models.state_files import SUFFIXES, WeightsError, one_line, sha256_of

FORMAT = 1
STEMS = {
    "appearance": "appearance_feature_extractor",
    "motion": "motion_extractor",
    "warping": "warping_module",
    "generator": "spade_generator",
    "stitching": "stitching_retargeting_module",
}
STITCHING_PARTS = {"stitching": "retarget_shoulder", "lip": "retarget_mouth", "eye": "retarget_eye"}
"""Child of our stitching module -> its name in the official file."""
STARTER = Path(__file__).resolve().parent / "starter"
CARD = "model.json"

BASE_FOLDERS = ("", "base_models_v1.1", "base_models")
"""Where the four base files may lie below a folder; they are never mixed from two of them."""
STITCHING_FOLDERS = ("", "retargeting_models", "../liveportrait/retargeting_models")
"""Upstream drives animals with the human stitching file of the sibling folder."""
STITCHING_BESIDE = ("../retargeting_models", "../../liveportrait/retargeting_models")
"""The same, seen from a folder base_models*."""
OFFICIAL = {
    "official": ("liveportrait", ""),
    "official_animals": ("liveportrait_animals",),
    "official_animals_v1": ("liveportrait_animals/base_models",),
}
"""Names of downloaded weights -> where they lie below the download folder."""
VARIANT_OF = {"official": "human", "official_animals": "animals", "official_animals_v1": "animals_v1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFolder:
    """The files of one model."""

    folder: Path
    files: dict[str, Path]
    """Network -> its file; networks without a file are absent."""
    card: dict[str, Any] = field(default_factory=dict)
    """Content of model.json, or empty."""
    card_dir: Path | None = None

    @property
    def config(self) -> LivePortraitConfig:
        """That of model.json; a folder without one is taken to be of official size."""
        return LivePortraitConfig.from_dict(self.card["config"]) if self.card else LivePortraitConfig.named("official")

    def file(self, child: str) -> Path:
        """The file of one network.

        Raises:
            WeightsError: there is none.
        """
        if child in self.files:
            return self.files[child]
        stem = STEMS[child]
        if not self.files:
            raise WeightsError(
                f"{self.folder} holds no weights: no {stem}.safetensors or .pth there, nor below base_models/; give "
                "the folder that holds the complete set of five files"
            )
        beside = next(iter(self.files.values())).parent
        where = "retargeting_models/ or ../liveportrait/retargeting_models/" if child == "stitching" else f"{beside}"
        raise WeightsError(
            f"{self.folder} has no {stem}.safetensors or {stem}.pth (looked in {where}); export or download the "
            "complete set of five files"
        )

    def known_sum(self, path: Path) -> tuple[str, str] | None:
        """The sha256 that a file should have and who says so (model.json or the lock); None if nobody does."""
        full = path.resolve()
        if self.card_dir is not None and full.is_relative_to(self.card_dir.resolve()):
            name = full.relative_to(self.card_dir.resolve()).as_posix()
            if known := self.card.get("files", {}).get(name, {}).get("sha256"):
                return known, CARD
        return (known, LOCK) if (known := locked_sum(path)) else None

    def check_sum(self, path: Path) -> str | None:
        """Compare a file with its known checksum; returns who knew it.

        Raises:
            WeightsError: it is another file.
        """
        known = self.known_sum(path)
        if known is None:
            return None
        if known[0] != sha256_of(path):
            raise WeightsError(
                f"{path} is not the file that {known[1]} was written with (sha256 differs): it was changed or cut off; "
                "export or download the weights again"
            )
        return known[1]


def official_root() -> Path:
    """The folder of downloaded weights: $PAWTRAIT_WEIGHTS, or ~/.cache/pawtrait/official."""
    given = os.environ.get("PAWTRAIT_WEIGHTS")
    return Path(given or "~/.cache/pawtrait/official").expanduser()


def resolve_weights(name_or_path: str | Path) -> Path:
    """A name or a path -> a weights directory or a checkpoint file.

    Args:
        name_or_path: `starter` (shipped), `official`, `official_animals` or `official_animals_v1` (downloaded), a
            directory (of weights, of an lp-finetune run, or a download with one set in it), or a `.ckpt` file.

    Raises:
        WeightsError: there is no such thing, or it holds two sets to choose from.
    """
    name, path = str(name_or_path), Path(name_or_path).expanduser()
    if name == "starter":
        if not (STARTER / CARD).is_file():
            raise WeightsError(
                f"{STARTER}: this installation has no starter weights; give the path of a weights directory"
            )
        return STARTER
    if name in OFFICIAL and not path.is_dir():
        return _downloaded(name)
    if path.is_file():
        if path.suffix == ".ckpt":
            return path
        raise WeightsError(f"{path} is one file; give the directory with all five weight files, or a .ckpt file")
    if not path.is_dir():
        raise WeightsError(
            f"{path} is not a directory; give a weights directory, a .ckpt file, or a name: starter or official"
        )
    if _base_folder(path) is not None or (path / CARD).is_file():
        return path
    if (path / "weights" / CARD).is_file():  # the folder of an lp-finetune run
        return path / "weights"
    sets = sets_below(path)
    if len(sets) > 1:
        raise WeightsError(f"{path} holds several models; give one of them: {' or '.join(str(s) for s in sets)}")
    return sets[0] if sets else path


def sets_below(root: Path) -> list[Path]:
    """The models in a folder laid out like the published one; v1 of the animals is there when v1.1 is, too."""
    folders = [root / "liveportrait", root / "liveportrait_animals"]
    if (root / "liveportrait_animals" / "base_models_v1.1").is_dir():
        folders.append(root / "liveportrait_animals" / "base_models")
    return [folder for folder in folders if _base_folder(folder) is not None]


def open_folder(folder: Path, *, with_card: bool = True) -> WeightsFolder:
    """Look for the five files and, unless told otherwise, model.json.

    Raises:
        WeightsError: model.json is damaged.
    """
    files: dict[str, Path] = {}
    base = _base_folder(folder)
    for child, stem in STEMS.items():
        folders = [base or folder] if child != "stitching" else _stitching_folders(folder)
        if found := [path for place in folders if (path := _file_of(place, stem))]:
            files[child] = found[0]
    places = (folder, folder.parent) if folder.name.startswith("base_models") else (folder,)
    for place in places if with_card else ():
        if card := read_card(place):
            return WeightsFolder(folder=folder, files=files, card=card, card_dir=place)
    return WeightsFolder(folder=folder, files=files)


def read_card(directory: str | Path) -> dict[str, Any]:
    """The content of model.json (config, species, provenance, files); empty if the directory has none.

    Raises:
        WeightsError: the file is damaged or of a newer format.
    """
    path = Path(directory) / CARD
    if not path.is_file():
        return {}
    try:
        card = json.loads(path.read_text())
        config, number = card["config"], card["format"]
        if not all(isinstance(entry, dict) for entry in dict(card.get("files", {})).values()):
            raise ValueError("files does not list files")
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{path} is damaged ({one_line(error)}); export or download the weights again") from error
    if number != FORMAT:
        raise WeightsError(f"{path} has format {number}, this version reads {FORMAT}; update pawtrait")
    try:
        LivePortraitConfig.from_dict(config)
    except (ValueError, AttributeError) as error:
        raise WeightsError(f"{path} does not describe a model: {one_line(error)}; export the weights again") from error
    return card


def _downloaded(name: str) -> Path:
    root = official_root()
    for sub in OFFICIAL[name]:
        if _base_folder(root / sub) is not None:
            return root / sub
    raise WeightsError(
        f"the {name} weights are not in {root}; run `lp-weights download variant={VARIANT_OF[name]}`, or set "
        "PAWTRAIT_WEIGHTS to the folder that holds liveportrait/"
    )


def _base_folder(folder: Path) -> Path | None:
    """The first place where any of the four base files lies: a gap there is an error, not a reason to mix versions."""
    stems = [stem for child, stem in STEMS.items() if child != "stitching"]
    for sub in BASE_FOLDERS:
        if any(_file_of(folder / sub, stem) for stem in stems):
            return folder / sub
    return None


def _stitching_folders(folder: Path) -> list[Path]:
    subs = (*STITCHING_FOLDERS, *STITCHING_BESIDE) if folder.name.startswith("base_models") else STITCHING_FOLDERS
    return [folder / sub for sub in subs]


def _file_of(folder: Path, stem: str) -> Path | None:
    for suffix in SUFFIXES:
        path = folder / f"{stem}{suffix}"
        if path.is_file():
            plain = Path(os.path.normpath(path))  # without a/../b, unless a symbolic link gives that a meaning
            return plain if plain.is_file() and plain.samefile(path) else path
    return None
