"""Clips -> batches of (source, driving, target): every step's batch is a function of the seed and the step number.

Three kinds of rows. *Self*: two frames of one clip, the driving frame is the target. *Still*: a picture and a slightly
moved copy of it. *Cross*: identity A's frame is the source, identity B performing the same frame drives, and A's own
frame is the target, which puppets make exact.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from torch import Tensor

from finetune.augment import Augment, Frame, Matrix, compose, roll_of, transform
from finetune.clips import NUM_LANDMARKS, Clip
from finetune.mixture import Mixture
from finetune.partners import overlap
from finetune.plan import Draw, Plan
from finetune.shard_stream import ClipStore

WHOLE: Matrix = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


class Annotation(NamedTuple):
    """What is known about one picture of each row. Coordinates are fractions of the side."""

    points: Float[Tensor, "B 5 2"]
    landmarks: Float[Tensor, "B L 2"]
    visible: Float[Tensor, "B L"]
    """1 where the landmark can be seen."""
    eye_open: Float[Tensor, "B 2"]
    """Own right, own left eye: lid distance over corner distance."""
    lip_open: Float[Tensor, "B 1"]
    pose_deg: Float[Tensor, "B 3"]
    """Pitch, yaw, roll in the crop."""


class Batch(NamedTuple):
    """One step's rows; pictures are RGB in 0-1."""

    source: Float[Tensor, "B 3 S S"]
    driving: Float[Tensor, "B 3 S S"]
    target: Float[Tensor, "B 3 S_out S_out"]
    """What the source should look like when driven, at the generator's size; the driving frame unless `is_cross`."""
    source_truth: Annotation
    driving_truth: Annotation
    target_truth: Annotation
    species: Int64[Tensor, " B"]
    """Of the source; positions in SPECIES."""
    is_video: Bool[Tensor, " B"]
    is_cross: Bool[Tensor, " B"]
    has_truth: Bool[Tensor, " B"]
    """Everything in the annotations is exact; otherwise only the five points are known."""
    roll_offset_deg: Float[Tensor, " B"]
    """By how much the target's crop is turned against the driving's (cross rows; else 0)."""
    source_labels: UInt8[Tensor, "B S S"]
    """0 background, 1 shoulders, 2 head, 3 eyes, 4 lips; zeros where unknown."""
    has_labels: Bool[Tensor, " B"]
    has_landmarks: Bool[Tensor, " B"]
    """Landmarks and openings are known: exactly where has_truth, else as a landmark detector read them."""


class Row(NamedTuple):
    """One row before it is stacked."""

    source: Frame
    driving: Frame
    target: Frame
    species: int
    is_video: bool
    is_cross: bool
    has_truth: bool
    has_landmarks: bool
    roll_offset_deg: float


