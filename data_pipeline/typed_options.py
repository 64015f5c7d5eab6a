"""Words `name=value` -> a record of options, for programs without a config group."""

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

Record = TypeVar("Record")


def read_options(kind: type[Record], words: Sequence[str], program: str) -> Record:
    """The record that the words describe; fields without a default must be given.

    Raises:
        ValueError: a word is not an option, a value does not fit, or something is missing.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    record: Any = kind
    fields = {field.name: field for field in dataclasses.fields(record)}
    names = ", ".join(fields)
    for word in words:
        if word.split("=")[0] not in fields or "=" not in word:
            raise ValueError(f"{program} has no option {word!r}; write name=value with one of {names}")
    try:
        given = OmegaConf.to_container(OmegaConf.merge(OmegaConf.structured(record), OmegaConf.from_cli(list(words))))
    except OmegaConfBaseException as error:
        raise ValueError(f"{program}: {str(error).splitlines()[0]}") from error
    assert isinstance(given, dict)
    if missing := [name for name, value in given.items() if value == "???"]:
        raise ValueError(f"{program} needs {missing[0]}=…")
    return kind(**{str(name): value for name, value in given.items()})
