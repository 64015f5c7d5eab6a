"""Crop plans -> crops: from the frames that the first pass kept; what is missing is decoded again."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float64, UInt8

from data_pipeline.buffers import drop_unused, lent
from data_pipeline.crop import square_corners, warp_crop
from data_pipeline.first_pass import Seen, union
from data_pipeline.frame_store import Region
from data_pipeline.media import MediaError, read_frames
from data_pipeline.quality import head_patch, looked_at
from data_pipeline.records import Crop, CropPlan, MediaItem

LOOKS = 3
"""Frames of a piece whose source pixels are measured."""
_MARGIN_PX = 3
"""Around a square: its half pixels, the neighbours that interpolation reads, and rounding."""
_PATCH_PX = 9
"""Around a head's box: patches begin at multiples of 8."""
_CHEAP_FRAMES = 24
"""Pieces this close to each other are decoded in one go; seeking costs about as much."""


def cut(media: MediaItem, plans: Sequence[CropPlan], seen: Seen) -> Iterator[tuple[int, Crop]]:
    """Crops with the number of their plan: first those that need no decoding, in order; then the others, as complete.

    Raises:
        MediaError: the file gives fewer frames than in the first pass.
    """
    again: list[_Order] = []
    for number, plan in enumerate(plans):
        order = _Order(number=number, plan=plan, seen=seen, media=media)
        if order.missing:
            again.append(order)
        else:
            yield number, order.begun().crop(seen)
    groups = _groups(again)
    for position, group in enumerate(groups):
        if not any(order.has_kept for later in groups[position:] for order in later):
            seen.store.clear()
            drop_unused()  # several heads may be cut at once now
        yield from _decoded(media, group, seen)
    seen.store.clear()


def areas_of(plan: CropPlan) -> Float64[np.ndarray, "T 4"]:
    """The part of each source frame that a plan reads."""
    transforms = plan.source_from_crop
    is_fixed = bool((transforms == transforms[0]).all())
    corners = np.stack([square_corners(t, plan.side_px) for t in (transforms[:1] if is_fixed else transforms)])
    squares = np.concatenate([corners.min(axis=1) - _MARGIN_PX, corners.max(axis=1) + _MARGIN_PX], axis=1)
    areas = np.repeat(squares, len(transforms), axis=0) if is_fixed else squares
    for row in looked_at(len(transforms), LOOKS):
        box = plan.track.boxes[row].astype(np.float64)
        areas[row] = union([areas[row], np.concatenate([box[:2] - _PATCH_PX, box[2:] + _PATCH_PX])])
    return areas


class _Order:
    """A plan, and which of its frames must be decoded again."""

    def __init__(self, *, number: int, plan: CropPlan, seen: Seen, media: MediaItem) -> None:
        self.number, self.plan, self._media, self._seen = number, plan, media, seen
        self._areas = dict(zip(plan.track.frames.tolist(), areas_of(plan), strict=True))
        self.missing = [frame for frame in self._areas if self._part(frame) is None]

    @property
    def has_kept(self) -> bool:
        return len(self.missing) < len(self._areas)

    def begun(self) -> "_Piece":
        """The piece with all frames that were kept."""
        piece = _Piece(plan=self.plan)
        for frame in self._areas:
            if (part := self._part(frame)) is not None:
                piece.take(frame, part, self._media)
        return piece

    def _part(self, frame: int) -> Region | None:
        return self._seen.store.find(frame, self._areas[frame], self._media.height_px, self._media.width_px)


def _groups(orders: Sequence[_Order]) -> list[list[_Order]]:
    """What is decoded together: plans whose missing frames overlap or nearly touch."""
    groups: list[list[_Order]] = []
    stop = -1
    for order in sorted(orders, key=lambda one: one.missing[0]):
        if not groups or order.missing[0] > stop + _CHEAP_FRAMES:
            groups.append([])
        groups[-1].append(order)
        stop = max(stop, order.missing[-1] + 1)
    return groups


def _decoded(media: MediaItem, group: list[_Order], seen: Seen) -> Iterator[tuple[int, Crop]]:
    waiting = list(group)
    open_pieces: dict[int, _Piece] = {}
    start, stop = waiting[0].missing[0], max(order.missing[-1] for order in waiting) + 1
    times_s = seen.times_s if seen.first == 0 else None  # so that frame numbers are right in damaged files too
    for index, frame in enumerate(read_frames(media.path, start, stop, times_s=times_s), start=start):
        while waiting and waiting[0].missing[0] <= index:
            order = waiting.pop(0)
            open_pieces[order.number] = order.begun()
        for number in list(open_pieces):
            open_pieces[number].take(index, Region(frame, 0, 0), media)
            if open_pieces[number].is_complete:
                yield number, open_pieces.pop(number).crop(seen)
    if waiting or open_pieces:
        raise MediaError(f"{media.path} gave fewer frames when it was read again; copy it to a disk that is reliable")


class _Piece:
    """A crop in the making; its frames may come in any order."""

    def __init__(self, *, plan: CropPlan) -> None:
        frames = plan.track.frames.tolist()
        self._plan = plan
        self._frames = lent((len(frames), plan.side_px, plan.side_px, 3))
        self._looks = set(looked_at(len(frames), LOOKS))
        self._patches: dict[int, UInt8[np.ndarray, "_ _"]] = {}
        self._rows: dict[int, list[int]] = {}
        for row, frame in enumerate(frames):
            self._rows.setdefault(frame, []).append(row)

    @property
    def is_complete(self) -> bool:
        return not self._rows

    def take(self, number: int, part: Region, media: MediaItem) -> None:
        """Cut one native frame; where the rate varies it may stand several times."""
        plan, origin = self._plan, (part.left_px, part.top_px)
        for row in self._rows.pop(number, []):
            warp_crop(part.pixels, plan.source_from_crop[row], plan.side_px, origin, self._frames[row])
            if row in self._looks:
                size = (media.height_px, media.width_px)
                self._patches[row] = head_patch(part.pixels, plan.track.boxes[row], origin, size)

    def crop(self, seen: Seen) -> Crop:
        frames = self._plan.track.frames
        bars = seen.bars_in(int(frames[0]), int(frames[-1]))
        patches = tuple(self._patches[row] for row in sorted(self._patches))
        return Crop(plan=self._plan, frames=self._frames, patches=patches, bars_px=bars)
