import errno
import tarfile
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from data_pipeline.adapters.folder import MediaFile
from data_pipeline.crop import Cropper
from data_pipeline.curation import Curation
from data_pipeline.detect import BoxesDetector, DetectorError
from data_pipeline.file_worker import DROPS, FileRow, FileWorker, Job, write_lost
from data_pipeline.group_tar import read_tar
from data_pipeline.media import source_id_of
from data_pipeline.quality import QualityGate
from data_pipeline.shots import ShotSplitter
from data_pipeline.split import Splitter
from data_pipeline.track import TrackLinker
from data_pipeline.whole_file import WriteError
from data_pipeline.work_folder import read_results


@pytest.fixture
def worker(ball_detector) -> FileWorker:
    gate = QualityGate(min_side_px=20.0, min_coverage_frac=0.2)
    parts = {"shots": ShotSplitter(), "linker": TrackLinker(), "cropper": Cropper(side_px=64), "splitter": Splitter()}
    return FileWorker(curation=Curation(detector=ball_detector, gate=gate, **parts))


@pytest.fixture
def job(ball_clip: Path, tmp_path: Path) -> Job:
    return Job(file=MediaFile(path=ball_clip), result=tmp_path / "r.tar", size_bytes=ball_clip.stat().st_size)


def test_a_result_tells_what_the_file_cost_and_gave(worker: FileWorker, job: Job) -> None:
    row = worker(job)
    assert (row.key, row.frames, row.samples, row.drops) == (job.file.path.as_posix(), 24, 1, 0)
    assert row.media_s == pytest.approx(0.96)
    assert 0 < row.seconds < 60
    keys = [key for key, _ in read_tar(job.result)]
    assert keys == [f"{source_id_of(job.file.path)}-000000-0", DROPS]
    results = read_results([job], job.result.parent)
    assert results.rows == [row]
    assert [entry.fingerprint.key for entry in results.entries] == keys[:1]


def breaking(error: Exception) -> Callable[..., list]:
    def detect(*_: object) -> list:
        raise error

    return detect


@pytest.mark.parametrize("error", [cv2.error("odd frame"), TypeError("odd"), OSError(errno.EIO, "disk is ill")])
def test_whatever_a_file_makes_decoders_say_becomes_its_drop(worker: FileWorker, job: Job, error: Exception) -> None:
    row = worker.with_detector(breaking(error))(job)
    assert (row.samples, row.drops) == (0, 1)
    (drop,) = read_results([job], job.result.parent).drops
    assert (drop.stage, drop.reason) == ("curation", "failed")
    assert type(error).__name__ in drop.detail
    assert "test_file_worker.py:" in drop.detail


def test_a_detector_that_cannot_run_ends_the_run(worker: FileWorker, job: Job, tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match=r"nowhere\.csv"):
        worker.with_detector(BoxesDetector(path=tmp_path / "nowhere.csv"))(job)
    assert not list(tmp_path.glob("r.tar*"))


def test_a_full_disk_ends_the_run_and_is_not_taken_for_the_files_fault(worker, job, tmp_path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    with pytest.raises(WriteError, match=r"r\.tar cannot be written: the disk is full"):
        worker(job)
    assert not list(tmp_path.glob("r.tar*"))


def test_a_lost_job_has_its_drop_and_row(job: Job) -> None:
    assert write_lost(job) == FileRow(key=job.file.path.as_posix(), drops=1)
    results = read_results([job], job.result.parent)
    assert [drop.reason for drop in results.drops] == ["worker died"]
    assert results.entries == []
