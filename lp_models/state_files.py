"""One weight file <-> named tensors: read without ever unpickling anything but tensors, written whole or not at all."""

import contextlib
import hashlib
import io
import os
import pickle
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SUFFIXES = (".safetensors", ".pth")
"""Of weight files; where both lie side by side, the first is taken."""


class WeightsError(ValueError):
    """Weights cannot be used or written; one sentence names the file, the fault and the remedy."""


def read_state(path: Path, *, mapped: bool = False) -> dict[str, Any]:
    """The content of one `.safetensors`, `.pth` or `.ckpt` file, on the CPU.

    Args:
        path: the file; what does not end in `.safetensors` is read as torch's format.
        mapped: leave the numbers on the disk until they are used. Whoever keeps them must copy them.

    Raises:
        WeightsError: the file is not a complete file of tensors, or holds something else than tensors.
    """
    head = check_head(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        with warnings.catch_warnings():
            # torch warns about old pickle protocols before it refuses them; the error below says it better.
            warnings.simplefilter("ignore", UserWarning)
            is_zip = head.startswith(b"PK")  # only this form can be mapped
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True if mapped and is_zip else None)
    except Exception as error:  # damaged files make torch raise about ten kinds
        if isinstance(error, pickle.UnpicklingError) and "truncated" not in str(error):
            raise WeightsError(
                f"{path} was refused: it is damaged or holds something other than tensors, which could run code; use "
                "files from the publisher or a .safetensors conversion"
            ) from error
        raise WeightsError(f"{path} is damaged or cut off ({one_line(error)}); download or export it again") from error
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        what = "entries without names" if isinstance(state, dict) else f"a {type(state).__name__}"
        raise WeightsError(f"{path} holds {what}, not named tensors; use an official or exported file")
    return state


def check_head(path: Path) -> bytes:
    """The first bytes of a file that may hold weights.

    Raises:
        WeightsError: it is empty or unreadable, or what a failed download leaves: a web page or a git-lfs pointer.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}); check the path and its permissions") from error
    text = head.lstrip()
    if not text:
        raise WeightsError(f"{path} is empty; download or export it again")
    # A letter must follow: a safetensors file may begin with the byte of "<" as the length of its header.
    if re.match(rb"<[!?a-zA-Z]", text):
        raise WeightsError(f"{path} is a web page, not weights; the download was answered with HTML: download it again")
    if text.startswith(b"version https://git-lfs"):
        raise WeightsError(f"{path} is a git-lfs pointer, not weights; fetch the real file with git lfs pull")
    return head


def safetensors_bytes(state: Mapping[str, Tensor]) -> bytes:
    """Named tensors -> the content of a `.safetensors` file; the same tensors give the same bytes."""
    from safetensors.torch import save

    # Not save_file: that one makes files which nobody else may read.
    return save({key: _compact(value) for key, value in state.items()}, metadata={"format": "pt"})


def pth_bytes(state: Mapping[str, Any]) -> bytes:
    """Named tensors, or parts of them -> the content of a `.pth` file; the same tensors give the same bytes."""
    content = {
        key: _compact(value) if isinstance(value, Tensor) else {k: _compact(v) for k, v in value.items()}
        for key, value in state.items()
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Callable[[str], Path]]:
    """Write several files aside; when the block ends well they take their names, in the order they were asked for.

    Yields:
        A function: name below `folder`, perhaps with subfolders -> the path to write to.

    Raises:
        WeightsError: a file cannot be written (disk full, no permission); what was written aside is removed.
    """
    parts: dict[Path, Path] = {}
    last = folder

    def aside(name: str) -> Path:
        nonlocal last
        last = folder / name
        last.parent.mkdir(parents=True, exist_ok=True)
        parts[last] = last.with_name(last.name + ".part")
        return parts[last]

    try:
        yield aside
        for path, part in parts.items():
            os.replace(part, path)  # noqa: PTH105  (house rule: write, then os.replace)
    except OSError as error:
        raise WeightsError(
            f"{last} could not be written ({error.strerror or one_line(error)}); free some space or give another folder"
        ) from error
    finally:
        for part in parts.values():
            with contextlib.suppress(OSError):
                part.unlink()


def check_finite(state: Mapping[str, Tensor], path: Path, remedy: str) -> None:
    """Refuse numbers that are not finite.

    Raises:
        WeightsError: names the first such tensor and the remedy.
    """
    for key, value in state.items():
        if not bool(value.isfinite().all()):
            raise WeightsError(f"{path}: {key} holds numbers that are not finite; {remedy}")


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def one_line(error: BaseException) -> str:
    """The beginning of an error's text, without line breaks."""
    return " ".join(str(error).split())[:120] or type(error).__name__


def _compact(value: Tensor) -> Tensor:
    """A copy on the CPU that shares its memory with nothing: a view would be saved with everything around it."""
    return value.detach().to("cpu", copy=True).contiguous()
