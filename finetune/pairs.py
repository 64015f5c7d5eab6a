"""Clips -> batches of (source, driving, target): every step's batch is a function of the seed and the step number.

Three kinds of rows. *Self*: two frames of one clip, the driving frame is the target. *Still*: a picture and a slightly
moved copy of it. *Cross*: identity A's frame is the source, identity B performing the same frame drives, and A's own
frame is the target, which puppets make exact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from torch import Tensor

from data_pipeline.records import SPECIES
from finetune.augment import Augment, Frame, Matrix, compose, roll_of, transform
from finetune.clips import NUM_LANDMARKS, Clip

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


class Row(NamedTuple):
    """One row before it is stacked."""

    source: Frame
    driving: Frame
    target: Frame
    species: int
    is_video: bool
    is_cross: bool
    has_truth: bool
    roll_offset_deg: float


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """What rows are made of; the fields are the `data.mixture` options.

    Raises:
        ValueError: a share is outside 0-1 or a species is unknown.
    """

    cross_frac: float = 0.4
    """Share of the puppet video rows that are cross rows."""
    real_frac: float = 0.3
    """Share of rows from media without truth, when both kinds are there."""
    still_frac: float = 0.12
    species: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(SPECIES, 1.0))
    """Relative shares of the sources' species; species without clips are left out."""
    drivers: Mapping[str, float] = field(
        default_factory=lambda: {"human": 3.0, "cat": 1.0, "dog": 1.0, "panda": 1.0},
    )
    """Relative shares of the driving species in cross rows."""

    def __post_init__(self) -> None:
        for name in ("cross_frac", "real_frac", "still_frac"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"data.mixture.{name} is {getattr(self, name)}; give a share between 0 and 1")
        for name in ("species", "drivers"):
            weights = getattr(self, name)
            if unknown := sorted(set(weights) - set(SPECIES)):
                raise ValueError(f"data.mixture.{name} names {unknown[0]!r}; the species are {', '.join(SPECIES)}")
            if any(weight < 0 for weight in weights.values()) or not any(weights.values()):
                raise ValueError(f"data.mixture.{name} needs non-negative shares, one of them above 0")


