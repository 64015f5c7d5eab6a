"""One media file -> its samples and drops: probe, shots, detect, track, crop, quality, split."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import UInt8

from data_pipeline.adapters.folder import MediaFile
from data_pipeline.adapters.known import Look, landmarks_in_crop, span_tag
from data_pipeline.crop import Cropper, invert, move_points, warp_crop
from data_pipeline.detect import HeadDetector
from data_pipeline.measures.bars import bars, smallest
from data_pipeline.media import MediaError, probe, read_frames
from data_pipeline.quality import QualityGate, head_patch, looked_at, measure
from data_pipeline.records import SPECIES, Crop, CropPlan, Detection, Drop, MediaItem, Rejected, Sample
from data_pipeline.shots import THUMB_PX, ShotSplitter, thumbnail
from data_pipeline.split import Splitter
from data_pipeline.track import TrackLinker
from data_pipeline.truth import Truth, TruthError, read_truth

_LOOKS = 3
"""Frames of a piece whose source pixels are measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curation:
    """The stages in order. Cheap to build; the detector loads its network on first use."""

    detector: HeadDetector
    shots: ShotSplitter
    linker: TrackLinker
    cropper: Cropper
    gate: QualityGate
    splitter: Splitter
    species: tuple[str, ...] = SPECIES
    """Heads of other species are dropped."""
    detect_every: int = 4
    """Look for heads in every n-th frame; boxes in between are interpolated."""
    detect_batch: int = 8
    max_heads: int = 3
    """Per shot: the longest tracks are kept."""
    use_known_heads: bool = True
    """Heads that a data set's annotations give are taken; the detector only adds the points that they lack."""

    def __post_init__(self) -> None:
        if self.detect_every < 1 or self.detect_batch < 1 or self.max_heads < 1:
            raise ValueError("curation: detect_every, detect_batch and max_heads must be 1 or more")
        if unknown := [s for s in self.species if s not in SPECIES]:
            raise ValueError(f"curation.species: {unknown} unknown; choose from {', '.join(SPECIES)}")

    def __call__(self, file: MediaFile) -> Iterator[Sample | Drop]:
        """Every part of the file ends as a sample or a drop with a reason."""
        name = file.path.as_posix()
        if file.problem:
            yield Drop(key=name, stage="source", reason=file.problem, detail=file.detail)
            return
        try:
            media = probe(file.path, licence=file.licence, origin=file.origin, identity=file.identity)
            truth = read_truth(media.truth_path) if media.truth_path else None
            look = Look(file=file, media=media, every=self.detect_every, use_known=self.use_known_heads)
            thumbs, detections = self._look(look)
        except MediaError as error:
            yield Drop(key=name, stage="probe", reason="unreadable", detail=str(error))
            return
        except TruthError as error:
            yield Drop(key=name, stage="truth", reason="annotations unreadable", detail=str(error))
            return
        plans: list[CropPlan] = []
        hint = truth.species if truth else file.species
        shots = [(n, part) for n, shot in enumerate(self.shots(media, thumbs)) if (part := look.part(shot))]
        if not shots:
            reason = "listed time is not in the video" if file.span else "no frame"
            yield Drop(key=name, stage="shots", reason=reason)
        for number, shot in shots:
            where = f"{name}#shot{number}"
            tracks = self.linker(shot, detections)
            if not tracks:
                yield Drop(key=where, stage="detect", reason="no head found")
            for track in tracks[self.max_heads :]:
                yield Drop(key=where, stage="track", reason="more heads than curation.max_heads", detail=track.species)
            for track in tracks[: self.max_heads]:
                species = hint or track.species
                if species not in self.species:
                    yield Drop(key=where, stage="track", reason="species not asked for", detail=species)
                    continue
                plans += self.cropper(replace(track, species=species))
        yield from self._finish(look, truth, plans, detections)

    def _look(self, look: Look) -> tuple[UInt8[np.ndarray, "T 32 32 3"], list[list[Detection]]]:
        """First pass over the frames: small pictures of all, heads of every n-th."""
        thumbs: list[np.ndarray] = []
        detections: list[list[Detection]] = []
        batch: list[np.ndarray] = []
        numbers: list[int] = []

        def detect() -> None:
            for number, found in zip(numbers, self.detector(batch) if batch else [], strict=True):
                detections.append(look.resolve(number, found))
            batch.clear()
            numbers.clear()

        for number, frame in enumerate(read_frames(look.media.path, 0, look.frames[1])):
            thumbs.append(thumbnail(frame))
            if look.wants(number) and not look.needs_detector(number):
                detect()
                detections.append(look.resolve(number, []))
            elif look.wants(number):
                batch.append(frame)
                numbers.append(number)
                if len(batch) == self.detect_batch:
                    detect()
        detect()
        return np.stack(thumbs) if thumbs else np.zeros((0, THUMB_PX, THUMB_PX, 3), np.uint8), detections

    def _finish(
        self,
        look: Look,
        truth: Truth | None,
        plans: Sequence[CropPlan],
        detections: Sequence[Sequence[Detection]],
    ) -> Iterator[Sample | Drop]:
        """Second pass: cut the crops, measure them, let the gate decide."""
        media = look.media
        for number, crop in _cut(media, plans):
            plan = crop.plan
            start = int(plan.track.frames[0])
            key = f"{media.source_id}-{start:06d}-{number}{span_tag(look.file.span)}"
            where = f"{media.path.as_posix()}#frame{start}"
            quality = measure(crop, detections)
            reasons = self.gate.reasons(quality, plan.side_px, len(crop.frames), media.kind == "video")
            pairs = zip(plan.source_from_crop, plan.track.points, strict=True)
            identity = truth.identity if truth else media.identity
            sample = Sample(
                key=key,
                split=self.splitter(identity),
                species=plan.track.species,
                kind=media.kind if len(crop.frames) > 1 else "image",
                frames=crop.frames,
                points=np.stack([move_points(invert(t), p) for t, p in pairs]),
                source_from_crop=plan.source_from_crop,
                start=start,
                fps=media.fps,
                source_id=media.source_id,
                identity=identity,
                performance=truth.performance if truth else "",
                licence=media.licence,
                origin=media.origin,
                quality=quality,
                truth=truth.in_crop(plan) if truth else {},
                landmarks=landmarks_in_crop(look.heads, plan),
            )
            if reasons:
                detail = ", ".join(reasons)
                first = reasons[0]
                yield Rejected(
                    key=where, stage="quality", reason=first, detail=detail, sample=sample, reasons=tuple(reasons)
                )
            else:
                yield sample


