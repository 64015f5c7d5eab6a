"""What lp-benchmark curation measures: a floor that does no more than it says, rounds in turn, stages."""

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.adapters.folder import FolderSource
from data_pipeline.crop import Cropper
from data_pipeline.curation import Curation
from data_pipeline.file_worker import FileWorker
from data_pipeline.photo import write_photo
from data_pipeline.quality import QualityGate
from data_pipeline.records import Detection
from data_pipeline.shots import ShotSplitter
from data_pipeline.split import Splitter
from data_pipeline.track import TrackLinker
from data_pipeline.video import read_info
from data_pipeline.video_writer import write_video
from evaluation.curation_media import largest_clip, lengthened, puppet_media
from evaluation.curation_speed import (
    Rounds,
    Setup,
    floor_of,
    measured,
    rounds_of,
    spread,
    stages_of,
    whole_of,
)

SIDE_PX = 96


class MiddleHead:
    """One cat in the middle of every frame; counts the frames it was asked about."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, frames, first_frame: int = 0) -> list[list[Detection]]:
        self.asked += len(frames)
        points = np.array([[38, 40], [58, 40], [48, 50], [42, 58], [54, 58]], np.float32)
        return [
            [Detection(frame=first_frame + i, species="cat", box_xyxy=np.array([24, 20, 72, 70], np.float32),
                       points_xy=points, point_scores=np.ones(5, np.float32), score=0.9)]
            for i in range(len(frames))
        ]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "media"
    root.mkdir()
    rng = np.random.default_rng(3)
    texture = rng.integers(0, 255, (SIDE_PX, SIDE_PX * 2, 3)).astype(np.uint8)
    write_video(root / "clip.mp4", [texture[:, i : i + SIDE_PX] for i in range(30)], fps=Fraction(10))
    write_photo(root / "photo.jpg", texture[:, :SIDE_PX])
    (root / "broken.mp4").write_bytes(b"no film" * 30)
    return root


@pytest.fixture
def setup(folder: Path) -> Setup:
    curation = Curation(
        detector=MiddleHead(), shots=ShotSplitter(), linker=TrackLinker(), cropper=Cropper(side_px=64),
        gate=QualityGate(min_side_px=10.0, min_coverage_frac=0.1), splitter=Splitter(), detect_every=4,
    )  # fmt: skip
    return Setup(source=FolderSource(path=str(folder)), worker=FileWorker(curation=curation))


def test_the_floor_decodes_all_and_detects_where_curation_looks(setup: Setup) -> None:
    floor = floor_of(setup)
    assert floor.frames == 31
    assert floor.looked_at == setup.worker.curation.detector.asked == 8 + 1  # type: ignore[attr-defined]
    assert floor.media_s == pytest.approx(3.0)
    assert floor.seconds == floor.decode_s + floor.detect_s > 0


def test_a_whole_run_leaves_nothing_and_says_what_it_made(setup: Setup, folder: Path) -> None:
    before = sorted(folder.iterdir())
    whole = whole_of(setup, workers=1)
    assert whole.samples >= 1
    assert whole.seconds > 0
    assert whole.start_up_s == 0
    assert math.isnan(whole.memory_mib)
    assert sorted(folder.iterdir()) == before


def test_rounds_compare_what_was_measured_together(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    floor, whole = floor_of(setup), whole_of(setup, 1)
    monkeypatch.setattr("evaluation.curation_speed.floor_of", lambda _: order.append("floor") or floor)
    monkeypatch.setattr("evaluation.curation_speed.whole_of", lambda _, n: order.append(str(n)) or whole)
    rounds = rounds_of(setup, workers=3, repeats=2)
    assert order == ["floor", "1", "3", "3", "1", "floor"]
    ratios = rounds.ratios()
    assert ratios["curation / floor"] == [whole.seconds / floor.seconds] * 2
    assert ratios["throughput, start-up included"] == [1, 1]


def test_start_up_is_taken_off_the_several_only(setup: Setup) -> None:
    from dataclasses import replace

    floor, one = floor_of(setup), replace(whole_of(setup, 1), seconds=8.0)
    many = replace(one, seconds=5.0, start_up_s=1.0)
    ratios = Rounds(workers=2, floors=[floor], ones=[one], severals=[many]).ratios()
    assert ratios["throughput, start-up included"] == [1.6]
    assert ratios["throughput, without start-up"] == [2.0]


def test_stages_add_up_to_a_whole_run_and_know_their_floor(setup: Setup) -> None:
    floor, one = floor_of(setup), whole_of(setup, 1)
    rows = {row["stage"]: row for row in stages_of(setup, Rounds(workers=2, floors=[floor], ones=[one], severals=[]))}
    assert sum(row["seconds"] for row in rows.values()) == pytest.approx(one.seconds)
    assert {"decode", "encode", "measures", "pack", "track and crop"} <= rows.keys()
    assert rows["decode"]["extra_s"] == pytest.approx(rows["decode"]["seconds"] - floor.decode_s)
    assert rows["encode"]["floor_s"] == 0


def test_one_file_without_a_video_is_refused(setup: Setup, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (folder / "photo.jpg").rename(tmp_path / "photos" / "photo.jpg")
    with pytest.raises(ValueError, match="photos holds no video"):
        measured(setup, tmp_path / "photos", workers=2, repeats=1, memory_s=1.0)
    with pytest.raises(ValueError, match=r"curation\.workers must be 2 or more"):
        measured(setup, folder, workers=1, repeats=1, memory_s=1.0)


def test_a_clip_is_brought_to_a_length_without_jumps(folder: Path, tmp_path: Path) -> None:
    clip = largest_clip(folder)
    assert clip == folder / "clip.mp4"
    info = read_info(lengthened(clip, tmp_path / "long.mp4", seconds=9.0))
    assert info.num_frames == 90
    assert info.fps == 10
    other = lengthened(clip, tmp_path / "other.mp4", seconds=9.0, first=7)
    assert other.read_bytes() != (tmp_path / "long.mp4").read_bytes()
    assert largest_clip(tmp_path / "media" / "photo.jpg") is None


def test_puppets_come_without_their_truth(tmp_path: Path) -> None:
    media = puppet_media(tmp_path, seconds=0.2, size_px=32, species=("cat",), workers=1)
    assert sorted(path.suffix for path in media.iterdir()) == [".jpg", ".jpg", ".mp4", ".mp4"]


def test_a_spread_is_median_least_and_most() -> None:
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "least": 1.0, "most": 3.0}
