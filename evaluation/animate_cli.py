"""The program lp-animate: composed options -> one animation, or all of a list."""

import sys
import time
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

from data_pipeline.cli_errors import user_errors

if TYPE_CHECKING:
    from evaluation.animator import Animation, Animator
    from evaluation.openings import OpeningReader
    from evaluation.options import Options
    from evaluation.outputs import Output

PANEL_PX = 256
PICTURES = (".png", ".jpg", ".jpeg")
CONFIG_SUFFIX = ".config.yaml"


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="animate")
@user_errors
def main(config: DictConfig) -> None:
    """Animate one source, or a list of them; see `lp-animate --help`."""
    if config.jobs is not None:
        from evaluation.jobs import run_jobs

        run_jobs(config, sys.argv[1:])
        return
    for name in ("source", "driving"):
        if config[name] is None:
            raise ValueError(f"the option {name} is required: give it as {name}=FILE (see --help)")
    animator = animator_of(config)
    out = Path(str(config.out))
    made = animate_one(animator, config)
    print(f"\nmade {out} ({made})")
    for path in beside(config, out):
        print(f"  and {path}")
    print(f"next: lp-animate source={config.source} driving={config.driving} out={out} multiplier=1.3   # more motion")


def animator_of(config: DictConfig) -> "Animator":
    """Load the weights, the detector and, if asked for, the reader of openings."""
    from hydra.utils import instantiate

    from evaluation.animator import Animator

    detector = instantiate(config.detector, _convert_="all") if config.get("detector") else None
    return Animator.from_pretrained(
        config.weights, detector=detector, device=config.device, batch_frames=config.batch_frames,
        engine=config.engine, precision=config.precision, openings=_reader(config.openings),
    )  # fmt: skip


def animate_one(animator: "Animator", config: DictConfig, *, show: bool = True) -> str:
    """Make all files of one animation; all of them appear, or none that is half.

    Returns:
        What was made, for people: frames, rate, sound, time.

    Raises:
        ValueError: a file or an option is not as it should be.
    """
    from data_pipeline.progress import track
    from evaluation.outputs import OutputSet
    from evaluation.templates import write_template

    out = Path(str(config.out))
    _check_out(out)
    animation = animator.animate(_media(config.source), _driving(config.driving), options_of(config))
    if out.suffix.lower() in PICTURES and not animation.is_still:
        raise ValueError(f"out={out}: that is one picture, and there are several frames; give a name that ends in .mp4")
    outputs = outputs_of(animation, config, out)
    if show:
        print(_announcement(animation, config))
    start = time.monotonic()
    if config.save_template:
        write_template(out.with_suffix(".motion.npz"), animation.template())
    steps = animation.steps(with_driver=bool(config.side_by_side))
    counted = track(steps, animation.num_frames or None, "animating", "frames") if show else steps
    with closing(steps), OutputSet(outputs) as files:
        for step in counted:
            files.push(step)
    count = files.num_frames[out]
    elapsed_s = time.monotonic() - start
    _write_config(config, out)
    sound = ", with sound" if animation.audio_from(config.audio) and out.suffix == ".mp4" else ""
    rate = f" at {float(animation.fps):.6g} frames/s" if count > 1 else ""
    return f"{count} frame{'s' * (count > 1)}{rate}{sound}, {elapsed_s:.0f} s, {count / elapsed_s:.1f} a second"


def options_of(config: DictConfig) -> "Options":
    """The fields of `Options`, from the config."""
    from evaluation.options import Options
    from evaluation.sliders import PortraitEdit

    plain: Any = OmegaConf.to_container(config, resolve=True)
    try:
        edit = PortraitEdit(**{name: float(value) for name, value in plain["edit"].items()})
    except TypeError as error:
        raise ValueError(f"edit: {error}; see docs/animation.md for the sliders") from error
    names = {field.name for field in fields(Options)} & plain.keys() - {"edit"}
    return Options(**{name: plain[name] for name in names}, edit=edit)


def outputs_of(animation: "Animation", config: DictConfig, out: Path) -> "list[Output]":
    """Every file that is asked for, with what it shows of each step."""
    from evaluation.outputs import mp4, output_for
    from evaluation.side_by_side import row_picture

    fps, audio = animation.fps, animation.audio_from(config.audio)

    def result(step: Any) -> Any:  # noqa: ANN401
        return step.frame

    def of(path: Path) -> "Output":
        if path.suffix.lower() == ".mp4":
            return mp4(path, result, fps, audio_from=audio, crf=config.crf)
        return output_for(path, result, fps, audio_from=audio)

    outputs = [of(path) for path in (out, *(Path(str(name)) for name in config.also))]
    if _has_companions(config, out):
        side_px = max(PANEL_PX, animation.engine.output_px)
        if config.side_by_side:
            row = row_picture((lambda step: step.driving, lambda step: step.source, lambda step: step.result), side_px)
            outputs.append(mp4(_named(out, "_side_by_side.mp4"), row, fps, audio_from=audio, crf=config.crf))
        if config.save_crops:
            path = _named(out, "_crops.mp4")
            outputs.append(mp4(path, lambda step: step.result, fps, audio_from=audio, crf=config.crf))
    return outputs


def beside(config: DictConfig, out: Path) -> list[Path]:
    """The files that are written beside the result."""
    found = [Path(str(name)) for name in config.also]
    if _has_companions(config, out):
        found += [_named(out, "_side_by_side.mp4")] * bool(config.side_by_side)
        found += [_named(out, "_crops.mp4")] * bool(config.save_crops)
    found += [out.with_suffix(".motion.npz")] * bool(config.save_template)
    return found


def _has_companions(config: DictConfig, out: Path) -> bool:
    """A single picture has no videos beside it."""
    return out.suffix.lower() not in PICTURES


def _named(out: Path, ending: str) -> Path:
    return out.with_name(out.stem + ending)


def _announcement(animation: "Animation", config: DictConfig) -> str:
    from evaluation.source import SourceVideo

    portraits = animation.portraits
    if isinstance(portraits, SourceVideo):
        what, found = portraits.species, portraits.num_heads
        chosen = f", {portraits.num_frames} frames"
    else:
        what, found = portraits[0].species, portraits[0].num_heads
        chosen = ""
    heads = f", {found} heads found, head={config.head}" if found > 1 else ""
    return f"moving {animation.name} ({what or 'head given by hand'}{chosen}{heads}) like {config.driving}"


def _check_out(out: Path) -> None:
    from evaluation.outputs import SUFFIXES

    if out.suffix.lower() not in (*SUFFIXES, ""):
        raise ValueError(f"out={out}: give a name that ends in {', '.join(SUFFIXES)}, or a folder for frames")


def _write_config(config: DictConfig, out: Path) -> None:
    part = _named(out, f"{CONFIG_SUFFIX}.part")
    OmegaConf.save(config, part, resolve=True)
    part.replace(_named(out, CONFIG_SUFFIX))


def _media(value: Any) -> str:  # noqa: ANN401
    return str(value)


def _driving(value: Any) -> str | int:  # noqa: ANN401
    return value if isinstance(value, int) else str(value)


def _reader(name: str | None) -> "OpeningReader | None":
    if name is None:
        return None
    if name != "face_mesh":
        raise ValueError(f"openings={name!r} is unknown; give face_mesh, or source_eyes and source_lips by hand")
    from evaluation.openings import FaceMeshOpenings

    return FaceMeshOpenings()


if __name__ == "__main__":
    main()
