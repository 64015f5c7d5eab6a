"""Training data -> one held-out clip to be driven frame by frame, the same in every run on the same shards."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from data_pipeline.records import SPECIES
from finetune.augment import transform
from finetune.datamodule import PairData
from finetune.pairs import WHOLE, Batch, PairSampler, Row, frame_of, stack
from finetune.partners import overlap
from finetune.shard_index import ClipCard
from finetune.shard_stream import ClipStore

NATIVE_FPS = 25.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutClip:
    """Rows of one source, driven frame after frame."""

    batch: Batch
    fps: float
    name: str
    """Who drives whom, for the log."""


def held_out_clip(data: PairData, num_frames: int = 40) -> HeldOutClip | None:
    """A clip of the val split, else of the train split; None where there is no clip.

    An animal driven by a person goes before an animal driven by an animal, that before a clip that drives itself; among
    equals the longest, then the smallest hash of the key. The source is the clip's own first frame.
    """
    data.read()
    assert data.train is not None
    sampler = data.train if data.val is None or not _videos(data.val) else data.val
    if not (videos := _videos(sampler)):
        return None
    cards = sampler.clips.cards
    best = min(
        ((number, _partner(cards, number)) for number in videos),
        key=lambda pair: _rank(cards, *pair, num_frames),
    )
    return _rows(data, sampler, *best, num_frames)


def _videos(sampler: PairSampler) -> list[int]:
    shares = sampler.species
    return [n for n, card in enumerate(sampler.clips.cards) if card.is_video and card.species in shares]


def _partner(cards: Sequence[ClipCard], number: int) -> int | None:
    """Who else performs the same; a person, if there is one."""
    own = cards[number]
    if not own.performance or not own.has_truth:
        return None
    fitting = [
        n for n, card in enumerate(cards)
        if card.performance == own.performance and card.identity != own.identity and card.has_truth
        and len(overlap(own, card)) > 1
    ]  # fmt: skip
    return min(fitting, key=lambda n: (not _is_human(cards[n]), _hash(cards[n])), default=None)


def _rank(cards: Sequence[ClipCard], number: int, partner: int | None, num_frames: int) -> tuple[object, ...]:
    card = cards[number]
    frames = card.num_frames if partner is None else len(overlap(card, cards[partner]))
    person = partner is not None and _is_human(cards[partner])
    return _is_human(card), not person, partner is None, -min(frames, num_frames), _hash(card)


def _is_human(card: ClipCard) -> bool:
    return SPECIES[card.species] == "human"


def _hash(card: ClipCard) -> str:
    return hashlib.sha256(card.key.encode()).hexdigest()


def _rows(data: PairData, sampler: PairSampler, number: int, partner: int | None, num_frames: int) -> HeldOutClip:
    # Held-out clips are kept in memory with few frames; a video wants all of them.
    store = ClipStore(replace(sampler.clips.index, frame_stride=data.frame_stride), data.cache_gb)
    clip = store.clip(number)
    other = clip if partner is None else store.clip(partner)
    native = overlap(clip, other)[:num_frames]
    source = transform(frame_of(clip, 0), WHOLE, data.side_px, mirror=False)
    rows = []
    for moment in native:
        frame = frame_of(clip, (moment - clip.start) // clip.stride)
        target = transform(frame, WHOLE, data.side_px * data.target_scale, mirror=False)
        drives = frame if partner is None else frame_of(other, (moment - other.start) // other.stride)
        driving = transform(drives, WHOLE, data.side_px, mirror=False)
        offset = float(frame.pose_deg[2] - drives.pose_deg[2])
        rows.append(
            Row(
                source,
                driving,
                target,
                clip.species,
                True,
                partner is not None,
                clip.is_exact,
                bool(clip.truth),
                offset,
            )
        )
    who = "itself" if partner is None else f"{SPECIES[other.species]} {other.key}"
    name = f"{SPECIES[clip.species]} {clip.key} driven by {who}"
    return HeldOutClip(batch=stack(rows, data.side_px), fps=NATIVE_FPS / clip.stride, name=name)
