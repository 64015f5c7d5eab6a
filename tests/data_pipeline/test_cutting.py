"""One pass and two passes over a file must give the same samples, bit for bit."""

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from data_pipeline import cutting
from data_pipeline.adapters.folder import MediaFile
from data_pipeline.crop import Cropper
from data_pipeline.curation import Curation
from data_pipeline.cutting import cut
from data_pipeline.first_pass import Seen
from data_pipeline.frame_store import FrameStore
from data_pipeline.media import MediaError, probe, read_frames
from data_pipeline.quality import QualityGate
from data_pipeline.records import ClipSpan, CropPlan, Drop, Sample, Shot, Track
from data_pipeline.shards import to_members
from data_pipeline.shots import ShotSplitter
from data_pipeline.split import Splitter
from data_pipeline.track import TrackLinker
from data_pipeline.video import write_video
from tests.data_pipeline.test_clock import TIMES_MS, uneven_video


@pytest.fixture
def curation(ball_detector) -> Curation:
    return Curation(
        detector=ball_detector,
        shots=ShotSplitter(),
        linker=TrackLinker(),
        cropper=Cropper(side_px=64, max_frames=20),
        gate=QualityGate(min_side_px=20.0, min_coverage_frac=0.2, min_change_grey=0.0, max_frozen_frac=1.0),
        splitter=Splitter(),
    )


@pytest.fixture
def walk(tmp_path: Path, head_picture) -> Path:
    """A head that walks through the picture, is covered for 9 frames, and goes on."""
    frames = [head_picture(height=200, width=320, centre=(60 + 2.5 * i, 100), radius=24, seed=1) for i in range(80)]
    for i in range(30, 39):
        frames[i] = head_picture(height=200, width=320, centre=(-900, 0), radius=24, seed=1)
    path = tmp_path / "walk.mp4"
    write_video(path, frames, Fraction(25))
    return path


def outcomes(curation: Curation, file: MediaFile) -> dict[str, bytes]:
    made = list(curation(file))
    assert any(isinstance(one, Sample) for one in made)
    members = {s.key: to_members(s) for s in made if isinstance(s, Sample)}
    found = {f"{key}.{name}": data for key, group in members.items() for name, data in group.items()}
    drops = [(d.key, d.stage, d.reason, d.detail) for d in made if isinstance(d, Drop)]
    return found | {"drops": repr(sorted(drops)).encode()}


@pytest.mark.parametrize("mode", ["fixed", "follow"])
@pytest.mark.parametrize("span", [None, ClipSpan(start=0.6, stop=2.6)])
def test_the_buffer_changes_no_sample(curation: Curation, walk: Path, mode, span: ClipSpan | None) -> None:
    curation = replace(curation, cropper=replace(curation.cropper, mode=mode))
    twice, once, half = (
        outcomes(replace(curation, buffer_bytes=size), MediaFile(path=walk, span=span))
        for size in (0, 300_000_000, 1_000_000)
    )
    assert twice == once == half


