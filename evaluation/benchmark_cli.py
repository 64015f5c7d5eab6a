"""The program lp-benchmark: composed options -> tables of times, errors and memory, and a JSON file."""

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from data_pipeline.action_word import with_action
from data_pipeline.cli_errors import user_errors


@user_errors
def main() -> None:
    """Measure speed; see `lp-benchmark --help`."""
    sys.argv[1:] = with_action(sys.argv[1:], "out")
    _main()


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="benchmark")
@user_errors
def _main(config: DictConfig) -> None:
    from evaluation.machine import provenance
    from evaluation.other_load import OtherLoad

    if config.action not in ACTIONS:
        raise ValueError(f"the action {config.action} is unknown; say lp-benchmark {'|'.join(ACTIONS)} (see --help)")
    out = Path(str(config.out))
    plain: Any = OmegaConf.to_container(config, resolve=True)
    result: dict[str, Any] = {"command": " ".join(["lp-benchmark", *sys.argv[1:]]), "config": plain}
    with OtherLoad() as load:
        measured = ACTIONS[config.action](config)
    result |= {"provenance": provenance(), "load": load.as_dict(), **measured}
    part = out.with_name(out.name + ".part")
    out.parent.mkdir(parents=True, exist_ok=True)
    part.write_text(json.dumps(result, indent=2) + "\n")
    part.replace(out)
    print(f"\n{load.sentence()}\nmade {out}")
    print("next: compare the ratios of runs on the same machine; times of different ones say little")


def _inference(config: DictConfig) -> dict[str, Any]:
    """The networks, and a whole clip."""
    return {"frame": _frame(config), "clip": _clip(config) if config.clip else None}


def _curation(config: DictConfig) -> dict[str, Any]:
    """Curation beside its floor, with more workers, stage by stage, and its memory."""
    from evaluation.curation_media import puppet_media
    from evaluation.curation_speed import Setup, measured

    with tempfile.TemporaryDirectory() as made:
        options = config.curation
        folder = Path(str(config.media)) if config.media else puppet_media(Path(made), float(options.puppet_s))
        parts = _curate_config(folder, [str(one) for one in options.options])
        setup = Setup.from_config(parts)
        print(f"{len(setup.source())} files of {config.media or 'puppets'}, {options.workers} workers against one")
        found = measured(setup, folder, int(options.workers), int(config.repeats), float(options.memory_s))
    _print_curation(found)
    return {"curation": found}


def _curate_config(folder: Path, options: Sequence[str]) -> DictConfig:
    """What `lp-curate source.path=folder *options` would use."""
    from hydra import compose

    return compose("curate", [f"source.path={json.dumps(str(folder))}", *options])


def _training(config: DictConfig) -> dict[str, Any]:
    """A step of the base beside straight code, what each trick gives, the loader's share, memory."""
    from evaluation.training_speed import measured_training

    options: Any = OmegaConf.to_container(config.training, resolve=True)
    shards = options.pop("shards")
    options |= {"parts": ",".join(options["parts"]), "rounds": config.repeats}
    options |= {"device": config.device, "threads": config.threads}
    with tempfile.TemporaryDirectory() as made:
        return {"training": measured_training(Path(shards) if shards else None, options, Path(made))}


ACTIONS: dict[str, Callable[[DictConfig], dict[str, Any]]] = {
    "inference": _inference, "curation": _curation, "training": _training,
}  # fmt: skip
"""The first bare word after lp-benchmark -> what it measures; its result goes into the JSON file."""


def _frame(config: DictConfig) -> dict[str, Any]:
    """Whole frames, their parts, and the tricks."""
    import torch
    from hydra.utils import instantiate

    from evaluation.animator import usable_device
    from evaluation.speed import as_dicts, compared, fast_way, lively_model, peak_memory_mib, plain_way, scene_of
    from evaluation.tricks import tricks_of
    from lp_models import LivePortrait, LivePortraitConfig, load_pretrained
    from lp_models.fast.allocator import keep_freed_memory

    if config.threads:
        torch.set_num_threads(config.threads)
    device = usable_device(config.device)
    weights = None if config.weights is None else str(config.weights)
    size: LivePortraitConfig = instantiate(config.model, _convert_="all")
    model: LivePortrait = (load_pretrained(weights) if weights else lively_model(size)).to(device)
    name, precisions = model.config.name, [str(p) for p in config.precisions]
    print(
        f"{name} size, {'random weights' if weights is None else weights}, {device}, {torch.get_num_threads()} threads"
    )
    memory = [peak_memory_mib("plain", "", size, weights)]
    memory += [peak_memory_mib("fast", p, size, weights) for p in precisions if p != "float16"]
    with torch.inference_mode():
        scene = scene_of(model)
        ways = [plain_way(model, scene)]
        rows = compared(ways, model, scene, config.repeats, memory[:1])
        kept = keep_freed_memory() if device == "cpu" else False
        tricks = tricks_of(model, scene, config.repeats) if config.tricks and device == "cpu" else []
        if kept:
            ways.append(plain_way(model, scene, "plain float32, memory kept"))
            memory.insert(1, memory[0])
        ways += [fast_way(model, scene, p) for p in precisions]  # pyright: ignore[reportArgumentType]
        for count in [int(n) for n in config.frames if int(n) > 1]:
            ways += [fast_way(model, scene, p, frames=count) for p in precisions]  # pyright: ignore[reportArgumentType]
        for precision in precisions if config.compiled else []:
            ways.append(fast_way(model, scene, precision, compiled=True))  # pyright: ignore[reportArgumentType]
        memory += [float("nan")] * (len(ways) - len(memory))
        # The plain networks as they come were timed before the allocator was told to keep memory.
        later = compared(ways[1:], model, scene, config.repeats, memory[1:])
    first = rows[0]
    rows += [type(row)(**{**_fields(row), "ratio": first.frame_ms / row.frame_ms}) for row in later]
    _print_rows(rows)
    _print_tricks(tricks)
    return {"model": name, "rows": as_dicts(rows), "tricks": as_dicts(tricks)}


