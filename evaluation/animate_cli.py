"""The program lp-animate: composed options -> one animation, or all of a list."""

import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
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

PATHS = ("source", "driving", "out", "weights", "jobs")
PANEL_PX = 256
PICTURES = (".png", ".jpg", ".jpeg")
CONFIG_SUFFIX = ".config.yaml"
TEMPLATE_SUFFIX = ".motion.npz"


@user_errors
def main() -> None:
    """Animate one source, or a list of them; see `lp-animate --help`."""
    if not {"-m", "--multirun"} & set(sys.argv):  # whose commas are no part of a name
        sys.argv[1:] = [quoted(word) for word in sys.argv[1:]]
    _composed()


def quoted(word: str) -> str:
    """An option that is a path -> the same in quotes: Hydra's grammar has no brackets, commas or letters beyond a-z."""
    name, _, value = word.partition("=")
    if name not in PATHS or not value or value == "null" or value[0] in "'\"":
        return word
    value = re.sub(r"(\\*)'", r"\1\1\\'", value)
    value = re.sub(r"(\\+)$", r"\1\1", value)
    return f"{name}='{value}'"


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="animate")
@user_errors
def _composed(config: DictConfig) -> None:
    if config.jobs is not None:
        from evaluation.jobs import run_jobs

        run_jobs(config, sys.argv[1:])
        return
    for name in ("source", "driving"):
        if config[name] is None:
            raise ValueError(f"the option {name} is required: give it as {name}=FILE (see --help)")
    out = Path(str(config.out))
    check_files(config, out)
    options_of(config)  # a mistake is told before anything is loaded
    animator = animator_of(config)
    made = animate_one(animator, config)
    print(f"\nmade {out} ({made})")
    for path in beside(config, out):
        print(f"  and {path}")
    words = [f"source={config.source}", f"driving={config.driving}", f"out={out}", "multiplier=1.3"]
    print(f"next: {shlex.join(['lp-animate', *words])}   # more motion")


def animator_of(config: DictConfig) -> "Animator":
    """Load the weights, the detector and, if asked for, the reader of openings."""
    from hydra.utils import instantiate

    from evaluation.animator import Animator

    detector = instantiate(config.detector, _convert_="all") if config.get("detector") else None
    return Animator.from_pretrained(
        config.weights, detector=detector, device=config.device, batch_frames=config.batch_frames,
        engine=config.engine, precision=config.precision, compiled=config.compiled,
        openings=_reader(config.openings),
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
    check_files(config, out)
    animation = animator.animate(_media(config.source), _driving(config.driving), options_of(config))
    for path in (out, *also(config)):
        if path.suffix.lower() in PICTURES and not animation.is_still:
            raise ValueError(f"{path} is one picture, and there are several frames; give a name that ends in .mp4")
    outputs = outputs_of(animation, config, out)
    if show:
        print(_announcement(animation, config))
    start = time.monotonic()
    steps = animation.steps(with_driver=bool(config.side_by_side))
    if config.save_template:
        write_template(out.with_suffix(TEMPLATE_SUFFIX), animation.template())
    counted = track(steps, animation.num_frames or None, "animating", "frames") if show else steps
    with _filmed_until_ctrl_c(animation), closing(steps), OutputSet(outputs) as files:
        for step in counted:
            files.push(step)
    count = files.num_frames[out]
    elapsed_s = time.monotonic() - start
    _write_config(config, out)
    sound = ", with sound" if animation.audio_from(config.audio) and out.suffix.lower() == ".mp4" else ""
    rate = f" at {float(animation.fps):.6g} frames/s" if count > 1 else ""
    return f"{count} frame{'s' * (count > 1)}{rate}{sound}, {elapsed_s:.0f} s, {count / elapsed_s:.1f} a second"


def options_of(config: DictConfig) -> "Options":
    """The fields of `Options`, from the config."""
    from evaluation.options import Options
    from evaluation.sliders import PortraitEdit

    plain: Any = OmegaConf.to_container(config, resolve=True)
    sliders = plain["edit"]
    if not isinstance(sliders, dict):
        raise ValueError(f"edit={sliders} cannot be used; give single sliders, for example edit.smile=1")
    for name, value in sliders.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"edit.{name}={value} cannot be used; give a number")
    try:
        edit = PortraitEdit(**{name: float(value) for name, value in sliders.items()})
    except TypeError as error:
        raise ValueError(f"edit: {error}; see docs/animation.md for the sliders") from error
    except ValueError as error:
        raise ValueError(f"edit.{error}") from error
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

    outputs = [of(path) for path in (out, *also(config))]
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
    found = also(config)
    if _has_companions(config, out):
        found += [_named(out, "_side_by_side.mp4")] * bool(config.side_by_side)
        found += [_named(out, "_crops.mp4")] * bool(config.save_crops)
    found += [out.with_suffix(TEMPLATE_SUFFIX)] * bool(config.save_template)
    return found


