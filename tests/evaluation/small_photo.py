"""A small photo, all of which the networks see -> its animation, and what they read in it and in its driver."""

from fractions import Fraction

import numpy as np
import torch

from evaluation.animator import Animation, Animator
from evaluation.driving import DrivingOptions, PosedMotion, drive_image
from tests.evaluation.stand_ins import ball_picture, small_driver

WHOLE = {"source_crop": False, "driving_crop": False}
SOURCE = ball_picture(30, 34, 24, 64, 64)


def moved_photo(animator: Animator, driver: np.ndarray | None = None, *, reader=None, **options) -> Animation:
    """The animation, ten frames a second, without stitching unless it is asked for."""
    animator.reader = reader
    driver = small_driver(8) if driver is None else driver
    return animator.animate(SOURCE, driver, **WHOLE, **{"stitching": False, "fps": Fraction(10), **options})


class Read:
    """What the networks see: the photo's keypoints, the motion of frames, and where the rules move the photo then."""

    def __init__(self, animator: Animator) -> None:
        self.engine = animator.engine
        self.source = self.engine.prepare(SOURCE)
        self.x_s = self.source.x_s

    def driver(self, frames: np.ndarray) -> PosedMotion:
        return self.engine.read_motion(frames)

    def driven(self, motion: PosedMotion, options: DrivingOptions | None = None, at: int = 0) -> torch.Tensor:
        reference = motion.frames(at, at + 1)
        return drive_image(self.source.canonical, self.source.motion, motion, reference, options or DrivingOptions())


def near(a: torch.Tensor, b: torch.Tensor, within: float = 1e-5) -> bool:
    """Whether two sets of keypoints are the same but for rounding."""
    return bool(torch.allclose(a, b.expand_as(a), atol=within))
