"""The program lp-evaluate: a composed config -> tables, videos and a report."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

from data_pipeline.cli_errors import user_errors

if TYPE_CHECKING:
    from evaluation.evaluate import Evaluation
    from evaluation.metrics.suite import MetricSuite


@user_errors
def evaluate() -> None:
    """Measure weights; see `lp-evaluate --help`."""
    # `data` is a config group of lp-finetune: to Hydra, data=DIR would name a file of that group.
    sys.argv[1:] = [f"data.path={arg[5:]}" if arg.startswith("data=") else arg for arg in sys.argv[1:]]
    _evaluate()


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="evaluate")
@user_errors
def _evaluate(config: DictConfig) -> None:
    from hydra.utils import instantiate

    out = Path(config.out)
    plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    if plain["size"] not in ("quick", "full"):
        raise ValueError(f"size={plain['size']!r} is unknown; choose quick or full")
    from evaluation.evaluate import evaluate as measure
    from evaluation.evaluate import write_rows, write_summary
    from evaluation.machine import provenance
    from evaluation.report import write_report

    detector = instantiate(config.detector, _convert_="all") if config.get("detector") else None
    methods = _methods(plain)
    protocol = instantiate(config.protocol, _convert_="all")
    pairs = protocol(Path(config.data.path), config.size, config.side_px, detector)
    out.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, out / "config.yaml", resolve=True)
    print(
        f"{protocol.name}: {len(pairs)} pairs, {sum(pair.num_frames for pair in pairs)} frames, {len(methods)} methods"
    )
    about = {"data": str(config.data.path), "size": config.size, "compared at": f"{config.side_px} px"} | provenance()
    result = measure(
        pairs,
        methods,
        _suite(plain, detector),
        examples_dir=out / "examples",
        num_examples=config.num_videos,
        about=about,
    )
    write_rows(out / "rows.csv", result.rows)
    write_summary(out / "summary.json", result.summary())
    report = write_report(out / "report.html", [result], title=f"Evaluation: {', '.join(result.methods)}")
    _print_means(result)
    print(f"\nmade {out / 'rows.csv'}, {out / 'summary.json'}")
    print(f"open {report.resolve()}")
    print(f"next: lp-evaluate size=full protocol={protocol.name} data={config.data.path} weights=… out={out}-full")


def _methods(plain: dict[str, Any]) -> list[Any]:
    """Baselines first, the weights in question last."""
    from evaluation.animator import usable_device
    from evaluation.methods import CopySource, Network, SimilarityWarp, unique_names

    weights = plain["weights"] if isinstance(plain["weights"], list) else [plain["weights"]]
    folders = [*([plain["baseline_weights"]] if plain["baseline_weights"] else []), *weights]
    names = ["before", "after"] if plain["baseline_weights"] and len(folders) == 2 else unique_names(folders)
    common = {
        "stitching": plain["stitching"], "multiplier": float(plain["multiplier"]),
        "batch_frames": plain["batch_frames"], "device": usable_device(plain["device"]),
    }  # fmt: skip
    warp = [SimilarityWarp()] if plain["similarity_warp"] else []
    networks = [Network.from_pretrained(n, f, **common) for n, f in zip(names, folders, strict=True)]
    return [CopySource(), *warp, *networks]


def _suite(plain: dict[str, Any], detector: Any) -> "MetricSuite":  # noqa: ANN401
    from evaluation.metrics.perceptual import Lpips
    from evaluation.metrics.suite import MetricSuite

    lpips = Lpips.from_file(Path(plain["lpips_weights"])) if plain["lpips_weights"] else None
    return MetricSuite(lpips=lpips, detector=detector)


def _print_means(result: "Evaluation") -> None:
    from rich.console import Console
    from rich.table import Table

    from evaluation.metrics.catalog import BY_NAME

    table = Table("metric", *result.methods)
    for name in result.measured():
        means = [result.mean(method, name) for method in result.methods]
        digits = BY_NAME[name].digits
        table.add_row(BY_NAME[name].title, *(f"{mean.mean:.{digits}f}" if mean else "–" for mean in means))
    Console().print(table)
