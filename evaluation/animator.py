"""A photo + a driving video, in files or arrays -> animated frames, lazily."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from data_pipeline.crop import warp_crop
from evaluation.driver import Footage, driving_square, open_footage
from evaluation.driving import Balance, DrivingOptions, Region, Rules
from evaluation.engine import Engine
from evaluation.pasteback import paster, scaled_to_side
from evaluation.source import Choice, HeadFinder, SourcePortrait, crop_source, read_photo


class Step(NamedTuple):
    """Everything made for one driving frame."""

    frame: UInt8[np.ndarray, "H W 3"]
    """The result: the whole photo, or the crop without paste-back."""
    result: UInt8[np.ndarray, "S S 3"]
    """What the generator made."""
    driving: UInt8[np.ndarray, "S S 3"]
    """What the networks saw of the driver."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Animation:
    """An animation that is made while it is iterated; iterate again to make it again."""

    engine: Engine
    source: SourcePortrait
    footage: Footage
    driving_from_crop: Float32[np.ndarray, "2 3"]
    """Where the driving square lies in the driving frames."""
    options: DrivingOptions
    stitching: bool
    pasteback: bool

    @property
    def fps(self) -> Fraction:
        """Frames per second of the driver, exactly."""
        return self.footage.fps

    @property
    def num_frames(self) -> int:
        """The driver's claim; what is iterated is what decodes."""
        return self.footage.num_frames

    @property
    def audio_from(self) -> Path | None:
        """The driving file when it has sound."""
        return self.footage.path if self.footage.has_audio else None

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """Result frames."""
        return (step.frame for step in self.steps())

    def steps(self) -> Iterator[Step]:
        """Result frames with the crops beside them. Memory holds one small batch, however long the driver."""
        waiting: list[np.ndarray] = []
        side_px = self.engine.input_px

        def crops() -> Iterator[np.ndarray]:
            for frame in self.footage.frames():
                waiting.append(warp_crop(frame, self.driving_from_crop, side_px))
                yield waiting[-1]

        results = self.engine.animate(
            self.source.crop, crops(), self.options, stitching=self.stitching, is_still=self.footage.is_still
        )
        apply = self._paster()
        for result in results:
            yield Step(apply(result), result, waiting.pop(0))

    def _paster(self) -> Any:  # noqa: ANN401
        if not self.pasteback:
            return lambda result: result
        output_px = self.engine.output_px
        matrix = scaled_to_side(self.source.source_from_crop, self.engine.input_px, output_px)
        return paster(self.source.image, matrix, output_px)


class Animator:
    """Moves portraits with the weights of one directory."""

    def __init__(self, engine: Engine, detector: HeadFinder | None) -> None:
        self.engine = engine
        self.detector = detector

    @classmethod
    def from_pretrained(
        cls,
        weights: str | Path = "starter",
        *,
        detector: HeadFinder | str | None = "starter",
        device: str = "auto",
        batch_frames: int = 4,
    ) -> "Animator":
        """Load a weights directory, or the starter weights that come with the package.

        Args:
            weights: `starter` or a directory.
            detector: `starter`, any callable like it, or None when boxes or ready crops are given.
            device: auto, cpu, cuda, cuda:1, ...
            batch_frames: frames generated at once: more is faster on a GPU and needs more memory.

        Raises:
            ValueError: the weights or the detector cannot be loaded; the message says what to do.
        """
        from lp_models.weights import load_pretrained, resolve_weights

        place = usable_device(device)
        model = load_pretrained(resolve_weights(weights), place)
        finder = load_detector(detector) if isinstance(detector, str) else detector
        return cls(Engine(model, place, batch_frames), finder)

    def animate(  # noqa: PLR0913 - the options of lp-animate, one by one
        self,
        source: str | Path | UInt8[np.ndarray, "H W 3"],
        driving: str | Path | UInt8[np.ndarray, "T H W 3"],
        *,
        relative: bool = True,
        region: Region = "all",
        driving_option: Balance = "expression-friendly",
        rules: Rules = "human",
        multiplier: float | int = 1.0,
        stitching: bool = True,
        pasteback: bool = True,
        head: Choice = "largest",
        source_box: Sequence[float | int] | None = None,
        source_crop: bool = True,
        source_scale: float | None = None,
        driving_box: Sequence[float | int] | None = None,
        driving_crop: bool = True,
        driving_scale: float | None = None,
        fps: Fraction | None = None,
    ) -> Animation:  # fmt: skip
        """Find the heads now, and make the frames when the answer is iterated.

        Args:
            source: photo of the animal (or person) to move.
            driving: video, photo, or frames of the driver.
            relative: add the driver's motion since its first frame; else take its pose and expression as they are.
            region: all, exp, pose, lip or eyes.
            driving_option: expression-friendly scales the motion to the source's head; pose-friendly does not.
            rules: human, or animal for upstream's animal pipeline.
            multiplier: factor on the motion.
            stitching: keep shoulders and background where they are (needs trained stitching weights to do anything).
            pasteback: return whole photos instead of crops.
            head: which head of the photo: largest, or its number from left to right.
            source_box: head box in the photo, instead of the detector.
            source_crop: False takes the whole photo.
            source_scale: framing of the photo; larger shows more around the head.
            driving_box: head box in the driver.
            driving_crop: False takes whole driving frames.
            driving_scale: framing of the driver.
            fps: of driving frames in memory; files know theirs.

        Raises:
            ValueError: a file, a head or an option is not as it should be.
        """
        options = DrivingOptions(
            relative=relative, region=region, balance=driving_option, rules=rules, multiplier=float(multiplier)
        )
        image = source if isinstance(source, np.ndarray) else read_photo(source)
        name = "the photo" if isinstance(source, np.ndarray) else Path(source).name
        side_px = self.engine.input_px
        portrait = crop_source(
            image, side_px, self.detector, name=name, head=head, box=source_box, crop=source_crop, scale=source_scale
        )
        footage = open_footage(driving, fps)
        square = driving_square(
            footage, side_px, self.detector, crop=driving_crop, box=driving_box, scale=driving_scale
        )
        return Animation(
            engine=self.engine, source=portrait, footage=footage, driving_from_crop=square, options=options,
            stitching=stitching, pasteback=pasteback,
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
    """`auto` -> cuda where there is one, else cpu; other names stay."""
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
