"""Weights of any kind -> what is in them, file by file, and the first reason why they would not load."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from lp_models.checkpoint import read_checkpoint
from lp_models.config import LivePortraitConfig
from lp_models.layout import CARD, STEMS, WeightsFolder, open_folder, read_card, resolve_weights, sets_below
from lp_models.lock import LOCK, lock_above
from lp_models.state_files import WeightsError, read_state, sha256_of
from lp_models.weights import empty_model, fill, network_state

MARKS = {
    "appearance": ("resblocks_3d.", "down_blocks."),
    "motion": ("detector.",),
    "warping": ("dense_motion_network.",),
    "generator": ("G_middle_", "up_0."),
    "stitching": ("retarget_", "mlp."),
}
"""Beginnings of names that tell which network a renamed file holds."""

BUFFERS = ("running_mean", "running_var", "num_batches_tracked", "weight_u", "weight_v")
"""Ends of the names of entries that are not parameters."""


class TensorRow(NamedTuple):
    """One entry of a file."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRow:
    """What one file (or one network in a checkpoint) holds."""

    path: Path
    network: str
    """Ours (appearance, motion, ...), or `unknown`."""
    num_bytes: int
    sha256: str
    tensors: tuple[TensorRow, ...] = ()
    fault: str = ""
    """Why nothing could be read; empty if it could."""

    @property
    def num_parameters(self) -> int:
        """Numbers that were trained: batch statistics and spectral vectors do not count."""
        return sum(math.prod(t.shape) for t in self.tensors if not t.name.endswith(BUFFERS))

    @property
    def dtypes(self) -> str:
        """The types in it, the commonest first."""
        return ", ".join(name for name, _ in Counter(t.dtype for t in self.tensors).most_common())

    @property
    def shapes(self) -> str:
        """How many entries of which rank, and the largest one."""
        ranks = sorted(Counter(len(t.shape) for t in self.tensors).items(), reverse=True)
        largest = max((t.shape for t in self.tensors), key=math.prod, default=())
        counted = ", ".join(f"{count} of {rank}-D" for rank, count in ranks)
        return f"{counted}; largest {'x'.join(map(str, largest)) or 'a single number'}" if self.tensors else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What weights are made of."""

    path: Path
    kind: str
    """Directory, single file or checkpoint, and of which model."""
    rows: tuple[FileRow, ...]
    provenance: dict[str, Any]
    fault: str
    """The first reason why they would not load; empty if they load."""


class Verified(NamedTuple):
    """One file that passed every check."""

    path: Path
    network: str
    num_entries: int
    num_bytes: int
    sum_from: str
    """Who knew the checksum: model.json, weights.lock.json, or `none known`."""


def verify(weights: str | Path) -> Iterator[Verified]:
    """Check names, shapes, types, finite numbers and checksums by loading strictly, one file at a time.

    Args:
        weights: whatever `resolve_weights` takes; also the folder of a download with several models, or a single
            weight file.

    Raises:
        WeightsError: at the first file that fails, after those before it were yielded.
    """
    path = Path(weights).expanduser()
    if path.is_file() and path.suffix != ".ckpt":
        yield _verified_file(path)
        return
    sets = sets_below(path) if path.is_dir() else []
    seen: set[Path] = set()
    for target in sets if len(sets) > 1 else [resolve_weights(weights)]:
        if target.is_file():
            yield from _verified_checkpoint(target)
            continue
        found = open_folder(target)
        for child in STEMS:
            file = found.file(child)
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield _verified(file, child, found.config, found)


def inspect(weights: str | Path) -> Inspection:
    """Look at weights without needing them to fit anything; the arguments are those of `verify`.

    Raises:
        WeightsError: there is no such file or folder, or nothing in it to look at.
    """
    path = Path(weights).expanduser()
    if path.is_file() and path.suffix != ".ckpt":
        rows = (_row(path, _network_by_name(path)),)
        kind, provenance = "one weight file", _origin(path, {})
    else:
        sets = sets_below(path) if path.is_dir() else []
        path = path if len(sets) > 1 else resolve_weights(weights)
        if path.is_file():
            rows, kind, provenance = _checkpoint_rows(path)
        else:
            rows, kind, provenance = _folder_rows(path, sets if len(sets) > 1 else [path])
    fault = ""
    try:
        for _ in verify(path):
            pass
    except WeightsError as error:
        fault = str(error)
    return Inspection(path=path, kind=kind, rows=rows, provenance=provenance, fault=fault)


def _verified(file: Path, child: str, config: LivePortraitConfig, found: WeightsFolder) -> Verified:
    known = found.check_sum(file)
    state = network_state(child, read_state(file), file)
    fill(empty_model(config), child, state, file)
    return Verified(file, child, len(state), file.stat().st_size, known or "none known")


def _verified_file(path: Path) -> Verified:
    """One file, judged by the model.json or the lock of its folder; official size without them."""
    state = read_state(path)
    child = _network_by_name(path)
    if child == "unknown":
        child = _network_by_entries(state)
    if child == "unknown":
        raise WeightsError(
            f"{path} is no file of this model: neither its name nor its entries ({_first(state)}) are known; give one "
            f"of {', '.join(STEMS.values())}"
        )
    home = path.parent.parent if path.parent.name.startswith(("base_models", "retargeting_models")) else path.parent
    card = read_card(home)
    found = WeightsFolder(folder=home, files={child: path}, card=card, card_dir=home if card else None)
    return _verified(path, child, found.config, found)


def _verified_checkpoint(path: Path) -> Iterator[Verified]:
    checkpoint = read_checkpoint(path)
    model = empty_model(checkpoint.config)
    for child in STEMS:
        state = checkpoint.part(child)
        fill(model, child, state, path)
        num_bytes = sum(value.nbytes for value in state.values())
        yield Verified(path, child, len(state), num_bytes, "none known")


def _folder_rows(path: Path, sets: list[Path]) -> tuple[tuple[FileRow, ...], str, dict[str, Any]]:
    rows: dict[Path, FileRow] = {}
    card: dict[str, Any] = {}
    names = []
    for target in sets:
        try:
            found = open_folder(target)
            names.append(f"{found.config.name} size" if found.card else "official size, as there is no model.json")
        except WeightsError:  # a damaged model.json: `fault` says so, the files are shown all the same
            found = open_folder(target, with_card=False)
            names.append("unknown size")
        card = found.card
        for child in STEMS:
            if file := found.files.get(child):
                rows.setdefault(file.resolve(), _row(file, child))
    if not rows:
        open_folder(path, with_card=False).file("appearance")  # raises: there is nothing to look at
    size = names[0] if len(set(names)) == 1 else " and ".join(names)
    what = f"{len(sets)} models" if len(sets) > 1 else "weights directory"
    return tuple(rows.values()), f"{what}, {size}", _origin(path, card)


def _checkpoint_rows(path: Path) -> tuple[tuple[FileRow, ...], str, dict[str, Any]]:
    try:
        checkpoint = read_checkpoint(path)
    except WeightsError as error:
        row = FileRow(
            path=path, network="unknown", num_bytes=path.stat().st_size, sha256=sha256_of(path), fault=str(error)
        )
        return (row,), "no checkpoint of lp-finetune", {}
    digest = sha256_of(path)
    rows = []
    for child in STEMS:
        state = checkpoint.part(child)
        num_bytes = sum(value.nbytes for value in state.values())
        rows.append(
            FileRow(path=path, network=child, num_bytes=num_bytes, sha256=digest, tensors=tuple(_tensors(state)))
        )
    return tuple(rows), f"checkpoint of lp-finetune, {checkpoint.config.name} size", checkpoint.provenance()


def _row(path: Path, child: str) -> FileRow:
    num_bytes, digest = path.stat().st_size, sha256_of(path)
    try:
        state = read_state(path, mapped=True)
    except WeightsError as error:
        return FileRow(path=path, network=child, num_bytes=num_bytes, sha256=digest, fault=str(error))
    network = child if child != "unknown" else _network_by_entries(state)
    return FileRow(path=path, network=network, num_bytes=num_bytes, sha256=digest, tensors=tuple(_tensors(state)))


def _tensors(state: dict[str, Any], prefix: str = "") -> Iterator[TensorRow]:
    for key, value in state.items():
        if isinstance(value, dict):
            yield from _tensors(value, f"{prefix}{key}/")
        elif isinstance(value, Tensor):
            yield TensorRow(f"{prefix}{key}", tuple(value.shape), str(value.dtype).removeprefix("torch."))


def _network_by_name(path: Path) -> str:
    return next((child for child, stem in STEMS.items() if path.stem == stem), "unknown")


def _network_by_entries(state: dict[str, Any]) -> str:
    names = [str(key).removeprefix("module.") for key in state]
    for child, marks in MARKS.items():
        if any(name.startswith(marks) for name in names):
            return child
    return "unknown"


def _first(names: Iterable[object]) -> str:
    return next((f"the first is {name}" for name in names), "there are none")


def _origin(path: Path, card: dict[str, Any]) -> dict[str, Any]:
    """Where weights come from, according to model.json or the lock."""
    if card:
        species = {"species": card["species"]} if card.get("species") else {}
        return {"told by": CARD, **species, **card.get("provenance", {})}
    if (found := lock_above(path)) is None:
        return {}
    root, lock = found
    return {"told by": str(root / LOCK), "repo": lock.repo, "revision": lock.revision}