def _cut(media: MediaItem, plans: Sequence[CropPlan]) -> Iterator[tuple[int, Crop]]:
    """Decode once more and cut every plan's frames; a crop is handed on as soon as it is complete."""
    waiting = sorted(enumerate(plans), key=lambda item: int(item[1].track.frames[0]))
    cut: dict[int, list[Any]] = {number: [] for number, _ in waiting}
    looks = {n: set(looked_at(len(plan.track.frames), _LOOKS)) for n, plan in waiting}
    patches: dict[int, list[Any]] = {number: [] for number, _ in waiting}
    edges: dict[int, list[Any]] = {number: [] for number, _ in waiting}
    last = max((int(plan.track.frames[-1]) for plan in plans), default=-1)
    for index, frame in enumerate(read_frames(media.path, 0, last + 1)):
        for number, plan in list(waiting):
            first, end = int(plan.track.frames[0]), int(plan.track.frames[-1])
            if first <= index <= end:
                cut[number].append(warp_crop(frame, plan.source_from_crop[index - first], plan.side_px))
                if index - first in looks[number]:
                    patches[number].append(head_patch(frame, plan.track.boxes[index - first]))
                    edges[number].append(bars(frame))
            if index == end:
                waiting.remove((number, plan))
                yield (
                    number,
                    Crop(
                        plan=plan,
                        frames=np.stack(cut.pop(number)),
                        patches=tuple(patches.pop(number)),
                        bars_px=smallest(edges.pop(number)),
                    ),
                )
