"""The program lp-evaluate: a composed config -> tables, videos and a report; or several finished runs -> one report."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

from data_pipeline.cli_errors import user_errors

if TYPE_CHECKING:
    from evaluation.results import Evaluation

COMPARE = "compare"
SIZES = ("quick", "full")


@user_errors
def evaluate() -> None:
    """Measure weights; see `lp-evaluate --help`."""
    sys.argv[1:] = as_options(sys.argv[1:])
    _evaluate()


def as_options(arguments: Sequence[str]) -> list[str]:
    """What people type -> what Hydra reads: `data=DIR`, `compare A B C`, `--quick`, `--full`.

    `data` is a config group of lp-finetune: to Hydra, data=DIR would name a file of that group.
    """
    given = [f"data.path={arg[5:]}" if arg.startswith("data=") else arg for arg in arguments]
    given = [f"size={arg[2:]}" if arg in ("--quick", "--full") else arg for arg in given]
    if not given or given[0] != COMPARE:
        return given
    names = [arg for arg in given[1:] if "=" not in arg and not arg.startswith(("-", "~", "+"))]
    quoted = ",".join("'" + name.replace("\\", "\\\\").replace("'", "\\'") + "'" for name in names)
    return [f"{COMPARE}=[{quoted}]", *(arg for arg in given[1:] if arg not in names)]


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="evaluate")
@user_errors
def _evaluate(config: DictConfig) -> None:
    from evaluation.stored import is_evaluation

    if config[COMPARE] is None:
        _measure(config)
        return
    names = [str(name) for name in config[COMPARE]]
    if len(names) < 2:
        raise ValueError("compare needs two or more finished runs or weights: lp-evaluate compare A B out=DIR")
    are_runs = [is_evaluation(Path(name)) for name in names]
    if all(are_runs):
        _compare(config, names)
        return
    if any(are_runs):
        odd = names[are_runs.index(False)]
        raise ValueError(f"compare {odd} is not a finished run, but others are; give only runs, or only weights")
    config.weights = names  # of one kind of pairs, measured now
    _measure(config, reference=True)


def _measure(config: DictConfig, *, reference: bool = False) -> None:
    """Evaluate weights on pairs; `reference`: compare all with the first weights."""
    plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    if plain["size"] not in SIZES:
        raise ValueError(f"size={plain['size']!r} is unknown; choose quick or full")
    if not isinstance(plain["workers"], int) or plain["workers"] < 1:
        raise ValueError(f"workers={plain['workers']} is out of range; give 1 or more")
    from hydra.utils import instantiate

    from data_pipeline.run_lock import run_lock
    from evaluation.bench import build_bench
    from evaluation.evaluate import RunOptions, measure
    from evaluation.machine import provenance
    from evaluation.protocols import PairProtocol, write_manifest

    out = Path(plain["out"])
    protocol, data = _protocol(config, plain, out)
    detector = instantiate(config.detector, _convert_="all") if config.get("detector") else None
    if plain["export"]:
        pairs = protocol(data, plain["size"], plain["side_px"], detector)
        _export(Path(plain["export"]), protocol, pairs)
        return
    bench = build_bench(plain)
    pairs = protocol(data, plain["size"], plain["side_px"], detector)
    num_frames = sum(pair.num_frames for pair in pairs)
    print(f"{protocol.name}: {len(pairs)} pairs, {num_frames} frames, {len(bench.methods)} methods", flush=True)
    with run_lock(out):
        OmegaConf.save(config, out / "config.yaml", resolve=True)
        if isinstance(protocol, PairProtocol):
            write_manifest(out / "protocol.json", protocol, pairs, plain["side_px"])
        about = {
            "says": _first_line(protocol), "data": str(data), "size": plain["size"],
            "compared at": f"{plain['side_px']} px",
        }  # fmt: skip
        options = RunOptions(
            out=out, cache=Path(plain["cache"]) if plain["cache"] else None, workers=plain["workers"],
            build=partial(build_bench, plain), num_videos=plain["num_videos"], num_worst=plain["num_worst"],
            reference=_first_weights(bench.methods) if reference else "",
        )  # fmt: skip
        about |= provenance() | {"config": OmegaConf.to_yaml(config, resolve=True)}
        result = measure(pairs, bench, options, about)
        _write(out, result)
    if result.failures:
        raise ValueError(
            f"{len(result.failures)} of {len(pairs) * len(bench.methods)} results failed; {out / 'failures.csv'} says "
            "why, and the same command tries them again"
        )
    print(f"next: lp-evaluate {COMPARE} {out} ANOTHER_RUN out=DIR, or size=full for more pairs")


def _protocol(config: DictConfig, plain: dict[str, Any], out: Path) -> tuple[Any, Path]:
    """The protocol and its data; puppets_cross without data is the frozen benchmark, rendered beside the results."""
    from hydra.utils import instantiate

    from evaluation.protocols import PuppetBenchmark, PuppetsCross

    protocol, path = instantiate(config.protocol, _convert_="all"), plain["data"]["path"]
    if path is not None:
        return protocol, Path(path)
    if isinstance(protocol, PuppetsCross):
        protocol = PuppetBenchmark(species=protocol.species)
    if not isinstance(protocol, PuppetBenchmark):
        raise ValueError(f"protocol={protocol.name} needs data=DIR: shards, puppets, a folder of media or a media list")
    return protocol, out / f"puppets-{plain['size']}"


def _export(folder: Path, protocol: Any, pairs: Sequence[Any]) -> None:  # noqa: ANN401 - any protocol
    from evaluation.protocols.export import export

    made = export(folder, pairs, {"protocol": protocol.name})
    print(f"made {made} and {len(pairs)} pairs: source.png and driver.mp4 each")
    print(f"next: put predictions at {folder}/METHOD/<id>.mp4, and run again with methods.external={folder}")


def _compare(config: DictConfig, names: Sequence[str]) -> None:
    from evaluation.compare_runs import compare_runs

    if OmegaConf.is_missing(config, "out"):
        raise ValueError("the option out is required: give it as out=DIR (see --help)")
    out = Path(str(config.out))
    folders = [Path(name) for name in names]
    _write(out, compare_runs(folders, out, num_videos=config.num_videos, num_worst=config.num_worst))


def _write(out: Path, result: "Evaluation") -> None:
    from evaluation.evaluate import write_evaluation
    from evaluation.report import write_report

    written = write_evaluation(out, result)
    report = write_report(
        out / "report.html", [result], title=heading(result),
        subtitle=f"Protocol {result.protocol}, {result.num_pairs} pairs. What each number can and cannot say: "
        "docs/evaluation.md",
    )  # fmt: skip
    _print_means(result)
    print(f"\nmade {', '.join(str(path) for path in [*written, out / 'summary.md'])}")
    print(f"open {report.resolve()}")


def heading(result: "Evaluation") -> str:
    """What a report is about: its networks, where it has any; baselines are in every report."""
    networks = [name for name, about in result.methods.items() if about.get("kind") == "network"]
    shown = networks or list(result.methods)
    if len(shown) > 1 and result.reference in shown:
        others = [name for name in shown if name != result.reference]
        return f"{result.reference} beside {', '.join(others)}"
    return f"Evaluation of {', '.join(shown)}"


def _first_line(protocol: object) -> str:
    return (type(protocol).__doc__ or "").strip().split("\n")[0]


def _first_weights(methods: Sequence[Any]) -> str:
    return next(method.name for method in methods if method.about.get("kind") == "network")


def _print_means(result: "Evaluation") -> None:
    """The main numbers; all of them are in the report."""
    from rich.console import Console
    from rich.table import Table

    from evaluation.report.tables import ARROWS, number

    table = Table("main numbers", *result.methods)
    for metric in result.main:
        values = [result.value(method, metric) for method in result.methods]
        cells = ("–" if value is None else number(metric, value) for value in values)
        table.add_row(f"{metric.title} {ARROWS[metric.better]}", *cells)
    Console().print(table)
