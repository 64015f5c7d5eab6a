"""`lp-template inspect|convert`: a motion template -> what is in it, or the same motion in the other format."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig

from data_pipeline.action_word import with_action
from data_pipeline.cli_errors import user_errors

if TYPE_CHECKING:
    from evaluation.templates import MotionTemplate

ACTIONS = ("inspect", "convert")


@user_errors
def main() -> None:
    """Inspect or convert a motion template; see `lp-template --help`."""
    sys.argv[1:] = with_action(sys.argv[1:], "source")
    _main()


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="template")
@user_errors
def _main(config: DictConfig) -> None:
    if config.action not in ACTIONS:
        raise ValueError(f"lp-template {config.action}: unknown action; choose {' or '.join(ACTIONS)}")
    {"inspect": inspect, "convert": convert}[config.action](config)


def inspect(config: DictConfig) -> None:
    """Print what a template holds.

    Raises:
        ValueError: it cannot be read, or its values would be refused; they are listed in the table first.
    """
    from evaluation.templates import faults, unchecked_template

    source = Path(config.source)
    template = unchecked_template(source)
    found = faults(template)
    _print_table(source, template, found)
    if found:
        raise ValueError(f"{source} would be refused: {found[0]}; make it again")
    print(f"next: lp-animate source=cat.jpg driving={source} out=cat.mp4")


def convert(config: DictConfig) -> None:
    """Write a template in the format that the suffix of `out` names."""
    from evaluation.templates import read_template, write_template

    if config.out is None:
        raise ValueError("the option out is required: give it as out=FILE.npz or, for LivePortrait, out=FILE.pkl")
    source, out = Path(config.source), Path(config.out)
    template = read_template(source)
    write_template(out, template)
    rate = f"{float(template.fps):.6g}"
    print(f"made {out} ({template.num_frames} frames at {rate} frames/s, {out.stat().st_size} bytes)")
    for line in _lost(template, out):
        print(f"note: {line}")
    print(f"next: lp-template inspect source={out}")


def rows(template: "MotionTemplate") -> list[tuple[str, str]]:
    """What a template holds, as lines of a table."""
    from evaluation.templates import head_angles_deg

    motion = template.motion
    angles = zip(("pitch", "yaw", "roll"), head_angles_deg(motion.rotation).T, strict=True)
    ratios = (("eye ratios", template.eye_ratios), ("lip ratios", template.lip_ratios))
    return [
        ("made from", template.source or "not stated"),
        ("weights", template.model or "not stated"),
        ("frames", str(template.num_frames)),
        ("rate", f"{float(template.fps):.6g} frames/s"),
        ("duration", f"{template.duration_s:.2f} s"),
        ("keypoints", str(template.num_keypoints)),
        *((name, f"{float(values.min()):+.1f}° to {float(values.max()):+.1f}°") for name, values in angles),
        ("scale", f"{float(motion.scale.min()):.3f} to {float(motion.scale.max()):.3f}"),
        ("largest |expression|", f"{float(motion.delta.abs().max()):.4f}"),
        *((name, "none" if v is None else f"{float(v.min()):.2f} to {float(v.max()):.2f}") for name, v in ratios),
        ("canonical keypoints", "none" if template.canonical is None else "yes"),
    ]


def limits(template: "MotionTemplate") -> list[str]:
    """What this template, though whole, cannot be used for."""
    from evaluation.templates import pickle_faults

    found = [f"writing a .pkl: {fault}" for fault in pickle_faults(template)]
    if template.eye_ratios is None:
        found.append("opening the eyes as the driver does (it has no eye ratios)")
    if template.lip_ratios is None:
        found.append("opening the lips as the driver does (it has no lip ratios)")
    if template.eye_ratios is None or template.lip_ratios is None:
        found.append("LivePortrait's human pipeline, which needs both ratio lists")
    if template.num_frames == 1:
        found.append("relative head motion: one frame counts as a photo")
    return found


def _print_table(source: Path, template: "MotionTemplate", found: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("", str(source))
    for name, value in rows(template) if not found else rows(template)[:6]:
        table.add_row(name, Text(value))
    for line in found:
        table.add_row("refused", Text(line))
    for line in limits(template):
        table.add_row("cannot serve for", Text(line))
    Console().print(table)


def _lost(template: "MotionTemplate", out: Path) -> list[str]:
    """What a .pkl does not keep."""
    if out.suffix.lower() != ".pkl":
        return []
    lost = []
    if template.fps.denominator != 1:
        lost.append(f"a .pkl holds whole rates only: {float(template.fps):.6g} became {max(1, round(template.fps))}")
    if template.eye_ratios is None or template.lip_ratios is None:
        lost.append("it has no eye or lip ratios, so only LivePortrait's animal pipeline can use it")
    return lost
