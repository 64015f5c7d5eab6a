"""A source + a driver, in files or arrays -> animated frames, lazily: the front door of this package."""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import numpy as np
from jaxtyping import Float32, UInt8

from data_pipeline import media
from evaluation.driver import Driver, Footage, driving_square, is_camera, open_driver
from evaluation.engine import Engine, Kind
from evaluation.moved_photo import PhotoMover
from evaluation.moved_video import VideoMover
from evaluation.openings import OpeningReader, held
from evaluation.options import Audio, Options
from evaluation.performance import Performance
from evaluation.source import HeadFinder, SourcePortrait, SourceVideo, crop_source, probe_source
from evaluation.source_video import open_source_video
from evaluation.steps import Step
from evaluation.templates import MotionTemplate
from lp_models.fast import Precision

__all__ = ["Animation", "Animator", "Step", "load_detector", "usable_device"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Animation:
    """An animation that is made while it is iterated; iterate again to make it again (a camera plays once)."""

    engine: Engine
    portraits: tuple[SourcePortrait, ...] | SourceVideo
    """The heads of a photo that are moved, or a video with one."""
    driver: Driver
    driving_from_crop: Float32[np.ndarray, "2 3"] | None
    """Where the driving square lies in the driving frames; None for a template."""
    options: Options
    reader: OpeningReader | None = None
    weights_name: str = ""

    @property
    def name(self) -> str:
        """The source's name, for messages."""
        return self.portraits.name if isinstance(self.portraits, SourceVideo) else self.portraits[0].name

    @property
    def fps(self) -> Fraction:
        """Frames per second, exactly: of the source video, else of the driver."""
        return self.portraits.fps if isinstance(self.portraits, SourceVideo) else self.driver.fps

    @property
    def num_frames(self) -> int:
        """How many frames to expect; 0 when nobody knows. What is iterated is what decodes."""
        count = self.performance().num_frames
        if not isinstance(self.portraits, SourceVideo):
            return count
        return self.portraits.num_frames if self.is_still_driver else min(count, self.portraits.num_frames)

    @property
    def is_still_driver(self) -> bool:
        """Whether one picture drives."""
        return self.performance().is_still

    @property
    def is_still(self) -> bool:
        """Whether the result is one picture."""
        return self.is_still_driver and not isinstance(self.portraits, SourceVideo)

    def audio_from(self, priority: Audio = "driver") -> Path | None:
        """The file whose sound belongs to the result: the driver's or the source's, whichever there is."""
        driver = self.driver.path if isinstance(self.driver, Footage) and self.driver.has_audio else None
        source = self.portraits.path if isinstance(self.portraits, SourceVideo) and self.portraits.has_audio else None
        if priority not in get_args(Audio):
            raise ValueError(f"audio={priority!r} is unknown; choose one of {', '.join(get_args(Audio))}")
        if priority == "none":
            return None
        return (driver or source) if priority == "driver" else (source or driver)

    def performance(self) -> Performance:
        """What the driver does, at this animation's rate."""
        return Performance(self.engine, self.driver, self.driving_from_crop, self.reader, self.fps)

    def template(self) -> MotionTemplate:
        """The driver's motion, to be written and used again.

        Raises:
            ValueError: the driver is a camera, which plays once.
        """
        if isinstance(self.driver, Footage) and self.driver.camera is not None:
            raise ValueError(f"{self.driver.name} plays once, so its motion cannot be saved too; film to a file first")
        performance = Performance(self.engine, self.driver, self.driving_from_crop, self.reader)
        motion, openings = performance.whole()
        has_face = openings is not None and bool(openings.lips.isfinite().any())
        eyes, lips = held(openings) if openings is not None and has_face else (None, None)
        return MotionTemplate(
            motion=type(motion)(*(value.cpu() for value in motion)), fps=self.driver.fps, eye_ratios=eyes,
            lip_ratios=lips, source=performance.driver_name, model=self.weights_name,
        )  # fmt: skip

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """Result frames."""
        steps = self.steps(with_driver=False)
        with closing(steps):
            for step in steps:
                yield step.frame

    def steps(self, *, with_driver: bool = True) -> Generator[Step, None, None]:
        """Result frames with the crops beside them; memory does not grow with the length.

        Args:
            with_driver: give the driver's pictures too, even where its motion is known already.
        """
        if isinstance(self.portraits, SourceVideo):
            mover = VideoMover(self.engine, self.portraits, self.performance(), self.options, self.reader)
        else:
            mover = PhotoMover(self.engine, self.portraits, self.performance(), self.options, self.reader)
        return mover.steps(with_driver=with_driver)


class Animator:
    """Moves portraits with the weights of one directory."""

    def __init__(
        self, engine: Engine, detector: HeadFinder | None, reader: OpeningReader | None = None, weights_name: str = ""
    ) -> None:
        self.engine = engine
        self.detector = detector
        self.reader = reader
        self.weights_name = weights_name

    @classmethod
    def from_pretrained(
        cls,
        weights: str | Path = "starter",
        *,
        detector: HeadFinder | str | None = "starter",
        device: str = "auto",
        batch_frames: int = 0,
        engine: Kind = "fast",
        precision: Precision | None = None,
        compiled: bool = False,
        openings: OpeningReader | None = None,
    ) -> "Animator":
        """Load weights: the starter that comes with the package, downloaded ones, a directory or a checkpoint.

        Args:
            weights: starter, official, official_animals, a directory, or a .ckpt file of lp-finetune.
            detector: `starter`, any callable like it, or None when boxes or ready crops are given.
            device: auto, cpu, cuda, cuda:1, ...
            batch_frames: frames generated at once: more is faster on a GPU and needs more memory; 0 chooses.
            engine: fast, or plain for the readable networks.
            precision: of the fast networks; None takes the best that the device has.
            compiled: let torch.compile fuse the fast networks: worth its minute on a GPU.
            openings: reads how open eyes and lips are, for retargeting: `built_in_openings.BuiltInOpenings`.

        Raises:
            ValueError: the weights or the detector cannot be loaded; the message says what to do.
        """
        from lp_models.weights import load_pretrained, resolve_weights

        place = usable_device(device)
        model = load_pretrained(resolve_weights(weights), place)
        name = model.config.name
        finder = load_detector(detector) if isinstance(detector, str) else detector
        made = Engine(model, place, batch_frames, kind=engine, precision=precision, compiled=compiled)
        return cls(made, finder, openings, name)

    def animate(
        self,
        source: str | Path | UInt8[np.ndarray, "H W 3"],
        driving: str | Path | int | UInt8[np.ndarray, "T H2 W2 3"],
        options: Options | None = None,
        **changes: Any,  # noqa: ANN401
    ) -> Animation:
        """Find the heads now, and make the frames when the answer is iterated.

        Args:
            source: photo or video of the animal (or person) to move, or a picture in memory.
            driving: video, photo, motion template, camera number, or frames in memory.
            options: how; see `evaluation.options.Options`, of which every field can also be given by name.
            changes: fields of `Options`, such as multiplier=1.3 or edit=PortraitEdit(smile=1).

        Raises:
            ValueError: a file, a head or an option is not as it should be.
            TypeError: there is no such option.
        """
        chosen = replace(options or Options(), **changes)
        side_px = self.engine.input_px
        framing: dict[str, Any] = {
            "head": chosen.head, "box": chosen.source_box, "crop": chosen.source_crop, "scale": chosen.source_scale,
        }  # fmt: skip
        fps = None if chosen.fps is None else Fraction(chosen.fps).limit_denominator(100_000)
        is_live = not isinstance(driving, np.ndarray) and is_camera(driving)
        # A mistake is told before a long source is looked through; a camera runs from when it is opened.
        driver = None if is_live else open_driver(driving, fps, chosen.seconds)
        portraits: tuple[SourcePortrait, ...] | SourceVideo
        if isinstance(source, np.ndarray):
            if source.ndim != 3 or source.shape[2] != 3 or source.dtype != np.uint8 or min(source.shape) < 1:
                raise ValueError(f"the source picture is {source.dtype}{list(source.shape)}; give u8[H,W,3]")
            portraits = tuple(crop_source(source, side_px, self.detector, **framing))
        elif (item := probe_source(source)).kind == "video":
            portraits = open_source_video(item, side_px, self.detector, **framing)
        else:
            image = next(media.read_frames(item.path))
            portraits = tuple(crop_source(image, side_px, self.detector, name=item.path.name, **framing))
        driver = driver or open_driver(driving, fps, chosen.seconds)
        square = None
        K = self.engine.config.num_keypoints
        if isinstance(driver, MotionTemplate) and driver.num_keypoints != K:
            raise ValueError(
                f"driving={driving}: the template has {driver.num_keypoints} keypoints and these weights {K}; make it "
                "with these weights"
            )
        if isinstance(driver, Footage):
            square = driving_square(
                driver, side_px, self.detector, crop=chosen.driving_crop, box=chosen.driving_box,
                scale=chosen.driving_scale,
            )  # fmt: skip
        return Animation(
            engine=self.engine, portraits=portraits, driver=driver, driving_from_crop=square, options=chosen,
            reader=self.reader, weights_name=self.weights_name,
        )  # fmt: skip


def load_detector(name: str) -> HeadFinder:
    """The head detector of `conf/detector/<name>.yaml`.

    Raises:
        ValueError: there is no such detector.
    """
    from importlib import resources

    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    file = resources.files("conf") / "detector" / f"{name}.yaml"
    if not file.is_file():
        raise ValueError(f"detector={name!r} is unknown; give starter, a detector object, or None with boxes")
    return instantiate(OmegaConf.create(file.read_text()), _convert_="all")


def usable_device(name: str) -> str:
    """`auto` -> cuda where there is one, else cpu; other names stay.

    Raises:
        ValueError: there is no such device.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    count = torch.cuda.device_count()
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device={name} is unknown; give auto, cpu, cuda or cuda:1") from error
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ValueError(f"device={name}: this machine has {count} CUDA devices; give auto, cpu or another number")
    return name