def also(config: DictConfig) -> list[Path]:
    """Further files of the result; one name needs no brackets."""
    names = [config.also] if isinstance(config.also, str) else config.also or []
    return [Path(str(name)) for name in names]


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
    end = "; Ctrl-C ends the film" if getattr(animation.driver, "camera", None) else ""
    read_by = getattr(animation.driver, "model", "")
    if read_by not in ("", animation.weights_name):
        end = f"; the template is of the weights {read_by}, to whose expressions others give other meanings"
    return f"moving {animation.name} ({what or 'head given by hand'}{chosen}{heads}) like {config.driving}{end}"


def check_files(config: DictConfig, out: Path) -> None:
    """See that the options for files make sense, before anything is loaded.

    Raises:
        ValueError: they do not, or a file that is read would be replaced.
    """
    from evaluation.outputs import SUFFIXES

    for name in ("side_by_side", "save_crops", "save_template"):
        if not isinstance(config[name], bool):
            raise ValueError(f"{name}={config[name]} cannot be used; give true or false")
    for name, most in (("crf", 51), ("batch_frames", 1024)):
        value = config[name]
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise ValueError(f"{name}={value} is out of range; give a whole number from 0 to {most}")
    for path in (out, *also(config)):
        if not path.name or path.suffix.lower() not in (*SUFFIXES, ""):
            raise ValueError(f"{path}: give a name that ends in {', '.join(SUFFIXES)}, or a folder for frames")
    for name in ("source", "driving"):
        read = Path(str(config[name])).resolve()
        if any(path.resolve() == read for path in (out, *beside(config, out))):
            raise ValueError(f"{name}={config[name]} would be replaced by the result; give another out")


@contextmanager
def _filmed_until_ctrl_c(animation: "Animation") -> Iterator[None]:
    """Let the first Ctrl-C end a camera's film, which is then finished; the next one stops the program as usual."""
    camera = getattr(animation.driver, "camera", None)
    if camera is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = signal.getsignal(signal.SIGINT)

    def end(*_: object) -> None:
        signal.signal(signal.SIGINT, usual)
        camera.stop()

    signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def _write_config(config: DictConfig, out: Path) -> None:
    from data_pipeline.whole_file import whole_file, write_errors

    path = _named(out, CONFIG_SUFFIX)
    with whole_file(path) as part, write_errors(path):
        OmegaConf.save(config, part, resolve=True)


def _media(value: Any) -> str:  # noqa: ANN401
    return str(value)


def _driving(value: Any) -> str | int:  # noqa: ANN401
    return value if isinstance(value, int) else str(value)


def _reader(name: str | None) -> "OpeningReader | None":
    if name is None:
        return None
    if name == "built_in":
        from evaluation.built_in_openings import BuiltInOpenings

        return BuiltInOpenings()
    if name == "face_mesh":
        from evaluation.openings import FaceMeshOpenings

        return FaceMeshOpenings()
    raise ValueError(
        f"openings={name!r} is unknown; give built_in or face_mesh, or source_eyes and source_lips by hand"
    )


if __name__ == "__main__":
    main()