def _clip(config: DictConfig) -> dict[str, Any]:
    """A clip from file to file, and twice as long a one: speed with everything, and whether memory grows."""
    from evaluation.clip_speed import measured_clip

    with tempfile.TemporaryDirectory() as folder:
        source, driving = _media(config, Path(folder))
        weights = "starter" if config.weights is None else str(config.weights)
        runs = []
        for seconds in (config.clip_seconds, 2 * config.clip_seconds):
            runs.append(measured_clip(source, driving, weights, float(seconds), Path(folder) / "clip.mp4"))
            run = runs[-1]
            print(
                f"clip of {seconds} s: {run['frames']} frames in {run['seconds']:.1f} s = {run['frames_per_s']:.1f} "
                f"frames/s (decode, detect, animate, paste, encode; start-up {run['start_up_s']:.1f} s), "
                f"peak memory {run['memory_mib']:.0f} MiB"
            )
        return {"weights": weights, "runs": runs}


def _media(config: DictConfig, folder: Path) -> tuple[str, str]:
    """The clip's source and a driver long enough for both runs, rendered if none is given."""
    if config.source is not None and config.driving is not None:
        return str(config.source), str(config.driving)
    from data_pipeline.puppets.make import PuppetSet

    PuppetSet(out=folder / "puppets", identities=1, clips=1, stills=1, seconds=2.0 * config.clip_seconds, fps=25.0,
              species=("human", "cat"), size_px=512, workers=2)()  # fmt: skip
    still = next((folder / "puppets").rglob("cat/**/*.jpg"))
    clip = next((folder / "puppets").rglob("human/**/*.mp4"))
    return str(config.source or still), str(config.driving or clip)


def _fields(row: Any) -> dict[str, Any]:  # noqa: ANN401
    from dataclasses import asdict

    return asdict(row)


def _print_rows(rows: Sequence[Any]) -> None:
    _table(
        ("way", "M ms", "W ms", "G ms", "frame ms", "CPU ms", "ratio", "PSNR dB", "peak MiB"),
        [
            (r.name, *(f"{v:.1f}" for v in (r.motion_ms, r.warping_ms, r.generator_ms, r.frame_ms, r.frame_cpu_ms)),
             f"{r.ratio:.2f}", f"{r.psnr_db:.1f}", "-" if r.memory_mib != r.memory_mib else f"{r.memory_mib:.0f}")
            for r in rows
        ],
    )  # fmt: skip


def _print_tricks(tricks: Sequence[Any]) -> None:
    if tricks:
        _table(
            ("trick", "plain ms", "fast ms", "largest difference"),
            [(t.name, f"{t.plain_ms:.1f}", f"{t.fast_ms:.1f}", f"{t.largest_difference:.1e}") for t in tricks],
        )


def _print_curation(found: dict[str, Any]) -> None:
    def span(value: dict[str, float]) -> str:
        return f"{value['median']:.2f} ({value['least']:.2f}-{value['most']:.2f})"

    memory = found["memory"]
    growth = memory[1]["memory_mib"] - memory[0]["memory_mib"]
    rows = [(name, span(value), found["goals"].get(name, "")) for name, value in found["ratios"].items()]
    rows += [
        (f"peak memory of a worker, MiB, clip of {row['clip_s']:.0f} s", f"{row['memory_mib']:.0f}",
         found["goals"]["memory"]) for row in memory
    ]  # fmt: skip
    rows.append(("  a clip four times as long takes more, MiB", f"{growth:.0f}", found["goals"]["growth"]))
    for workers, rate in found["rates"].items():
        said = f"{rate['media_s_per_s']:.2f} media s/s, {rate['files_per_s']:.2f} files/s, {rate['cores']:.2f} cores"
        rows.append((f"rate, workers={workers}", said, ""))
    _table(("curation", "median (least-most)", "goal"), rows)
    stages = [(r["stage"], *(f"{r[k]:.2f}" for k in ("seconds", "floor_s", "extra_s"))) for r in found["stages"]]
    _table(("stage", "s", "of that in the floor", "extra"), stages)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", no_wrap=bool(i))
    for row in rows:
        table.add_row(*row)
    Console(width=160).print(table)
