"""A weights directory <-> a model; strict, without ever unpickling anything but tensors.

A directory of ours holds five `<official stem>.safetensors` and `model.json`. The official layouts are read too: the
same stems as `.pth`, flat or below `base_models/` and `retargeting_models/`; a directory without `model.json` is taken
to be of official size.
"""

import hashlib
import json
import os
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lp_models.config import LivePortraitConfig
from lp_models.portrait import LivePortrait

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
SUBFOLDERS = ("", "base_models_v1.1", "base_models", "retargeting_models", "../liveportrait/retargeting_models")
"""Where a stem may lie. The last one: upstream drives animals with the human stitching file of the sibling folder."""
STARTER = Path(__file__).resolve().parent / "starter"

StateDict = dict[str, Tensor]


class WeightsError(ValueError):
    """A weights directory cannot be used; one sentence names the file, the fault and the remedy."""


def resolve_weights(name_or_dir: str | Path) -> Path:
    """`starter` -> the weights shipped with the package; anything else must be a directory.

    Raises:
        WeightsError: there is no such directory.
    """
    if str(name_or_dir) == "starter":
        if not (STARTER / "model.json").is_file():
            raise WeightsError(
                f"{STARTER}: this installation has no starter weights; give the path of a weights directory"
            )
        return STARTER
    path = Path(name_or_dir).expanduser()
    if str(name_or_dir) == "official" and not path.is_dir():
        raise WeightsError(
            "the official weights are not shipped; download them and give the directory that holds base_models/"
        )
    if not path.is_dir():
        raise WeightsError(f"{path} is not a directory; give a weights directory or the name starter")
    return path


def save_pretrained(
    model: LivePortrait, directory: str | Path, extra: dict[str, Any] | None = None, dtype: torch.dtype = torch.float32
) -> Path:
    """Write the five weight files, then model.json; files appear whole.

    Args:
        model: any size.
        directory: made if needed; a former export in it is replaced.
        extra: goes into model.json: `species` (list of names) beside the config, everything else as `provenance`.
        dtype: of the floating-point tensors in the files; float16 halves them. Loading always gives float32.

    Returns:
        The directory.

    Raises:
        WeightsError: a weight is not finite, or overflows in `dtype`.
    """
    from safetensors.torch import save_file

    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    card = dict(extra or {})
    parts: dict[str, Path] = {}
    for child, stem in STEMS.items():
        name = f"{stem}.safetensors"
        state = {
            key: (value.to(dtype) if value.is_floating_point() else value).detach().cpu().contiguous()
            for key, value in _file_state(model, child).items()
        }
        _check_finite(state, folder / name, "train with a lower learning rate, or save as float32")
        parts[name] = folder / f"{name}.part"
        save_file(state, parts[name], metadata={"format": "pt"})
    content = {
        "format": FORMAT,
        "config": model.config.as_dict(),
        "dtype": str(dtype).removeprefix("torch."),
        "species": list(card.pop("species", [])),
        "provenance": card,
        "files": {name: {"sha256": _sha256(part), "bytes": part.stat().st_size} for name, part in parts.items()},
    }
    parts["model.json"] = folder / "model.json.part"
    parts["model.json"].write_text(json.dumps(content, indent=2) + "\n")
    for name, part in parts.items():
        os.replace(part, folder / name)  # noqa: PTH105  (house rule: write, then os.replace)
    return folder


def save_official(model: LivePortrait, directory: str | Path) -> Path:
    """Write `.pth` files in the layout that upstream's code loads: base_models/ and retargeting_models/."""
    folder = Path(directory)
    for child, stem in STEMS.items():
        module: nn.Module = getattr(model, child)
        sub = "retargeting_models" if child == "stitching" else "base_models"
        path = folder / sub / f"{stem}.pth"
        path.parent.mkdir(parents=True, exist_ok=True)
        if child == "stitching":
            state: Any = {
                name: {f"module.{key}": value.cpu() for key, value in module.get_submodule(part).state_dict().items()}
                for part, name in STITCHING_PARTS.items()
            }
        else:
            state = {key: value.cpu() for key, value in module.state_dict().items()}
        part_path = path.with_name(path.name + ".part")
        torch.save(state, part_path)
        os.replace(part_path, path)  # noqa: PTH105
    return folder