class PairSampler:
    """Draws batches from clips.

    Raises:
        ValueError: none of the clips belongs to a species with a share above 0.
    """

    def __init__(
        self, clips: ClipStore, mixture: Mixture, augment: Augment, *, seed: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        self.clips, self.mixture, self.augment, self.seed = clips, mixture, augment, seed
        self.rank = rank
        self.plan = Plan(clips.cards, mixture, clips.room, seed=seed, rank=rank, world=world)

    def of_rank(self, rank: int, world: int) -> "PairSampler":
        """The same clips, as one of several processes draws from them."""
        return PairSampler(self.clips, self.mixture, self.augment, seed=self.seed, rank=rank, world=world)

    @property
    def species(self) -> set[int]:
        """Species that rows can show; positions in SPECIES."""
        return {kind.species for kind in self.plan.shares}

    def describe(self) -> str:
        """One line: what is there to draw from, and what differs from what was asked for."""
        return self.plan.describe()

    def batch(
        self, step: int, batch_size: int, side_px: int, target_px: int | None = None, first_row: int | None = None
    ) -> Batch:
        """The rows of one step.

        Args:
            step: its number, for the draws of frames, crops and colours.
            batch_size: rows.
            side_px: of sources and driving pictures.
            target_px: of targets; default: like the others.
            first_row: rows of this process in all steps before; default: as many in each as in this one.
        """
        first = step * batch_size if first_row is None else first_row
        rng = np.random.default_rng((self.seed, step, self.rank))
        # Rows take turns in a fixed manner; within a step their order is drawn.
        draws = [self.plan.draw(first + int(i)) for i in rng.permutation(batch_size)]
        return stack([self.row(draw, rng, side_px, target_px or side_px) for draw in draws], side_px)

    def prefetch(self, rows: Iterable[int]) -> None:
        """Read in the background what these rows will need."""
        draws = (self.plan.draw(row) for row in rows)
        self.clips.prefetch(number for draw in draws for number in draw if number is not None)

    def row(self, draw: Draw, rng: np.random.Generator, side_px: int, target_px: int) -> Row:
        """One row; `rng` gives the frames, the crops, the mirror and the colours."""
        clip = self.clips.clip(draw.clip)
        exact, labelled = clip.is_exact, bool(clip.truth)
        mirror = bool(rng.random() < self.augment.flip_prob)
        crop, colour = self.augment.crop_matrix(rng), int(rng.integers(2**31))
        if clip.num_frames == 1:
            moved = compose(self.augment.still_matrix(rng), crop)
            frame = frame_of(clip, 0)
            source = transform(frame, crop, side_px, mirror)
            target = transform(frame, moved, target_px, mirror)
            driving = target if side_px == target_px else transform(frame, moved, side_px, mirror)
            return self._coloured(
                Row(source, driving, target, clip.species, False, False, exact, labelled, 0.0), colour
            )
        s, t = (int(i) for i in rng.integers(clip.num_frames, size=2))
        source = transform(frame_of(clip, s), crop, side_px, mirror)
        if draw.partner is None:
            frame = frame_of(clip, t)
            target = transform(frame, crop, target_px, mirror)
            driving = target if side_px == target_px else transform(frame, crop, side_px, mirror)
            return self._coloured(Row(source, driving, target, clip.species, True, False, exact, labelled, 0.0), colour)
        partner = self.clips.clip(draw.partner)
        native = overlap(clip, partner)
        moment = native[int(rng.integers(len(native)))]
        target_frame = frame_of(clip, (moment - clip.start) // clip.stride)
        driving_frame = frame_of(partner, (moment - partner.start) // partner.stride)
        target = transform(target_frame, crop, target_px, mirror)
        other = self.augment.crop_matrix(rng)
        driving = transform(driving_frame, other, side_px, mirror)
        offset = float(target_frame.pose_deg[2] - driving_frame.pose_deg[2]) + roll_of(crop) - roll_of(other)
        row = Row(source, driving, target, clip.species, True, True, True, True, -offset if mirror else offset)
        return self._coloured(row, colour)

    def _coloured(self, row: Row, seed: int) -> Row:
        same = row.target is row.driving
        frames = [row.source, row.target] if same else [row.source, row.driving, row.target]
        images = self.augment.recolour([frame.image for frame in frames], seed)
        frames = [frame._replace(image=image) for frame, image in zip(frames, images, strict=True)]
        return row._replace(source=frames[0], driving=frames[1], target=frames[-1])


def frame_of(clip: Clip, index: int) -> Frame:
    """One frame with what is known about it; zeros elsewhere."""
    image, points, labels = clip.image(index), clip.points[index], clip.label_map(index)
    truth, unknown = clip.truth, np.zeros(3, np.float32)
    if not truth:
        return Frame(
            image=image, points=points, landmarks=np.zeros((NUM_LANDMARKS, 2), np.float32),
            visible=np.zeros(NUM_LANDMARKS, np.float32), eye_open=np.zeros(2, np.float32),
            lip_open=np.zeros(1, np.float32), pose_deg=unknown, labels=labels,
        )  # fmt: skip
    return Frame(
        image=image, points=points, landmarks=truth["landmarks"][index],
        visible=truth["landmark_visible"][index].astype(np.float32),
        eye_open=truth["eye_open"][index].astype(np.float32),
        lip_open=np.reshape(truth["lip_open"][index], 1).astype(np.float32),
        pose_deg=truth["pose_deg"][index].astype(np.float32) if clip.is_exact else unknown, labels=labels,
    )  # fmt: skip


def stack(rows: Sequence[Row], side_px: int) -> Batch:
    """Rows -> tensors."""

    def images(frames: list[Frame]) -> Tensor:
        return torch.from_numpy(np.stack([frame.image for frame in frames])).permute(0, 3, 1, 2).float().div_(255)

    def annotation(frames: list[Frame]) -> Annotation:
        return Annotation(
            *(torch.from_numpy(np.stack([getattr(f, name) for f in frames])) for name in Annotation._fields)
        )

    sources, drivings, targets = [r.source for r in rows], [r.driving for r in rows], [r.target for r in rows]
    blank: UInt8[np.ndarray, "S S"] = np.zeros((side_px, side_px), np.uint8)
    labels = [blank if r.source.labels is None else r.source.labels for r in rows]
    offsets: Float32[np.ndarray, " B"] = np.array([r.roll_offset_deg for r in rows], np.float32)
    return Batch(
        source=images(sources),
        driving=images(drivings),
        target=images(targets),
        source_truth=annotation(sources),
        driving_truth=annotation(drivings),
        target_truth=annotation(targets),
        species=torch.tensor([r.species for r in rows]),
        is_video=torch.tensor([r.is_video for r in rows]),
        is_cross=torch.tensor([r.is_cross for r in rows]),
        has_truth=torch.tensor([r.has_truth for r in rows]),
        roll_offset_deg=torch.from_numpy(offsets),
        source_labels=torch.from_numpy(np.stack(labels)),
        has_labels=torch.tensor([r.source.labels is not None for r in rows]),
        has_landmarks=torch.tensor([r.has_landmarks for r in rows]),
    )
