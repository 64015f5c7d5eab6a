"""The programs lp-animate and lp-evaluate: composed configs -> files."""

import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

from data_pipeline.cli_errors import user_errors

if TYPE_CHECKING:
    import numpy as np

    from evaluation.animator import Animation
    from evaluation.evaluate import Evaluation
    from evaluation.metrics.suite import MetricSuite

ANIMATE_OPTIONS = (
    "stitching", "pasteback", "relative", "region", "driving_option", "rules", "multiplier", "head", "source_box",
    "driving_box", "source_crop", "driving_crop",
)  # fmt: skip
PICTURES = (".jpg", ".jpeg", ".png")
PANEL_PX = 256


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="animate")
@user_errors
def animate(config: DictConfig) -> None:
    """Animate one photo; see `lp-animate --help`."""
    from hydra.utils import instantiate

    source, driving, out = Path(config.source), Path(config.driving), Path(config.out)
    _check_target(out, (".mp4", *PICTURES))
    from evaluation.animator import Animator

    detector = instantiate(config.detector, _convert_="all") if config.get("detector") else None
    animator = Animator.from_pretrained(
        config.weights, detector=detector, device=config.device, batch_frames=config.batch_frames
    )
    plain: Any = OmegaConf.to_container(config, resolve=True)
    animation = animator.animate(source, driving, **{name: plain[name] for name in ANIMATE_OPTIONS})
    if out.suffix.lower() in PICTURES and not animation.footage.is_still:
        raise ValueError(f"out={out}: the driver is a video; give a name that ends in .mp4")
    heads = f", head 1 of {animation.source.num_heads}" if animation.source.num_heads > 1 else ""
    print(f"moving {source.name} ({animation.source.species or 'head given by hand'}{heads}) like {driving.name}")
    start = time.monotonic()
    count = _write_picture(out, animation) if out.suffix.lower() in PICTURES else _write_videos(out, animation, config)
    elapsed_s = time.monotonic() - start
    OmegaConf.save(config, out.with_suffix(".config.yaml"), resolve=True)
    sound = ", with the driver's sound" if animation.audio_from and out.suffix == ".mp4" else ""
    rate = f"{float(animation.fps):.6g} frames/s"
    print(
        f"\nmade {out} ({count} frames at {rate}{sound}) in {elapsed_s:.0f} s, {count / elapsed_s:.1f} frames a second"
    )
    if out.suffix == ".mp4" and config.side_by_side:
        print(f"side by side: {_beside(out)} (driver | source | result)")
    print(f"next: lp-animate source={source} driving={driving} out={out} multiplier=1.3   # more motion")


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


def _check_target(out: Path, suffixes: tuple[str, ...]) -> None:
    """Refuse an output that cannot be written before any work is done."""
    if out.suffix.lower() not in suffixes:
        raise ValueError(f"out={out}: give a file name that ends in {' or '.join(suffixes[:2])}")
    if out.is_dir():
        raise ValueError(f"out={out} is a folder; give a file name")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        probe = out.with_name(f".{out.stem}.part")
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(f"out={out}: cannot write there ({error.strerror}); give another folder") from error


def _beside(out: Path) -> Path:
    from evaluation.side_by_side import beside

    return beside(out)


def _write_picture(out: Path, animation: "Animation") -> int:
    from data_pipeline.photo import encode_jpeg

    frame = next(iter(animation))
    part = out.with_name(f".{out.stem}.part")
    if out.suffix.lower() == ".png":
        from PIL import Image

        Image.fromarray(frame).save(part, "PNG")
    else:
        part.write_bytes(encode_jpeg(frame))
    part.replace(out)
    return 1


def _write_videos(out: Path, animation: "Animation", config: DictConfig) -> int:
    """Write the result, and beside it the comparison, in one pass."""
    from data_pipeline.progress import track
    from data_pipeline.video import write_video
    from evaluation.side_by_side import beside, branched, row_of

    panel_px = max(PANEL_PX, animation.engine.output_px)
    steps = track(animation.steps(), animation.num_frames or None, "animating", "frames")
    audio = animation.audio_from
    if not config.side_by_side:
        return write_video(out, (step.frame for step in steps), animation.fps, crf=config.crf, audio_from=audio)

    def both() -> "Iterator[tuple[np.ndarray, np.ndarray]]":
        for step in steps:
            yield step.frame, row_of((step.driving, animation.source.crop, step.result), panel_px)

    def write_comparison(rows: "Iterator[np.ndarray]") -> None:
        write_video(beside(out), rows, animation.fps, crf=config.crf, audio_from=audio)

    with closing(branched(both(), write_comparison)) as frames:
        return write_video(out, frames, animation.fps, crf=config.crf, audio_from=audio)
