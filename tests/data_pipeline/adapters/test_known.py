"""What is known of a file, through the curation stages into the shards."""

import json
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_pipeline.adapters.folder import MediaFile
from data_pipeline.adapters.known import box_around
from data_pipeline.crop import Cropper
from data_pipeline.curate import FileWorker, curate
from data_pipeline.curation import Curation
from data_pipeline.dedup import NearDuplicates
from data_pipeline.executors.local import LocalExecutor
from data_pipeline.quality import QualityGate
from data_pipeline.records import ClipSpan, Drop, KnownHead, Sample
from data_pipeline.shards import ShardWriter, read_tar
from data_pipeline.shots import ShotSplitter
from data_pipeline.split import Splitter
from data_pipeline.track import TrackLinker
from data_pipeline.video import write_video

BALL = np.array([[-0.3, -0.25], [0.3, -0.25], [0.0, 0.1], [-0.2, 0.4], [0.2, 0.4]])
FIVE = (np.array([100, 80]) + BALL * 45).astype(np.float32)
BOX = np.array([55, 35, 145, 125], np.float32)


@pytest.fixture
def curation(ball_detector) -> Curation:
    gate = QualityGate(min_side_px=20.0, min_coverage_frac=0.2, min_change_grey=0.0, max_frozen_frac=1.0)
    return Curation(
        detector=ball_detector,
        shots=ShotSplitter(),
        linker=TrackLinker(),
        cropper=Cropper(side_px=64),
        gate=gate,
        splitter=Splitter(),
    )


@pytest.fixture
def still(tmp_path: Path, head_picture) -> Path:
    Image.fromarray(head_picture()).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@dataclass(frozen=True, slots=True, kw_only=True)
class NeverDetector:
    def __call__(self, frames: list[np.ndarray], first_frame: int = 0) -> list[list]:
        raise AssertionError("the detector must not be asked")


def test_known_points_replace_the_detector_and_the_landmarks_are_kept(curation: Curation, still: Path) -> None:
    landmarks = np.concatenate([FIVE, [[np.nan, np.nan]], [[100, 30]]]).astype(np.float32)
    head = KnownHead(species="dog", points_xy=FIVE, box_xyxy=BOX, scheme="seven", landmarks_xy=landmarks)
    (sample,) = replace(curation, detector=NeverDetector())(MediaFile(path=still, heads=(head,)))
    assert isinstance(sample, Sample)
    assert (sample.species, sample.quality.score) == ("dog", 1.0)
    assert sample.landmarks is not None
    assert sample.landmarks.points.shape == (1, 7, 2)
    np.testing.assert_allclose(sample.landmarks.points[0, :5], sample.points[0], atol=0.01)
    assert np.isnan(sample.landmarks.points[0, 5]).all()
    assert sample.truth == {}, "truth is exact data of puppets; training relies on that"


def test_known_heads_can_be_ignored(curation: Curation, still: Path) -> None:
    head = KnownHead(species="dog", points_xy=FIVE + 3, box_xyxy=BOX)
    (sample,) = replace(curation, use_known_heads=False)(MediaFile(path=still, heads=(head,)))
    assert isinstance(sample, Sample)
    assert sample.species == "cat"


@pytest.mark.parametrize("what", [{"box_xyxy": BOX + 6}, {"anchors_xy": FIVE[:3]}])
def test_a_head_without_points_takes_those_of_the_detection_on_it(curation: Curation, still: Path, what: dict) -> None:
    (sample,) = curation(MediaFile(path=still, heads=(KnownHead(species="panda", **what),)))
    assert isinstance(sample, Sample)
    assert sample.species == "panda"


@pytest.mark.parametrize("what", [{"box_xyxy": BOX + 300}, {"anchors_xy": FIVE[:3] + 200}, {}])
def test_a_head_that_the_detector_does_not_see_is_a_drop(curation: Curation, still: Path, what: dict) -> None:
    (drop,) = curation(MediaFile(path=still, heads=(KnownHead(species="panda", **what),)))
    assert isinstance(drop, Drop)
    assert drop.reason == "no head found"


def test_the_box_around_points_is_where_the_detector_sees_the_head() -> None:
    for species in ("cat", "panda"):
        box = box_around(FIVE, species)
        assert np.abs((box[:2] + box[2:]) / 2 - [100, 80]).max() < 25
        assert 0.6 < (box[2] - box[0]) / 90 < 1.5


def test_a_problem_is_a_drop_and_the_file_is_not_opened(curation: Curation) -> None:
    (drop,) = curation(MediaFile(path=Path("gone.jpg"), problem="listed but absent", detail="row 3"))
    assert isinstance(drop, Drop)
    assert (drop.stage, drop.reason, drop.detail) == ("source", "listed but absent", "row 3")


def test_only_the_time_and_the_region_of_a_span_are_used(curation: Curation, tmp_path: Path, head_picture) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, [head_picture(centre=(90 + i / 4, 80)) for i in range(40)], Fraction(20))
    (sample,) = curation(MediaFile(path=path, span=ClipSpan(start=0.5, stop=1.5)))
    assert isinstance(sample, Sample)
    assert (sample.start, len(sample.frames)) == (10, 20)
    left = ClipSpan(start=10.0, stop=30.0, unit="frames", region_xyxy=(0.0, 0.0, 0.3, 1.0), region_of=(1.0, 1.0))
    (drop,) = curation(MediaFile(path=path, span=left))
    assert isinstance(drop, Drop)
    scaled = replace(left, region_xyxy=(80.0, 60.0, 120.0, 100.0), region_of=(0.0, 160.0))
    (again,) = curation(MediaFile(path=path, span=scaled))
    assert isinstance(again, Sample)
    assert again.key != sample.key


def test_two_parts_of_one_video_are_no_twins_and_landmarks_reach_the_shard(
    curation: Curation, tmp_path: Path, still: Path, head_picture
) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, [head_picture(centre=(90 + i / 4, 80), seed=4) for i in range(40)], Fraction(20))
    head = KnownHead(species="cat", points_xy=FIVE, scheme="five", landmarks_xy=FIVE)
    spans = (ClipSpan(start=0.0, stop=0.9), ClipSpan(start=1.0, stop=2.0))
    files = [MediaFile(path=path, species="human", span=span) for span in spans]
    files += [MediaFile(path=still, heads=(head,)), MediaFile(path=Path("gone.jpg"), problem="listed but absent")]
    summary = curate(
        source=lambda: files,
        worker=FileWorker(curation=curation),
        duplicates=NearDuplicates(),
        writer=ShardWriter(),
        executor=LocalExecutor(workers=1),
        out=tmp_path / "out",
        config={},
    )
    assert summary.manifest["samples"] == 3, summary.drops
    assert [d.reason for d in summary.drops] == ["listed but absent"]
    groups = [members for tar in sorted((tmp_path / "out").glob("*.tar")) for _, members in read_tar(tar)]
    (kept,) = (r["landmarks"] for members in groups if "landmarks" in (r := json.loads(members["json"])))
    assert kept["scheme"] == "five"
    assert np.array(kept["points"]).shape == (1, 5, 2)


def test_a_time_behind_the_end_is_a_drop(curation: Curation, ball_clip: Path) -> None:
    (drop,) = curation(MediaFile(path=ball_clip, span=ClipSpan(start=60.0, stop=70.0)))
    assert isinstance(drop, Drop)
    assert drop.reason == "listed time is not in the video"
