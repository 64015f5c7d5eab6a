"""Weights of any kind -> a weights directory of ours, or the `.pth` files that upstream's code loads."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch

from lp_models.checkpoint import read_checkpoint
from lp_models.layout import CARD, open_folder, read_card, resolve_weights
from lp_models.lock import lock_above
from lp_models.state_files import WeightsError, sha256_of
from lp_models.weights import Layout, file_contents, load_pretrained, save_official, save_pretrained

DTYPES = {"float32": torch.float32, "float16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What was written."""

    folder: Path
    files: tuple[Path, ...]
    config_name: str
    is_new: bool
    """False: the same weights were there already, and nothing was changed."""


def convert(
    weights: str | Path, out: str | Path, *, layout: str = "ours", dtype: str = "float32", force: bool = False
) -> Conversion:
    """Read weights strictly and write them again.

    Args:
        weights: whatever `resolve_weights` takes.
        out: the folder; a finished export of other weights in it is kept unless `force`.
        layout: `ours` (safetensors + model.json) or `official` (`.pth`, for upstream's code, + model.json).
        dtype: of the numbers in the files: float32 or float16.
        force: replace other weights in `out`.

    Raises:
        WeightsError: the weights cannot be read, `out` cannot be written or holds other weights, or an option is
            unknown.
    """
    if layout not in get_args(Layout):
        raise WeightsError(f"layout={layout!r} is unknown; choose ours or official")
    if dtype not in DTYPES:
        raise WeightsError(f"dtype={dtype!r} is unknown; choose float32 or float16")
    kind: Layout = "ours" if layout == "ours" else "official"
    source, folder = resolve_weights(weights), Path(out).expanduser()
    _check_target(folder, source)
    model, before = load_pretrained(source), _weight_files(folder)
    if before and not force:
        contents = file_contents(model, kind, DTYPES[dtype], folder)
        if {name: hashlib.sha256(content).hexdigest() for name, content in contents} != _sums(folder):
            raise WeightsError(f"out={folder} holds other weights; give another folder, or force=true to replace them")
        files = tuple(path for path in (*before, folder / CARD) if path.is_file())
        return Conversion(folder=folder, files=files, config_name=model.config.name, is_new=False)
    save = save_pretrained if kind == "ours" else save_official
    save(model, folder, _provenance(source) | {"converted_from": str(weights)}, DTYPES[dtype])
    names = json.loads((folder / CARD).read_text())["files"]
    files = tuple(folder / name for name in (*names, CARD))
    for path in set(before) - set(files):
        path.unlink()  # of the former layout; left there, it would be loaded instead of the new files
    return Conversion(folder=folder, files=files, config_name=model.config.name, is_new=True)


def _check_target(folder: Path, source: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise WeightsError(f"out={folder} is a file; give a folder")
    if folder.resolve() in (source.resolve(), *(file.resolve().parent for file in _weight_files(source))):
        raise WeightsError(f"out={folder} is where the weights come from; give another folder")
    if lock_above(folder) is not None:
        raise WeightsError(f"out={folder} is in a folder of lp-weights download; give another folder")


def _weight_files(path: Path) -> list[Path]:
    """The weight files of a folder itself, not those it borrows from a sibling."""
    if not path.is_dir():
        return []
    found = open_folder(path, with_card=False).files.values()
    return [file for file in found if file.resolve().is_relative_to(path.resolve())]


def _sums(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): sha256_of(p) for p in _weight_files(folder)}


def _provenance(source: Path) -> dict[str, Any]:
    """What is known about where weights come from."""
    if source.is_file():
        return read_checkpoint(source).provenance()
    if card := read_card(source):
        return {"species": card.get("species", []), **card.get("provenance", {})}
    if (found := lock_above(source)) is None:
        return {}
    return {"repo": found[1].repo, "revision": found[1].revision}
