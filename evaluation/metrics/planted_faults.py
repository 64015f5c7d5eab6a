"""A perfect result and a dose -> the same result, spoiled on purpose in a known way."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from data_pipeline.crop import crop_transform, invert, move_points, warp_crop, warp_labels
from data_pipeline.puppets.identity import sample_identity
from data_pipeline.puppets.motion import COLUMN, generator
from data_pipeline.puppets.render import PuppetFrame, render
from data_pipeline.records import Species
from evaluation.metrics.signals import signals_of
from evaluation.protocols.pairs import PairFrames, Truth
from evaluation.puppet_levels import Kind, Level, level_motion, level_pictures

Motion = Float32[np.ndarray, "T P"]
Frames = UInt8[np.ndarray, "T S S 3"]
Square = Float32[np.ndarray, "2 3"]
MOUTH = ("jaw", "mouth_right", "mouth_left", "pucker")
SIDEWAYS = ("yaw_deg", "roll_deg", "gaze_x", "head_x", "shoulder_x")
PERFORMANCE = "performance"
"""Names the motion among those of a seed."""
JITTER_DEG, JITTER_UNITS = (1.0, 1.0, 1.0), 0.01
"""Of dose 1: spread of pitch, yaw, roll, and of the head's place in head units."""


@dataclass(frozen=True)
class Stage:
    """A puppet that performs, rendered exactly; a person performs the same and drives it."""

    species: Species = "cat"
    level: Level = "plain"
    """How hard it is, as in the puppet benchmark."""
    index: int = 0
    """Number of the identity."""
    num_frames: int = 24
    fps: float = 8.0
    size_px: int = 192
    seed: int = 0

    @cached_property
    def motion(self) -> Motion:
        """What is performed."""
        return level_motion(self._kind, self.seed, self.num_frames, self.fps, PERFORMANCE)

    @cached_property
    def pair(self) -> PairFrames:
        """The true pair with everything that is known about it, in crops framed as the networks see them."""
        true, driver = self._rendered(self.species, self.index, self.motion), self._rendered("human", 0, self.motion)
        square, other = self._square, _square_of(driver, "human", self.size_px)
        points, shown = (_moved([frame.points for frame in one], at) for one, at in ((true, square), (driver, other)))
        arrays = {name: np.stack([getattr(frame, name) for frame in true]) for name in ("pose_deg", "eye_open")}
        arrays["lip_open"] = np.array([frame.lip_open for frame in true])
        frames = _cut(true, square)
        return PairFrames(
            source=frames[0],
            driving=level_pictures(self._kind, _cut(driver, other), shown, self.seed, PERFORMANCE),
            truth=Truth(
                frames=frames,
                species=self.species,
                points=points,
                labels=np.stack([warp_labels(frame.labels, square, self.size_px) for frame in true]),
            ),
            source_points=points[0],
            driving_points=shown,
            species=self.species,
            driver_species="human",
            signals=signals_of(arrays, square),
            source_landmarks=_moved([true[0].landmarks], square)[0],
            driving_landmarks=_moved([frame.landmarks for frame in driver], other),
        )

    @property
    def truth(self) -> Frames:
        """The true frames."""
        assert self.pair.truth is not None
        return self.pair.truth.frames

    def frames(self, motion: Motion, index: int | None = None) -> Frames:
        """What another motion, or another individual of the species, looks like in the same square."""
        return _cut(self._rendered(self.species, self.index if index is None else index, motion), self._square)

    @property
    def name(self) -> str:
        """Like `cat, plain`."""
        return f"{self.species}, {self.level.replace('_', ' ')}"

    @property
    def _kind(self) -> Kind:
        return Kind(self.level, "all")

    @cached_property
    def _square(self) -> Square:
        return _square_of(self._rendered(self.species, self.index, self.motion), self.species, self.size_px)

    def _rendered(self, species: Species, index: int, motion: Motion) -> list[PuppetFrame]:
        identity = sample_identity(species, index, self.seed)
        return [render(identity, code, self.size_px) for code in motion]


def _square_of(frames: list[PuppetFrame], species: Species, side_px: int) -> Square:
    """One square for a clip, as for puppets in `evaluation.clips`."""
    return crop_transform(np.median([frame.points for frame in frames], axis=0).astype(np.float32), species, side_px)


def _cut(frames: list[PuppetFrame], square: Square) -> Frames:
    return np.stack([warp_crop(frame.image, square, frame.image.shape[0]) for frame in frames])


