"""A local weights file -> a frozen network, strictly, or one sentence that says what does not fit."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from lp_models.state_files import WeightsError, read_state

Net = TypeVar("Net", bound=nn.Module)
WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training programs hide a state dict."""
COUNTER = "num_batches_tracked"
"""Of batch norms; files written before torch 0.4.1 have none, and no result depends on it."""


class TeacherError(ValueError):
    """A teacher cannot be used; one sentence names the option, the file, the fault and the remedy."""


def existing_file(path: Path | str, option: str, wanted: str) -> Path:
    """The path with ~ resolved.

    Raises:
        TeacherError: there is no such file.
    """
    found = Path(path).expanduser()
    if not found.is_file():
        raise TeacherError(f"{option}={found} does not exist; give {wanted}")
    return found


def fill_from_file(
    net: Net, path: Path | str, option: str, wanted: str, rename: Callable[[str], str | None] | None = None
) -> Net:
    """Put a `.safetensors` or `.pth` state dict into a network; nothing is unpickled but tensors.

    Args:
        net: gets the numbers, loses its gradients, and is put into eval mode.
        path: the file.
        option: its name, for messages.
        wanted: which file is meant, for messages.
        rename: name in the file -> name in the network, or None to leave the entry out.

    Raises:
        TeacherError: the file is missing, damaged, unsafe, or a name or shape does not fit.
    """
    file = existing_file(path, option, wanted)
    try:
        state = read_state(file)
    except WeightsError as error:
        raise TeacherError(f"{option}: {error}") from error
    for wrapper in WRAPPERS:
        if isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    found = {}
    for key, value in state.items():
        name = key.removeprefix("module.")
        name = name if rename is None else rename(name)
        if name is not None:
            found[name] = value
    own = net.state_dict()
    found |= {key: value for key, value in own.items() if key.endswith(COUNTER) and key not in found}
    if fault := _fault(found, own):
        raise TeacherError(f"{option}={file} {fault}; give {wanted}")
    net.load_state_dict(found)
    return net.requires_grad_(False).eval()


def _fault(found: Mapping[str, object], own: Mapping[str, Tensor]) -> str:
    """What is wrong with a state dict; empty when it fits."""
    if missing := [key for key in own if key not in found]:
        return f"lacks {missing[0]} ({len(missing)} entries in all)"
    if unknown := [key for key in found if key not in own]:
        return f"has unknown {unknown[0]} ({len(unknown)} entries in all)"
    for key, value in own.items():
        given = found[key]
        if not isinstance(given, Tensor) or given.shape != value.shape:
            shape = list(given.shape) if isinstance(given, Tensor) else type(given).__name__
            return f"is of another size: {key} is {shape}, not {list(value.shape)}"
        if not bool(given.isfinite().all()):
            return f"is not usable: {key} holds numbers that are not finite"
    return ""
