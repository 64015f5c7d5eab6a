"""Clips with exact truth -> batches of heads for the puppet teacher; step n's batch follows from the seed and n."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from finetune.augment import Augment, Frame, transform
from finetune.clips import Clip
from finetune.shard_index import ClipCard
from finetune.teachers.puppet_net import SIDE_PX


@runtime_checkable
class PuppetClips(Protocol):
    """What lessons are drawn from: `finetune.shard_stream.ClipStore`, or anything else that has cards and clips."""

    @property
    def cards(self) -> Sequence[ClipCard]:
        """What is there."""
        ...

    def clip(self, number: int) -> Clip:
        """One of them."""
        ...


class Heads(NamedTuple):
    """Some heads and everything that is true of them."""

    image: Float[Tensor, "B 3 S S"]
    landmarks: Float[Tensor, "B L 2"]
    """Fractions of the side."""
    visible: Float[Tensor, "B L"]
    pose_deg: Float[Tensor, "B 3"]
    opening: Float[Tensor, "B 3"]
    identity: Int64[Tensor, " B"]
    """Position in `PuppetLessons.identities`."""


@dataclass(frozen=True, kw_only=True)
class PuppetLessons:
    """Draws frames evenly over identities.

    Raises:
        ValueError: no clip has exact truth.
    """

    clips: PuppetClips
    augment: Augment = field(default_factory=lambda: Augment(scale=(0.8, 1.2), shift_frac=0.08, roll_deg=15.0))
    seed: int = 0
    blur_prob: float = 0.3
    """Share of batches at half the sharpness: what a generator in training gives."""

    def __post_init__(self) -> None:
        if not self.by_identity():
            raise ValueError("the shards hold no puppets with exact truth; make some with lp-puppets and lp-curate")

    def by_identity(self) -> dict[str, list[int]]:
        """Identity -> the numbers of its clips with truth, sorted by name."""
        found: dict[str, list[int]] = {}
        for number, card in enumerate(self.clips.cards):
            if card.has_truth:
                found.setdefault(card.identity or card.key, []).append(number)
        return dict(sorted(found.items()))

    def batch(self, step: int, num_rows: int) -> Heads:
        """The heads of one step."""
        rng = np.random.default_rng((self.seed, step))
        groups = list(self.by_identity().values())
        who = rng.integers(len(groups), size=num_rows)
        frames = [self._frame(groups[index], rng) for index in who]
        image = torch.from_numpy(np.stack([frame.image for frame in frames])).permute(0, 3, 1, 2).float() / 255
        if rng.random() < self.blur_prob:
            image = F.interpolate(F.avg_pool2d(image, 2), scale_factor=2.0, mode="bilinear", align_corners=False)

        def stacked(name: str) -> Tensor:
            return torch.from_numpy(np.stack([getattr(frame, name) for frame in frames]))

        return Heads(
            image=image, landmarks=stacked("landmarks"), visible=stacked("visible"), pose_deg=stacked("pose_deg"),
            opening=torch.cat((stacked("eye_open"), stacked("lip_open")), dim=1), identity=torch.from_numpy(who),
        )  # fmt: skip

    def _frame(self, numbers: Sequence[int], rng: np.random.Generator) -> Frame:
        clip = self.clips.clip(numbers[int(rng.integers(len(numbers)))])
        index, truth = int(rng.integers(clip.num_frames)), clip.truth
        frame = Frame(
            image=clip.image(index), points=clip.points[index],
            landmarks=truth["landmarks"][index].astype(np.float32),
            visible=truth["landmark_visible"][index].astype(np.float32),
            eye_open=truth["eye_open"][index].astype(np.float32),
            lip_open=np.reshape(truth["lip_open"][index], 1).astype(np.float32),
            pose_deg=truth["pose_deg"][index].astype(np.float32),
        )  # fmt: skip
        frame = transform(frame, self.augment.crop_matrix(rng), SIDE_PX, bool(rng.random() < self.augment.flip_prob))
        (image,) = self.augment.recolour([frame.image], int(rng.integers(2**31)))
        return frame._replace(image=image)