def _moved(points: list[np.ndarray], square: Square) -> Float32[np.ndarray, "T L 2"]:
    return move_points(invert(square), np.stack(points))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way to be wrong."""

    name: str
    dose: str
    """What the dose counts."""
    doses: tuple[float, ...]
    """Growing; 0, the truth itself, is put in front."""
    meant: tuple[str, ...]
    """Metrics that must react, more with each dose."""
    spoil: Callable[[Stage, float], np.ndarray]
    """u8 frames, or float ones in 0-1, as a method may return."""
    is_ruin: bool = False
    """Frames are gone: what a metric makes of that is no yardstick for the finer faults."""


def identity_swapped(stage: Stage, share: float) -> Frames:
    """Another individual performs the same in this share of the frames, spread over the clip."""
    wrong = stage.frames(stage.motion, stage.index + 1)
    turn = np.floor(np.arange(1, len(wrong) + 1) * share + 1e-9) > np.floor(np.arange(len(wrong)) * share + 1e-9)
    return np.where(turn[:, None, None, None], wrong, stage.truth)


def mouth_frozen(stage: Stage, share: float) -> Frames:
    """The mouth stays as it was in the first frame over the last share of the clip."""
    motion, columns = stage.motion.copy(), [COLUMN[name] for name in MOUTH]
    start = len(motion) - round(share * len(motion))
    motion[start:, columns] = motion[:1, columns]
    return stage.frames(motion)


def lag(stage: Stage, frames: float) -> Frames:
    """Everything comes late; the first frame waits."""
    return stage.truth[np.maximum(0, np.arange(len(stage.truth)) - int(frames))]


def mirrored(stage: Stage, share: float) -> Frames:
    """Turned towards the wrong side: 0.5 does not turn, 1 is the mirror image of the motion."""
    motion, columns = stage.motion.copy(), [COLUMN[name] for name in SIDEWAYS]
    motion[:, columns] *= np.float32(1 - 2 * share)
    return stage.frames(motion)


def jitter(stage: Stage, dose: float) -> Frames:
    """The head shakes at random from frame to frame."""
    motion, rng = stage.motion.copy(), generator(stage.seed, "jitter")
    motion[1:, :3] += (rng.normal(0, dose, (len(motion) - 1, 3)) * JITTER_DEG).astype(np.float32)
    place = [COLUMN["head_x"], COLUMN["head_y"]]
    motion[1:, place] += rng.normal(0, dose * JITTER_UNITS, (len(motion) - 1, 2)).astype(np.float32)
    return stage.frames(motion)


def background_moved(stage: Stage, px: float) -> Frames:
    """The background slides behind the animal, to and fro, so many pixels at most."""
    assert stage.pair.truth is not None
    assert stage.pair.truth.labels is not None
    shifts = px * np.sin(np.arange(len(stage.truth)) * 0.7)
    made = stage.truth.copy()
    for frame, labels, shift in zip(made, stage.pair.truth.labels, shifts, strict=True):
        matrix = np.array([[1.0, 0, shift], [0, 1, 0]])
        slid = cv2.warpAffine(frame, matrix, frame.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
        frame[labels == 0] = slid[labels == 0]
    return made


def texture_boils(stage: Stage, levels: float) -> Frames:
    """Soft noise of its own in each frame, so many grey levels strong."""
    rng, shape = generator(stage.seed, "boil"), stage.truth.shape
    grains = rng.normal(0, 1, shape[:3]).astype(np.float32)
    soft = np.stack([cv2.GaussianBlur(grain, (0, 0), 2.0) for grain in grains])
    noise = soft / soft.std() * levels
    return np.clip(stage.truth + noise[..., None], 0, 255).astype(np.uint8)


def blurred(stage: Stage, sigma_px: float) -> Frames:
    """Detail is missing."""
    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma_px) for frame in stage.truth])


def not_finite(stage: Stage, share: float) -> Float32[np.ndarray, "T S S 3"]:
    """Frames, in 0-1, of which this share holds NaN."""
    made = stage.truth.astype(np.float32) / 255
    made[len(made) - round(share * len(made)) :, 0, 0, 0] = np.nan
    return made


def head_lost(stage: Stage, share: float) -> Frames:
    """Grey frames in this share of the clip."""
    made = stage.truth.copy()
    made[len(made) - round(share * len(made)) :] = 114
    return made


FAULTS = (
    Fault(name="identity swapped", dose="share of frames", doses=(0.25, 0.5, 1.0), spoil=identity_swapped,
          meant=("csim_stand_in", "csim_truth_stand_in", "gallery_rank_stand_in", "l1_face")),
    Fault(name="mouth frozen", dose="share of frames", doses=(0.15, 0.3, 1.0), spoil=mouth_frozen,
          meant=("l1_mouth", "psnr_mouth", "ssim_mouth", "lips_corr", "lip_error")),
    Fault(name="time lag", dose="frames", doses=(1.0, 2.0, 4.0), spoil=lag,
          meant=("l1_face", "grad_distance", "motion_gain", "yaw_corr", "yaw_lag")),
    Fault(name="mirrored motion", dose="share", doses=(0.25, 0.5, 1.0), spoil=mirrored,
          meant=("l1_face", "motion_gain", "point_error", "yaw_corr", "pose_error_deg")),
    Fault(name="jitter added", dose="degrees", doses=(1.0, 2.0, 4.0), spoil=jitter,
          meant=("flicker", "flicker_excess", "l1_face")),
    Fault(name="background moved", dose="px", doses=(1.0, 3.0, 9.0), spoil=background_moved,
          meant=("background_drift", "l1_background", "psnr_background", "ssim_background")),
    Fault(name="texture boils", dose="grey levels", doses=(4.0, 8.0, 16.0), spoil=texture_boils,
          meant=("warp_error", "flicker", "flicker_excess")),
    Fault(name="blurred", dose="px", doses=(1.0, 2.0, 4.0), spoil=blurred,
          meant=("ssim", "ms_ssim", "psnr", "grad_distance", "kid_stand_in", "fid_stand_in")),
    Fault(name="head lost", dose="share of frames", doses=(0.25, 0.5, 1.0), spoil=head_lost, is_ruin=True,
          meant=("detected", "csim_stand_in", "gallery_rank_stand_in")),
    Fault(name="not finite", dose="share of frames", doses=(0.25, 0.5, 1.0), spoil=not_finite, is_ruin=True,
          meant=("broken", "l1")),
)  # fmt: skip
STAGES = (
    Stage(),
    Stage(species="dog", level="other_light", index=3, seed=1),
    Stage(species="panda", level="large_pose", index=5, seed=4),
)
"""From easy to hard. Heads turn to both sides: of those that turn to one, the mirrored face leaves the square."""
