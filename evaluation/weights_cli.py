"""`lp-weights download|verify|convert|inspect`: composed options -> checked, converted or printed weights."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from data_pipeline.action_word import with_action
from data_pipeline.cli_errors import user_errors

if TYPE_CHECKING:
    from rich.table import Table

    from lp_models.inspection import FileRow

WIDTH = 200
"""Columns of a table that is not printed to a terminal: file names stay whole there."""
LINE = 120
"""Characters of one fact about where weights come from, unless detail=true."""


def download(config: DictConfig) -> None:
    """Fetch published weights and check every file."""
    from lp_models.hub import Downloaded, download
    from lp_models.layout import OFFICIAL, VARIANT_OF, official_root

    out = Path(config.out).expanduser() if config.out is not None else official_root()

    def tell(file: Downloaded) -> None:
        name = file.path.relative_to(out).as_posix()
        print(f"{file.how:13s} {name}  {_size(file.num_bytes)}  sha256 {file.sha256[:12]}", flush=True)

    lock = download(
        out, repo=str(config.repo), variant=str(config.variant), revision=str(config.revision), on_file=tell
    )
    print(f"\n{out} holds {len(lock.files)} files of {lock.repo} at commit {lock.revision} (weights.lock.json)")
    print("the weights come with the terms of their page; see there before you use or share them")
    name = {variant: name for name, variant in VARIANT_OF.items()}.get(str(config.variant))
    folder = out / OFFICIAL[name][0] if name else out
    print(f"next: lp-weights verify weights={name if name and out == official_root() else folder}")


def verify(config: DictConfig) -> None:
    """Check weights file by file; the table holds what passed."""
    from lp_models.inspection import Verified
    from lp_models.inspection import verify as checked
    from lp_models.layout import STEMS

    weights = _required(config, "weights")
    passed: list[Verified] = []
    try:
        passed.extend(checked(weights))
    finally:
        rows = [
            (
                _shown(file.path, weights),
                file.network,
                str(file.num_entries),
                _size(file.num_bytes),
                file.sum_from,
                "OK",
            )
            for file in passed
        ]
        if rows:
            _print(_table(("file", "network", "entries", "size", "checksum in", ""), rows, numbers=(2, 3)))
    print(f"{weights}: {'1 part is whole and fits' if len(passed) == 1 else f'{len(passed)} parts are whole and fit'}")
    is_model = len({file.network for file in passed}) == len(passed) == len(STEMS)
    program = "lp-animate source=PHOTO driving=VIDEO out=result.mp4" if is_model else "lp-weights inspect"
    print(f"next: {program} weights={weights}")


def convert(config: DictConfig) -> None:
    """Write weights in another layout or number format."""
    from lp_models.conversion import convert as converted

    weights, out = _required(config, "weights"), _required(config, "out")
    done = converted(weights, out, layout=str(config.layout), dtype=str(config.dtype), force=_flag(config, "force"))
    if not done.is_new:
        print(f"{done.folder} holds these weights already ({len(done.files)} files); nothing was changed")
    for path in done.files if done.is_new else ():
        print(f"wrote {path}  {_size(path.stat().st_size)}")
    if config.layout == "official" and done.config_name != "official":
        print(
            f"note: the model is of {done.config_name} size; upstream's code loads it only with the numbers of "
            f"{done.folder / 'model.json'} in its own model config"
        )
    print(f"next: lp-weights verify weights={done.folder}")


def inspect(config: DictConfig) -> None:
    """Show what weights are made of, whether they load or not."""
    from lp_models.inspection import inspect as looked_at

    weights, detail = _required(config, "weights"), _flag(config, "detail")
    found = looked_at(weights)
    print(f"{found.path}: {found.kind}")
    columns = ("network", "file", "entries", "parameters", "shapes", "type", "size", "sha256")
    rows = [_inspected(row, found.path) for row in found.rows]
    total = sum(row.num_parameters for row in found.rows)
    _print(_table(columns, rows, numbers=(2, 3, 6)))
    print(f"{total:,} parameters in {len(found.rows)} parts, {_size(sum(row.num_bytes for row in found.rows))}")
    for name, value in found.provenance.items():
        text = value if isinstance(value, str) else json.dumps(value)
        print(f"  {name}: {text if detail or len(text) <= LINE else text[:LINE] + ' …'}")
    if detail:
        for row in found.rows:
            tensors = [(t.name, "x".join(map(str, t.shape)) or "single", t.dtype) for t in row.tensors]
            _print(_table((f"{row.network}: {row.path.name}", "shape", "type"), tensors))
    print(f"would not load: {found.fault}" if found.fault else "loads strictly: names, shapes and numbers fit")
    print(
        f"next: lp-weights {'inspect' if found.fault else 'verify'} weights={weights}"
        + " detail=true" * bool(found.fault)
    )


ACTIONS: dict[str, Callable[[DictConfig], None]] = {
    "download": download,
    "verify": verify,
    "convert": convert,
    "inspect": inspect,
}


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="weights")
@user_errors
def _main(config: DictConfig) -> None:
    if config.action not in ACTIONS:
        what = "no action was given" if config.action is None else f"the action {config.action} is unknown"
        raise ValueError(f"{what}; say lp-weights {'|'.join(ACTIONS)} (see --help)")
    ACTIONS[config.action](config)


@user_errors
def main() -> None:
    """Download, verify, convert or inspect weights; see `lp-weights --help`."""
    sys.argv[1:] = with_action(sys.argv[1:], "weights")
    _main()


def _required(config: DictConfig, option: str) -> str:
    value = config[option]
    if value is None:
        raise ValueError(
            f"the option {option} is required: lp-weights {config.action} {option}="
            f"{'DIR' if option == 'out' else 'DIR or FILE'} (see --help)"
        )
    return str(value)


def _flag(config: DictConfig, option: str) -> bool:
    if not isinstance(config[option], bool):  # any other word would count as true
        raise ValueError(f"{option}={config[option]} is neither true nor false")
    return config[option]


def _inspected(row: "FileRow", home: Path) -> tuple[str, ...]:
    name, size, digest = _shown(row.path, str(home)), _size(row.num_bytes), row.sha256[:12]
    if row.fault:
        return row.network, name, "", "", "cannot be read", "", size, digest
    counts = f"{len(row.tensors)}", f"{row.num_parameters:,}"
    return row.network, name, *counts, row.shapes, row.dtypes, size, digest


def _shown(path: Path, home: str) -> str:
    """A file's name below what was asked for."""
    folder = Path(home).expanduser()
    return path.relative_to(folder).as_posix() if path != folder and path.is_relative_to(folder) else path.name


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.1f} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e3:,.1f} kB"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # as text: names may hold what rich takes for markup
    return table


def _print(table: "Table") -> None:
    from rich.console import Console

    console = Console()
    wide: Any = console if console.is_terminal else Console(width=WIDTH)
    wide.print(table)
