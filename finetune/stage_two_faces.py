"""Held-out shards -> still faces to move and performances to move them with, for the check of stage two."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from data_pipeline.records import SPECIES, Split
from finetune.clips import Clip
from finetune.shard_index import has_split, read_index
from finetune.shard_stream import ClipStore


class Face(NamedTuple):
    """One held-out picture with truth, as batches of one row."""

    name: str
    species: str
    image: Float[Tensor, "1 3 S S"]
    points: Float[Tensor, "1 5 2"]
    labels: UInt8[Tensor, "1 S S"]
    eyes: Float[Tensor, "1 2"]
    lips: Float[Tensor, "1 1"]


class Performance(NamedTuple):
    """Who drives: a first frame and others of the same clip."""

    name: str
    species: str
    first: Float[Tensor, "1 3 S S"]
    frames: Float[Tensor, "T 3 S S"]


def held_out_clips(folder: Path, splits: Sequence[Split]) -> list[Clip]:
    """Clips with truth and labels of these splits, sorted by key.

    Raises:
        ValueError: there are none.
    """
    clips: list[Clip] = []
    for split in splits:
        if has_split(folder, split):
            store = ClipStore(read_index(folder, split, 1, with_labels=True))
            clips += [store.clip(number) for number in range(len(store.cards))]
    found = sorted((clip for clip in clips if clip.truth and clip.labels), key=lambda clip: clip.key)
    if not found:
        raise ValueError(
            f"shards={folder} has no held-out puppets with labels in {', '.join(splits)}; render some with lp-puppets "
            "identity_offset=100, run lp-curate on them and give splits=train,val,test"
        )
    return found


def faces(clips: Sequence[Clip], per_species: int) -> list[Face]:
    """Up to so many faces of each species, different individuals first, with eyes as open as they usually are."""
    chosen: list[Face] = []
    for number in range(len(SPECIES)):
        own = [clip for clip in clips if clip.species == number]
        new = [clip for n, clip in enumerate(own) if clip.identity not in {other.identity for other in own[:n]}]
        again = [clip for clip in own if all(clip is not other for other in new)]
        chosen += [_face(clip) for clip in [*new, *again][:per_species]]
    return chosen


def _face(clip: Clip) -> Face:
    eyes, lips = clip.truth["eye_open"], np.reshape(clip.truth["lip_open"], (-1, 1))
    # Between blinks, before the mouth opens: what a portrait shows.
    unusual = np.abs(eyes.mean(axis=1) - np.median(eyes)) + lips[:, 0]
    index = int(unusual.argmin())
    labels = clip.label_map(index)
    assert labels is not None
    return Face(
        f"{clip.identity} ({clip.key})", SPECIES[clip.species], _tensor(clip.image(index)),
        torch.from_numpy(clip.points[index : index + 1]), torch.from_numpy(labels)[None],
        torch.from_numpy(eyes[index : index + 1]).float(), torch.from_numpy(lips[index : index + 1]).float(),
    )  # fmt: skip


def performances(clips: Sequence[Clip], face: Face, num: int, num_frames: int) -> list[Performance]:
    """Clips of others that drive a face: people first, then other species, then the same one."""
    own = face.name.split(" (")[0]
    others = [clip for clip in clips if clip.identity != own and clip.num_frames > 1]
    human, same = SPECIES.index("human"), SPECIES.index(face.species)
    others.sort(key=lambda clip: (clip.species != human, clip.species == same, clip.key))
    found = []
    for clip in others[:num]:
        # The frames in which the head has turned furthest: near the first one there is nothing to hold still.
        turned = np.abs(clip.truth["pose_deg"] - clip.truth["pose_deg"][0]).sum(axis=1)
        order = np.sort(np.argsort(-turned)[: max(1, clip.num_frames // 2)])
        index = order[np.linspace(0, len(order) - 1, min(num_frames, len(order))).round().astype(int)]
        frames = torch.cat([_tensor(clip.image(int(i))) for i in index])
        found.append(Performance(clip.key, SPECIES[clip.species], _tensor(clip.image(0)), frames))
    return found


def _tensor(image: UInt8[np.ndarray, "S S 3"]) -> Float[Tensor, "1 3 S S"]:
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
