"""One media file -> its samples and drops: probe, shots, detect, track, crop, quality, split."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from data_pipeline.adapters.folder import MediaFile
from data_pipeline.adapters.known import Look, landmarks_in_crop, span_tag
from data_pipeline.clock import Clock, at_constant_rate, read_clock
from data_pipeline.crop import Cropper, points_in_crop
from data_pipeline.cutting import cut
from data_pipeline.detect import HeadDetector
from data_pipeline.first_pass import Seen, look_through
from data_pipeline.media import MediaError, probe
from data_pipeline.quality import QualityGate, measure
from data_pipeline.records import SPECIES, Crop, CropPlan, Drop, Rejected, Sample, Species
from data_pipeline.shots import ShotSplitter
from data_pipeline.split import Splitter
from data_pipeline.track import TrackLinker
from data_pipeline.truth import Truth, TruthError, read_truth


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
    buffer_bytes: int = 300_000_000
    """Pixels kept while looking, so that they need not be decoded again for cutting; changes no sample."""

    def __post_init__(self) -> None:
        if self.detect_every < 1 or self.detect_batch < 1 or self.max_heads < 1:
            raise ValueError("curation: detect_every, detect_batch and max_heads must be 1 or more")
        if self.buffer_bytes < 0:
            raise ValueError(f"curation.buffer_bytes is {self.buffer_bytes}; give 0 (decode twice) or more")
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
            clock = read_clock(media)
            look = Look(file=file, media=media, every=self.detect_every, use_known=self.use_known_heads, clock=clock)
            seen = look_through(
                look, self.detector, self.detect_batch, self.buffer_bytes, scale_factor=self.cropper.scale_factor
            )
        except MediaError as error:
            yield Drop(key=name, stage="probe", reason="unreadable", detail=str(error))
            return
        except TruthError as error:
            yield Drop(key=name, stage="truth", reason="annotations unreadable", detail=str(error))
            return
        hint = truth.species if truth else file.species
        plans: list[tuple[int, CropPlan]] = []
        for made in self._plans(look, clock, seen, hint):
            if isinstance(made, Drop):
                yield made
            else:
                plans.append(made)
        yield from self._finish(look, clock.fps, truth, plans, seen)

    def _plans(
        self, look: Look, clock: Clock, seen: Seen, hint: Species | None
    ) -> Iterator[Drop | tuple[int, CropPlan]]:
        """Shots, heads and their squares: plans with the number of their head in the file."""
        file, media, name = look.file, look.media, look.file.path.as_posix()
        thumbs = seen.pictures
        shots = [replace(s, start=s.start + seen.first, stop=s.stop + seen.first) for s in self.shots(media, thumbs)]
        parts = [(n, part) for n, shot in enumerate(shots) if (part := look.part(shot))]
        if not parts:
            reason = "listed time is not in the video" if file.span else "no frame"
            yield Drop(key=name, stage="shots", reason=reason)
        times_s = None
        if clock.is_variable:
            times_s = clock.at(seen.first + len(thumbs))
            times_s[seen.first :] = [float(time_s) for time_s in seen.times_s]
        number = 0
        for shot_number, shot in parts:
            where = f"{name}#shot{shot_number}"
            heads = self.linker.heads(shot, seen.detections, times_s, seen.looked)
            if not heads:
                yield Drop(key=where, stage="detect", reason="no head found")
            for head in heads[self.max_heads :]:
                yield Drop(key=where, stage="track", reason="more heads than curation.max_heads", detail=head.species)
            for head in heads[: self.max_heads]:
                species = hint or head.species
                if species not in self.species:
                    yield Drop(key=where, stage="track", reason="species not asked for", detail=species)
                    continue
                for part in head.parts:
                    track = replace(part, species=species)
                    steady = [track] if times_s is None else at_constant_rate(track, times_s, clock.fps)
                    yield from ((number, plan) for one in steady for plan in self.cropper(one, clock.fps))
                number += 1

    def _finish(
        self, look: Look, fps: float, truth: Truth | None, plans: Sequence[tuple[int, CropPlan]], seen: Seen
    ) -> Iterator[Sample | Drop]:
        """Cut the crops, measure them, let the gate decide."""
        name = look.file.path.as_posix()
        try:
            for index, crop in cut(look.media, [plan for _, plan in plans], seen):
                yield self._judged(look, fps, truth, plans[index][0], crop, seen)
        except MediaError as error:
            yield Drop(key=name, stage="crop", reason="unreadable", detail=str(error))

    def _judged(
        self, look: Look, fps: float, truth: Truth | None, number: int, crop: Crop, seen: Seen
    ) -> Sample | Rejected:
        """A crop as a sample, or why it is none. The key's last number is the head: its pieces share it."""
        media, plan = look.media, crop.plan
        start = int(plan.track.frames[0])
        quality = measure(crop, seen.detections)
        reasons = self.gate.reasons(quality, plan.side_px, len(crop.frames), media.kind == "video")
        identity = truth.identity if truth else media.identity
        sample = Sample(
            key=f"{media.source_id}-{start:06d}-{number}{span_tag(look.file.span)}",
            split=self.splitter(identity),
            species=plan.track.species,
            kind=media.kind if len(crop.frames) > 1 else "image",
            frames=crop.frames,
            points=points_in_crop(plan),
            source_from_crop=plan.source_from_crop,
            start=start,
            fps=fps,
            source_id=media.source_id,
            identity=identity,
            performance=truth.performance if truth else "",
            licence=media.licence,
            origin=media.origin,
            quality=quality,
            truth=truth.in_crop(plan) if truth else {},
            landmarks=landmarks_in_crop(look.heads, plan),
        )
        if not reasons:
            return sample
        where = f"{media.path.as_posix()}#frame{start}"
        return Rejected(
            key=where,
            stage="quality",
            reason=reasons[0],
            detail=", ".join(reasons),
            sample=sample,
            reasons=tuple(reasons),
        )