class PairSampler:
    """Draws batches from clips.

    Raises:
        ValueError: none of the clips belongs to a species with a share above 0.
    """

    def __init__(self, clips: Sequence[Clip], mixture: Mixture, augment: Augment, *, seed: int = 0) -> None:
        self.clips, self.mixture, self.augment, self.seed = clips, mixture, augment, seed
        self.groups: dict[tuple[bool, bool, int], list[int]] = {}
        self.partners: dict[str, list[int]] = {}
        for index, clip in enumerate(clips):
            if mixture.species.get(SPECIES[clip.species], 0.0) > 0:
                group = (bool(clip.truth), clip.num_frames > 1, clip.species)
                self.groups.setdefault(group, []).append(index)
            if clip.truth and clip.performance and clip.num_frames > 1:
                self.partners.setdefault(clip.performance, []).append(index)
        if not self.groups:
            present = sorted({SPECIES[clip.species] for clip in clips})
            raise ValueError(f"the shards hold {', '.join(present)} only, data.mixture.species gives those no share")

    @property
    def species(self) -> set[int]:
        """Species that rows can show; positions in SPECIES."""
        return {species for _, _, species in self.groups}

    def describe(self) -> str:
        """One line: what is there to draw from."""
        parts = []
        for truth, name in ((True, "puppet"), (False, "real")):
            for video, kind in ((True, "clips"), (False, "stills")):
                counts = {
                    SPECIES[s]: len(v) for (t, k, s), v in sorted(self.groups.items()) if (t, k) == (truth, video)
                }
                if counts:
                    parts.append(f"{name} {kind}: " + ", ".join(f"{n} {s}" for s, n in counts.items()))
        shared = sum(len({self.clips[i].identity for i in v}) > 1 for v in self.partners.values())
        return "; ".join(parts) + f"; performances with several identities: {shared}"

    def batch(self, step: int, batch_size: int, side_px: int, target_px: int | None = None, rank: int = 0) -> Batch:
        """The rows of one step; targets have side `target_px` (default: like the others)."""
        rng = np.random.default_rng((self.seed, step, rank))
        return stack([self.row(rng, side_px, target_px or side_px) for _ in range(batch_size)], side_px)

    def row(self, rng: np.random.Generator, side_px: int, target_px: int) -> Row:
        """One row; consumes a bounded number of draws from `rng`."""
        clip = self.clips[self._choose_clip(rng)]
        exact = bool(clip.truth)
        mirror = bool(rng.random() < self.augment.flip_prob)
        crop, colour = self.augment.crop_matrix(rng), int(rng.integers(2**31))
        if clip.num_frames == 1:
            moved = compose(self.augment.still_matrix(rng), crop)
            frames = (self._frame(clip, 0), self._frame(clip, 0))
            source = transform(frames[0], crop, side_px, mirror)
            target = transform(frames[1], moved, target_px, mirror)
            driving = target if side_px == target_px else transform(frames[1], moved, side_px, mirror)
            return self._coloured(Row(source, driving, target, clip.species, False, False, exact, 0.0), colour)
        s, t = (int(i) for i in rng.integers(clip.num_frames, size=2))
        source = transform(self._frame(clip, s), crop, side_px, mirror)
        found = self._partner(clip, rng) if exact and rng.random() < self.mixture.cross_frac else None
        if found is None:
            frame = self._frame(clip, t)
            target = transform(frame, crop, target_px, mirror)
            driving = target if side_px == target_px else transform(frame, crop, side_px, mirror)
            return self._coloured(Row(source, driving, target, clip.species, True, False, exact, 0.0), colour)
        partner, t, u = found
        target_frame, driving_frame = self._frame(clip, t), self._frame(partner, u)
        target = transform(target_frame, crop, target_px, mirror)
        other = self.augment.crop_matrix(rng)
        driving = transform(driving_frame, other, side_px, mirror)
        offset = float(target_frame.pose_deg[2] - driving_frame.pose_deg[2]) + roll_of(crop) - roll_of(other)
        row = Row(source, driving, target, clip.species, True, True, True, -offset if mirror else offset)
        return self._coloured(row, colour)

    def _choose_clip(self, rng: np.random.Generator) -> int:
        draws = rng.random(4)
        groups = list(self.groups)
        groups = _narrow(groups, 0, not draws[0] < self.mixture.real_frac)
        groups = _narrow(groups, 1, not draws[1] < self.mixture.still_frac)
        groups.sort()
        weights = np.array([self.mixture.species[SPECIES[species]] for _, _, species in groups])
        group = groups[int(np.searchsorted(np.cumsum(weights) / weights.sum(), draws[2], side="right"))]
        members = self.groups[group]
        return members[int(draws[3] * len(members))]

    def _partner(self, clip: Clip, rng: np.random.Generator) -> tuple[Clip, int, int] | None:
        """Another identity in the same performance, and one native frame in both: (partner, our index, its index)."""
        others = [self.clips[i] for i in self.partners.get(clip.performance, ())]
        others = [other for other in others if other.identity != clip.identity and _overlap(clip, other)]
        weights = np.array([self.mixture.drivers.get(SPECIES[other.species], 0.0) for other in others])
        if not others or weights.sum() == 0:
            return None
        # The share belongs to the species, however many of its identities perform.
        per_species = np.bincount([other.species for other in others], minlength=len(SPECIES))
        weights = weights / per_species[[other.species for other in others]]
        other = others[int(rng.choice(len(others), p=weights / weights.sum()))]
        native = _overlap(clip, other)
        frame = native[int(rng.integers(len(native)))]
        return other, (frame - clip.start) // clip.stride, (frame - other.start) // other.stride

    def _frame(self, clip: Clip, index: int) -> Frame:
        truth = clip.truth
        if not truth:
            return Frame(
                image=clip.image(index), points=clip.points[index],
                landmarks=np.zeros((NUM_LANDMARKS, 2), np.float32), visible=np.zeros(NUM_LANDMARKS, np.float32),
                eye_open=np.zeros(2, np.float32), lip_open=np.zeros(1, np.float32), pose_deg=np.zeros(3, np.float32),
                labels=clip.label_map(index),
            )  # fmt: skip
        return Frame(
            image=clip.image(index), points=clip.points[index], landmarks=truth["landmarks"][index],
            visible=truth["landmark_visible"][index].astype(np.float32),
            eye_open=truth["eye_open"][index].astype(np.float32),
            lip_open=np.reshape(truth["lip_open"][index], 1).astype(np.float32),
            pose_deg=truth["pose_deg"][index].astype(np.float32), labels=clip.label_map(index),
        )  # fmt: skip

    def _coloured(self, row: Row, seed: int) -> Row:
        same = row.target is row.driving
        frames = [row.source, row.target] if same else [row.source, row.driving, row.target]
        images = self.augment.recolour([frame.image for frame in frames], seed)
        frames = [frame._replace(image=image) for frame, image in zip(frames, images, strict=True)]
        return row._replace(source=frames[0], driving=frames[1], target=frames[-1])


def _narrow(groups: list[tuple[bool, bool, int]], field_index: int, wanted: bool) -> list[tuple[bool, bool, int]]:
    """The groups with the wanted property, or all when none has it."""
    return [group for group in groups if group[field_index] == wanted] or groups


def _overlap(a: Clip, b: Clip) -> range:
    """Native frames that both clips hold; empty when their strides differ."""
    if a.stride != b.stride or (a.start - b.start) % a.stride:
        return range(0)
    stop = min(a.start + a.num_frames * a.stride, b.start + b.num_frames * b.stride)
    return range(max(a.start, b.start), stop, a.stride)


def stack(rows: Sequence[Row], side_px: int) -> Batch:
    """Rows -> tensors."""

    def images(frames: list[Frame]) -> Tensor:
        return torch.from_numpy(np.stack([frame.image for frame in frames])).permute(0, 3, 1, 2).float() / 255

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
    )
