"""A program's user mistakes -> one sentence on stderr and an exit code, never a traceback."""

import contextlib
import functools
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, ParamSpec

from data_pipeline.threads import share_cores

if TYPE_CHECKING:
    from omegaconf import Container

P = ParamSpec("P")
_OVERRIDE = re.compile(r"Could not override '(.+?)'")


def user_errors(program: Callable[P, None]) -> Callable[P, None]:
    """Wrap a program's body: bad values, files and options print `error: …` and exit 1; Ctrl-C exits 130.

    Inside `hydra.main` (written below it) it catches what the program raises. Around it (the entry point that calls it,
    or written above it too) it catches what Hydra says about options it cannot compose, and names the nearest one.
    `PAWTRAIT_DEBUG=1` shows the traceback instead, for whoever is changing the code.
    """

    @functools.wraps(program)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        from hydra.errors import HydraException
        from omegaconf.errors import OmegaConfBaseException

        share_cores()  # every program passes here before it loads torch
        try:
            with _hydra_raises():
                program(*args, **kwargs)
        except KeyboardInterrupt:
            print("stopped; run the same command again to go on", file=sys.stderr)  # noqa: T201
            sys.exit(130)
        except (ValueError, OSError, HydraException, OmegaConfBaseException) as error:
            if os.environ.get("PAWTRAIT_DEBUG"):
                raise
            print(f"error: {_sentence(error)}", file=sys.stderr)  # noqa: T201
            sys.exit(1)

    return run


@contextlib.contextmanager
def _hydra_raises() -> Iterator[None]:
    """Let Hydra raise what it would print in several lines, so that it reaches the wrapper."""
    name = "HYDRA_FULL_ERROR"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _sentence(error: Exception) -> str:
    from hydra.errors import MissingConfigException, OverrideParseException
    from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue

    if isinstance(error, MissingMandatoryValue):
        option = getattr(error, "full_key", None) or " ".join(str(error).split())
        return f"the option {option} is required: give it as {option}=VALUE (see --help)"
    if isinstance(error, OverrideParseException):
        return f"{error.override} is not name=value; put a value with spaces, commas or brackets in 'single quotes'"
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        near = _nearest(name, error.options)
        hint = f"did you mean {near}" if near else f"choose from {', '.join(error.options)}"
        return f"{group}={name} does not exist; {hint}"
    cause = error.__cause__
    override = _OVERRIDE.match(str(error))
    if override and isinstance(cause, ConfigKeyError | ConfigAttributeError):
        option, inner = override.group(1), str(cause.full_key or "")
        # In source.columns={bogus: x} it is the inner name that does not exist.
        return _unknown_option(inner if inner.startswith(f"{option}.") else option, cause.parent_node)
    return " ".join(str(error).split())


def _unknown_option(option: str, node: "Container | None") -> str:
    root = node._get_root() if node is not None else None
    near = _nearest(option, _names(root) if root is not None else [])
    parent, _, name = option.rpartition(".")
    if parent and _is_free(root, parent):
        return f"the option {option} is unknown; give all of {parent} at once: '{parent}={{{name}: VALUE}}'"
    hint = near if near and not option.startswith(f"{near}.") else ""
    return f"the option {option} is unknown; " + (f"did you mean {hint}" if hint else "--help lists the options")


def _is_free(root: "Container | None", option: str) -> bool:
    """Whether an option takes names of the user's own: its default is none, and it builds nothing."""
    from omegaconf import OmegaConf

    value = OmegaConf.select(root, option, default="") if root is not None else ""
    return value is None or (OmegaConf.is_dict(value) and "_target_" not in value and option.count(".") > 0)


def _names(root: "Container") -> list[str]:
    """Dotted names of all options of a config, groups included, Hydra's own left out."""
    from omegaconf import DictConfig

    found: list[str] = []

    def walk(node: DictConfig, prefix: str) -> None:
        for key in node if not node._is_missing() and not node._is_none() else ():
            name = f"{prefix}{key}"
            if name != "hydra":
                found.append(name)
                child = node._get_node(key)
                if isinstance(child, DictConfig):
                    walk(child, f"{name}.")

    if isinstance(root, DictConfig):
        walk(root, "")
    return found


def _nearest(name: str, options: Sequence[str]) -> str:
    """The option that the user may have meant; an empty text when none is near."""
    import difflib

    if near := difflib.get_close_matches(name, options, n=1, cutoff=0.75):
        return near[0]
    # min_sharpness alone, or in the wrong place: look for the last word.
    last = name.rpartition(".")[2]
    by_word = {option.rpartition(".")[2]: option for option in reversed(options)}
    near = difflib.get_close_matches(last, list(by_word), n=1, cutoff=0.8)
    return by_word[near[0]] if near else ""