def test_one_pass_is_enough_for_a_head_that_stays_in_sight(
    curation: Curation, ball_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(cutting, "read_frames", refuse)
    assert outcomes(curation, MediaFile(path=ball_clip))


def test_only_the_part_with_plans_is_decoded_again(
    curation: Curation, walk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    real = cutting.read_frames

    def noted(path: Path, start: int = 0, stop: int | None = None, **times: object):
        asked.append((start, stop))
        return real(path, start, stop, **times)

    monkeypatch.setattr(cutting, "read_frames", noted)
    outcomes(replace(curation, buffer_bytes=0), MediaFile(path=walk, span=ClipSpan(start=1.8, stop=2.6)))
    assert [start for start, _ in asked] == [45]


def test_frames_that_are_kept_for_a_later_group_stay_until_it_is_cut(tmp_path: Path, head_picture) -> None:
    """A short piece of which nothing is kept comes first; the next one needs kept frames and decoded ones."""
    frames = [head_picture(height=120, width=160, centre=(80, 60), radius=24, seed=n) for n in range(112)]
    path = tmp_path / "a.mp4"
    write_video(path, frames, Fraction(25))
    media = probe(path)

    def plan(first: int, stop: int) -> CropPlan:
        count = stop - first
        track = Track(
            shot=Shot(media=media, start=0, stop=112), species="cat", frames=np.arange(first, stop),
            boxes=np.tile(np.array([50, 40, 100, 90], np.float32), (count, 1)),
            points=np.full((count, 5, 2), 60, np.float32), scores=np.ones(count, np.float32),
        )  # fmt: skip
        place = np.array([[1, 0, 48], [0, 1, 28]], np.float32)
        return CropPlan(track=track, source_from_crop=np.repeat(place[None], count, axis=0), side_px=64)

    def crops(kept: range) -> dict[int, np.ndarray]:
        seen = Seen(first=0, store=FrameStore(10_000_000))
        for number, frame in enumerate(read_frames(path)):
            if number in kept:
                seen.store.keep(number, frame, np.array([0.0, 0.0, 160.0, 120.0]))
        return {number: crop.frames.copy() for number, crop in cut(media, [plan(0, 3), plan(100, 112)], seen)}

    some, none = crops(range(100, 106)), crops(range(0))
    assert set(some) == set(none) == {0, 1}
    for number in some:
        np.testing.assert_array_equal(some[number], none[number])


def test_a_file_that_changes_between_the_passes_is_told(
    curation: Curation, walk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "read_frames", lambda *_, **__: iter(()))
    (drop,) = replace(curation, buffer_bytes=0)(MediaFile(path=walk))
    assert isinstance(drop, Drop)
    assert (drop.stage, drop.reason) == ("crop", "unreadable")
    assert "fewer frames" in drop.detail
    assert issubclass(MediaError, ValueError)


def test_pieces_of_one_head_share_the_last_number_of_their_keys(curation: Curation, walk: Path) -> None:
    made = [one for one in curation(MediaFile(path=walk)) if isinstance(one, Sample)]
    assert len(made) > 2
    assert {one.key.rsplit("-", 1)[1] for one in made} == {"0"}
    assert len({one.key for one in made}) == len(made)


def test_a_video_of_varying_rate_becomes_a_clip_that_plays_right(
    curation: Curation, tmp_path: Path, head_picture
) -> None:
    """The head moves evenly in time: it must move evenly in the clip."""
    frames = [head_picture(centre=(80 + ms / 50, 80)) for ms in TIMES_MS]
    path = uneven_video(tmp_path / "a.mp4", TIMES_MS, frames)
    once, twice = (outcomes(replace(curation, buffer_bytes=size), MediaFile(path=path)) for size in (300_000_000, 0))
    assert once == twice
    made = [one for one in curation(MediaFile(path=path)) if isinstance(one, Sample)]
    assert {one.fps for one in made} == {25.0}
    assert sum(len(one.frames) for one in made) == pytest.approx(TIMES_MS[-1] / 40 + 1, abs=1)
    for sample in made:
        inside = sample.points.mean(axis=1)
        source = inside @ sample.source_from_crop[0, :, :2].T + sample.source_from_crop[0, :, 2]
        shown_ms = 1000 * np.arange(len(source)) / sample.fps + TIMES_MS[sample.start]
        assert np.abs(source[:, 0] - source[0, 0] - (shown_ms - shown_ms[0]) / 50).max() < 1.6


@dataclass(frozen=True, slots=True, kw_only=True)
class CountingDetector:
    """Remembers how many frames it is given at once."""

    inner: object
    sizes: list[int]

    def __call__(self, frames: list[np.ndarray], first_frame: int = 0) -> list[list]:
        self.sizes.append(len(frames))
        return self.inner(frames, first_frame)  # type: ignore[operator]


def test_large_frames_do_not_pile_up_before_the_detector(
    curation: Curation, walk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data_pipeline import first_pass

    monkeypatch.setattr(first_pass, "_PENDING_BYTES", 10 * 200 * 320 * 3)
    counting = CountingDetector(inner=curation.detector, sizes=[])
    few = outcomes(replace(curation, detector=counting), MediaFile(path=walk))
    assert max(counting.sizes) <= 3
    monkeypatch.undo()
    assert few == outcomes(curation, MediaFile(path=walk))
