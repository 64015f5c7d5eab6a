"""The programs lp-animate and lp-evaluate: composed configs -> files."""

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
