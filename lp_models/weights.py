"""A weights directory or a checkpoint file <-> a model: strict both ways."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lp_models.checkpoint import read_checkpoint
from lp_models.config import LivePortraitConfig
from lp_models.layout import CARD, FORMAT, STARTER, STEMS, STITCHING_PARTS, open_folder, read_card, resolve_weights
from lp_models.portrait import LivePortrait
from lp_models.state_files import (
    WeightsError,
    check_finite,
    pth_bytes,
    read_state,
    safetensors_bytes,
    staged,
)

__all__ = [
    "STARTER",
    "STEMS",
    "STITCHING_PARTS",
    "WeightsError",
    "load_pretrained",
    "read_card",
    "read_state",
    "resolve_weights",
    "save_official",
    "save_pretrained",
]

StateDict = dict[str, Tensor]
Layout = Literal["ours", "official"]


def load_pretrained(weights: str | Path, device: str | torch.device = "cpu") -> LivePortrait:
    """Read weights into a float32 model in eval mode; later changes of the files do not reach it.

    Args:
        weights: whatever `resolve_weights` takes: a name, a directory (ours or in an official layout), or a checkpoint
            of lp-finetune, of which the moving average is taken.
        device: where the model goes.

    Raises:
        WeightsError: a file is missing, damaged, unsafe, or does not fit the model; one sentence says which and
            what to do.
    """
    path = resolve_weights(weights)
    if path.is_file():
        checkpoint = read_checkpoint(path)
        model = empty_model(checkpoint.config)
        for child in STEMS:
            fill(model, child, checkpoint.part(child), path)
        return model.to(device).eval()
    found = open_folder(path)
    model = empty_model(found.config)
    for child in STEMS:
        file = found.file(child)
        found.check_sum(file)
        fill(model, child, network_state(child, read_state(file), file), file)
    return model.to(device).eval()


def save_pretrained(
    model: LivePortrait, directory: str | Path, extra: dict[str, Any] | None = None, dtype: torch.dtype = torch.float32
) -> Path:
    """Write five `.safetensors` files and model.json; all of them appear, or none.

    Args:
        model: any size.
        directory: made if needed; a former export in it is replaced.
        extra: goes into model.json: `species` (list of names) beside the config, everything else as `provenance`.
        dtype: of the floating-point tensors in the files; float16 halves them. Loading always gives float32.

    Returns:
        The directory.

    Raises:
        WeightsError: a weight is not finite, or overflows in `dtype`, or a file cannot be written.
    """
    return _save(model, Path(directory), "ours", extra, dtype)


def save_official(
    model: LivePortrait, directory: str | Path, extra: dict[str, Any] | None = None, dtype: torch.dtype = torch.float32
) -> Path:
    """Write `.pth` files that upstream's code loads, in base_models/ and retargeting_models/, and model.json.

    Upstream ignores model.json; it makes the folder loadable here at any size, and checkable.

    Args, returned value and errors are those of `save_pretrained`.
    """
    return _save(model, Path(directory), "official", extra, dtype)


def file_contents(model: LivePortrait, layout: Layout, dtype: torch.dtype, folder: Path) -> Iterator[tuple[str, bytes]]:
    """The five weight files of a model, one at a time: name below the folder, content.

    Raises:
        WeightsError: a weight is not finite, or overflows in `dtype`; the message names the file in `folder`.
    """
    for child, stem in STEMS.items():
        sub = "retargeting_models" if child == "stitching" else "base_models"
        name = f"{stem}.safetensors" if layout == "ours" else f"{sub}/{stem}.pth"
        state = _flat(model, child)
        state = {key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}
        check_finite(state, folder / name, "train with a lower learning rate, or save as float32")
        if layout == "ours":
            yield name, safetensors_bytes(state)
        elif child == "stitching":
            parts = {part: dict(_part_entries(state, part)) for part in STITCHING_PARTS.values()}
            yield name, pth_bytes({part: {f"module.{k}": v for k, v in parts[part].items()} for part in parts})
        else:
            yield name, pth_bytes(state)


def empty_model(config: LivePortraitConfig) -> LivePortrait:
    """A model without numbers, to be filled."""
    with torch.device("meta"):
        return LivePortrait(config)


def network_state(child: str, content: dict[str, Any], path: Path) -> dict[str, Any]:
    """What a weight file holds -> the entries of one network of ours, under our names.

    Raises:
        WeightsError: a part of the stitching file is missing.
    """
    if child != "stitching":
        # Data-parallel training leaves `module.` before every name.
        return {key.removeprefix("module."): value for key, value in content.items()}
    result: dict[str, Any] = {}
    for part, name in STITCHING_PARTS.items():  # other entries of that file are upstream's own business
        entries = dict(_part_entries(content, name))
        if not entries:
            raise WeightsError(f"{path} has no part {name}; use the complete stitching_retargeting_module file")
        result |= {f"{part}.{key}": value for key, value in entries.items()}
    return result


def fill(model: LivePortrait, child: str, state: dict[str, Any], path: Path) -> None:
    """Put the entries of one network into the model, strictly; floating-point values become float32 copies.

    Raises:
        WeightsError: a name, a shape or a type does not fit, or a number is not finite.
    """
    module: nn.Module = model.get_submodule(child)
    wanted, name = module.state_dict(), model.config.name
    if missing := [key for key in wanted if key not in state]:
        raise WeightsError(
            f"{path} lacks {_listed(missing)}; it is no such file of {name} size: give another one, or the model.json "
            "that belongs to it"
        )
    if unexpected := [key for key in state if key not in wanted]:
        raise WeightsError(f"{path} has unknown {_listed(unexpected)}; is it of {name} size? Check model.json")
    for key, target in wanted.items():
        value = state[key]
        if not isinstance(value, Tensor) or value.shape != target.shape:
            found = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise WeightsError(
                f"{path}: {key} is {found}, the {name} model wants {list(target.shape)}; use weights of this size or "
                "the config they were made with"
            )
        if not _is_plain(value) or value.is_floating_point() != target.is_floating_point():
            raise WeightsError(
                f"{path}: {key} is a {value.layout} tensor of {value.dtype}, the model wants {target.dtype}; use "
                "weights that are not compressed"
            )
    # A copy: what torch maps from a file changes with the file.
    tensors = {key: state[key].to(target.dtype, copy=True) for key, target in wanted.items()}
    check_finite(tensors, path, "the training had diverged: use an earlier checkpoint")
    module.load_state_dict(tensors, strict=True, assign=True)


def _flat(model: LivePortrait, child: str) -> StateDict:
    """The tensors of one file: official names, the stitching parts in the flat form of public conversions."""
    module: nn.Module = model.get_submodule(child)
    if child != "stitching":
        return dict(module.state_dict())
    return {
        f"{name}_module.{key}": value
        for part, name in STITCHING_PARTS.items()
        for key, value in module.get_submodule(part).state_dict().items()
    }


def _save(model: LivePortrait, folder: Path, layout: Layout, extra: dict[str, Any] | None, dtype: torch.dtype) -> Path:
    provenance = dict(extra or {})
    card = {
        "format": FORMAT,
        "config": model.config.as_dict(),
        "dtype": str(dtype).removeprefix("torch."),
        "species": list(provenance.pop("species", [])),
        "provenance": provenance,
    }
    files: dict[str, Any] = {}
    with staged(folder) as aside:
        for name, content in file_contents(model, layout, dtype, folder):
            aside(name).write_bytes(content)
            files[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        aside(CARD).write_text(json.dumps(card | {"files": files}, indent=2) + "\n")
    return folder


def _part_entries(state: dict[str, Any], name: str) -> Iterator[tuple[str, Any]]:
    """The entries of one part of the stitching file, nested (official) or flat (converted)."""
    nested = state.get(name)
    if isinstance(nested, dict):
        yield from ((str(key).replace("module.", ""), value) for key, value in nested.items())
    for key, value in state.items():
        for prefix in (f"{name}_module.", f"{name}."):
            if key.startswith(prefix):
                yield key.removeprefix(prefix).replace("module.", ""), value
                break


def _is_plain(value: Tensor) -> bool:
    return value.layout == torch.strided and not value.is_quantized and not value.is_complex()


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
