"""Every composed config can build what it names: each `_target_` node's keys and types fit the real signature."""

import inspect
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from beartype.door import is_bearable
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

CONF = Path(__file__).resolve().parent.parent / "conf"
ENTRIES = sorted(path.stem for path in CONF.glob("*.yaml"))
GROUPS = sorted(path for path in CONF.glob("*/*.yaml"))


def problems(node: Any, where: str = "cfg") -> list[str]:
    """One line for each `_target_` node that could not be called with its own keys."""
    if isinstance(node, list):
        return [line for i, item in enumerate(node) for line in problems(item, f"{where}[{i}]")]
    if not isinstance(node, dict):
        return []
    found = [line for key, value in node.items() for line in problems(value, f"{where}.{key}")]
    if "_target_" not in node:
        return found
    target = get_object(node["_target_"])
    parameters = inspect.signature(target).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    given = {key: value for key, value in node.items() if not (key.startswith("_") and key.endswith("_"))}
    if not takes_any:
        found += [
            f"{where}.{key}: {node['_target_']} takes no such argument" for key in given.keys() - parameters.keys()
        ]
    if not node.get("_partial_"):
        required = [
            name
            for name, p in parameters.items()
            if p.default is inspect.Parameter.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        ]
        found += [f"{where}: {node['_target_']} needs {name}" for name in required if name not in given]
    hints = get_type_hints(target.__init__ if inspect.isclass(target) else target)
    for key, value in given.items():
        nested = isinstance(value, dict | list) and "_target_" in str(value)
        if key in hints and not nested and value != "???" and not fits(value, hints[key]):
            found.append(f"{where}.{key}: {value!r} is not {hints[key]}")
    return found


def fits(value: Any, hint: Any) -> bool:
    """YAML has neither tuples nor paths, and writes 1 for 1.0."""
    candidates = [value]
    if isinstance(value, list):
        candidates += [tuple(value), tuple(tuple(v) if isinstance(v, list) else v for v in value)]
    if isinstance(value, str):
        candidates.append(Path(value))
    if isinstance(value, int) and not isinstance(value, bool):
        candidates.append(float(value))
    return any(is_bearable(candidate, hint) for candidate in candidates)


def composed(entry: str, overrides: list[str] | None = None) -> DictConfig:
    GlobalHydra.instance().clear()
    with initialize_config_module(version_base="1.3", config_module="conf"):
        return compose(entry, overrides or [])


def plain(config: DictConfig) -> Any:
    return OmegaConf.to_container(config, resolve=False)


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_composes_to_callable_nodes(entry: str) -> None:
    assert problems(plain(composed(entry))) == []


@pytest.mark.parametrize("path", GROUPS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_group_option_is_callable(path: Path) -> None:
    assert problems(OmegaConf.to_container(OmegaConf.load(path), resolve=False), path.stem) == []


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_has_a_help_text_a_person_can_use(entry: str) -> None:
    GlobalHydra.instance().clear()
    with initialize_config_module(version_base="1.3", config_module="conf"):
        config = compose(entry, return_hydra_config=True)
    template = config.hydra.help.template
    assert "lp-" in template
    assert "example" in template.lower()
    assert "out" in template


def test_a_misspelt_key_and_a_wrong_type_are_found() -> None:
    node = {"_target_": "data_pipeline.records.Shot", "media": None, "strat": 1, "start": "x", "stop": 2}
    lines = problems(node)
    assert any("strat" in line for line in lines)
    assert any("'x'" in line for line in lines)