def load_pretrained(directory: str | Path, device: str | torch.device = "cpu") -> LivePortrait:
    """Read a weights directory (ours or the official layout) into a float32 model in eval mode.

    Raises:
        WeightsError: a file is missing, damaged, unsafe, or does not fit the model; one sentence says which and
            what to do.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise WeightsError(f"{folder} is not a directory; give the directory that holds the weight files")
    card = read_card(folder)
    config = LivePortraitConfig.from_dict(card["config"]) if card else LivePortraitConfig.named("official")
    with torch.device("meta"):
        model = LivePortrait(config)
    for child, stem in STEMS.items():
        path = _find(folder, stem)
        _check_sum(path, card)
        state = read_state(path)
        state = _stitching_state(state, path) if child == "stitching" else _plain_state(state)
        _fit(getattr(model, child), state, path, config.name)
    return model.to(device).eval()


def read_card(directory: str | Path) -> dict[str, Any]:
    """The content of model.json (config, species, provenance, files); empty if the directory has none.

    Raises:
        WeightsError: the file is damaged or of a newer format.
    """
    path = Path(directory) / "model.json"
    if not path.is_file():
        return {}
    try:
        card = json.loads(path.read_text())
        config, number = card["config"], card["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{path} is damaged ({_one_line(error)}); export or download the weights again") from error
    if number != FORMAT:
        raise WeightsError(f"{path} has format {number}, this version reads {FORMAT}; update pawtrait")
    try:
        LivePortraitConfig.from_dict(config)
    except (ValueError, AttributeError) as error:
        raise WeightsError(f"{path} does not describe a model: {_one_line(error)}; export the weights again") from error
    return card


def read_state(path: Path) -> dict[str, Any]:
    """The tensors of one `.safetensors` or `.pth` file, on the CPU.

    Raises:
        WeightsError: the file is not a complete file of tensors, or holds something else than tensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    _check_head(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            # torch warns about old pickle protocols before it refuses them; the error below says it better.
            warnings.simplefilter("ignore", UserWarning)
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} was refused: it holds something other than tensors, which could run code; use files from the "
            "publisher or a .safetensors conversion"
        ) from error
    except (SafetensorError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise WeightsError(f"{path} is damaged or cut off ({_one_line(error)}); download or export it again") from error
    if not isinstance(state, dict):
        raise WeightsError(
            f"{path} holds a {type(state).__name__}, not named tensors; use an official or exported file"
        )
    return state


def _find(folder: Path, stem: str) -> Path:
    for sub in SUBFOLDERS:
        for suffix in (".safetensors", ".pth"):
            path = folder / sub / f"{stem}{suffix}"
            if path.is_file():
                return path
    raise WeightsError(
        f"{folder} has no {stem}.safetensors or {stem}.pth (nor below base_models/ or retargeting_models/); "
        "export or download the complete set of five files"
    )


def _check_head(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(64).lstrip()
    if not head:
        raise WeightsError(f"{path} is empty; download or export it again")
    if head.startswith(b"<"):
        raise WeightsError(f"{path} is a web page, not weights; the download was answered with HTML: download it again")
    if head.startswith(b"version https://git-lfs"):
        raise WeightsError(f"{path} is a git-lfs pointer, not weights; fetch the real file with git lfs pull")


def _check_sum(path: Path, card: dict[str, Any]) -> None:
    known = card.get("files", {}).get(path.name, {}).get("sha256")
    if known and known != _sha256(path):
        raise WeightsError(
            f"{path} is not the file that model.json was written with (sha256 differs): it was changed or cut off; "
            "export or download the weights again"
        )


def _check_finite(state: StateDict, path: Path, remedy: str) -> None:
    for key, value in state.items():
        if not bool(value.isfinite().all()):
            raise WeightsError(f"{path}: {key} holds numbers that are not finite; {remedy}")


def _file_state(model: LivePortrait, child: str) -> StateDict:
    """The tensors of one file: official names, the stitching parts in the flat form of public conversions."""
    module: nn.Module = getattr(model, child)
    if child != "stitching":
        return dict(module.state_dict())
    return {
        f"{name}_module.{key}": value
        for part, name in STITCHING_PARTS.items()
        for key, value in module.get_submodule(part).state_dict().items()
    }


def _plain_state(state: dict[str, Any]) -> dict[str, Any]:
    """Data-parallel training leaves `module.` before every name."""
    return {key.removeprefix("module."): value for key, value in state.items()}


def _stitching_state(state: dict[str, Any], path: Path) -> dict[str, Any]:
    """Nested (official) or flat (converted) parts -> the names of our stitching module; other entries are ignored."""
    result: dict[str, Any] = {}
    for part, name in STITCHING_PARTS.items():
        entries = dict(_part_entries(state, name))
        if not entries:
            raise WeightsError(f"{path} has no part {name}; use the complete stitching_retargeting_module file")
        result |= {f"{part}.{key}": value for key, value in entries.items()}
    return result


def _part_entries(state: dict[str, Any], name: str) -> Iterator[tuple[str, Any]]:
    nested = state.get(name)
    if isinstance(nested, dict):
        yield from ((key.replace("module.", ""), value) for key, value in nested.items())
    for key, value in state.items():
        for prefix in (f"{name}_module.", f"{name}."):
            if key.startswith(prefix):
                yield key.removeprefix(prefix).replace("module.", ""), value
                break


def _fit(module: nn.Module, state: dict[str, Any], path: Path, config_name: str) -> None:
    """Load strictly; floating-point values become float32."""
    wanted = module.state_dict()
    if missing := [key for key in wanted if key not in state]:
        raise WeightsError(
            f"{path} lacks {_listed(missing)}; it is not a {config_name} file of this kind: give another one"
        )
    if unexpected := [key for key in state if key not in wanted]:
        raise WeightsError(f"{path} has unknown {_listed(unexpected)}; is it a {config_name} file? Check model.json")
    for key, target in wanted.items():
        value = state[key]
        if not isinstance(value, Tensor) or value.shape != target.shape:
            found = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise WeightsError(
                f"{path}: {key} is {found}, the {config_name} model wants {list(target.shape)}; "
                "use weights of this size or the config they were made with"
            )
    tensors = {key: state[key].to(target.dtype) for key, target in wanted.items()}
    _check_finite(tensors, path, "the training had diverged: use an earlier checkpoint")
    module.load_state_dict(tensors, strict=True, assign=True)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
