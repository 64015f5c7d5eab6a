import errno
import os
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from evaluation.driver import Footage

# beartype warns of a type inside DictConfig, which is not ours.
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated by PEP 585")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["driving=none.mp4", "out=x.mp4"], "driving: none.mp4 is not a file"),
        (["source=none.jpg", "driving={photo}", "out=x.mp4"], "source: none.jpg is not a file"),
        (["driving={photo}", "out=x.avi"], "x.avi: give a name that ends in .mp4, .gif"),
        (["driving={photo}", "out=x.mp4", "also=[x.mov]"], "x.mov: give a name that ends in .mp4, .gif"),
        (["driving={photo}", "out=x.mp4", "also=[y.mp4,y.mp4]"], "is to be written twice"),
        (["driving={photo}", "out=x.mp4", "also=x_side_by_side.mp4"], "is to be written twice"),
        (["driving={photo}", "out=."], "give a name that ends in"),
        (["driving={photo}", "out={photo}"], "would be replaced by the result; give another out"),
        (["driving={photo}", "out=x.mp4", "also=[{photo}]"], "would be replaced by the result; give another out"),
        (["driving={photo}", "out=x.jpg", "multiplier=-1"], "multiplier=-1.0 is out of range"),
        (["driving={photo}", "out=x.mp4", "crf=60"], "crf=60 is out of range; give a whole number from 0 to 51"),
        (["driving={photo}", "out=x.mp4", "batch_frames=many"], "batch_frames=many is out of range"),
        (["driving={photo}", "out=x.mp4", "side_by_side=flase"], "side_by_side=flase cannot be used; give true or"),
        (["driving={photo}", "out=x.mp4", "stitching=flase"], "stitching='flase' cannot be used; give true or false"),
        (
            ["driving={photo}", "out=x.mp4", "head=2", "source_box=null"],
            "head=2, but there is 1 head; give largest or 0",
        ),
        (["driving={photo}", "out=x.mp4", "eyes=0.3"], "give source_eyes=0.35 as they look"),
        (["driving={photo}", "out=x.mp4", "eyes=9", "source_eyes=0.3"], "eyes: 9 is out of range"),
        (["driving={photo}", "out=x.mp4", "openings=magic"], "openings='magic' is unknown; give built_in or face_mesh"),
        (["driving={photo}", "out=x.mp4", "audio=drver"], "audio='drver' is unknown"),
        (["driving={photo}", "out=x.mp4", "device=gpu"], "device=gpu is unknown"),
        (["driving={photo}", "out=x.mp4", "source_box=[1,2]"], "the box [1, 2] is not x0,y0,x1,y1"),
        (["driving={photo}"], "the option out is required"),
        (["out=x.mp4"], "the option driving is required"),
        (["driving={photo}", "out=x.jpg", "weights=nowhere"], "nowhere is not a directory"),
        (["driving={video}", "out=x.jpg"], "x.jpg is one picture, and there are several frames"),
        (["driving={video}", "out=x.mp4", "also=x.png"], "x.png is one picture, and there are several frames"),
        (["driving={video}", "out=x.mp4", "reference=3"], "reference=3 is not a frame: the driver has 3"),
        (["driving={video}", "out=x.mp4", "save_template=maybe"], "save_template=maybe cannot be used"),
        (["source={video}", "driving={photo}", "out=x.mp4", "head=all", "source_box=null"], "head=all moves the heads"),
        (["source={video}", "driving={video}", "out=x.mp4", "rules=animal"], "rules=animal moves photos only"),
    ],
)
@pytest.mark.usefixtures("as_installed")
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    animate, tmp_path, photo, driving_video, find_head, monkeypatch, options, message
) -> None:
    monkeypatch.setattr("data_pipeline.detect.OnnxHeadDetector.__call__", lambda _, frames, **__: find_head(frames))
    before = [photo.name]
    if any("{video}" in option for option in options):
        before.append(driving_video(3, sound=False).name)
    options = [option.format(photo=photo, video=tmp_path / "driver3.mp4") for option in options]
    done = animate(*options)
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert message in done.err
    assert names(tmp_path) == sorted(before)


def test_ctrl_c_leaves_no_half_file(animate, tmp_path, driving_video, monkeypatch) -> None:
    path, before = driving_video(9), threading.active_count()
    (tmp_path / "cat.mp4").write_bytes(b"an older result")
    plain = Footage.frames

    def interrupted(self: Footage, fps: Fraction | None = None) -> Iterator[np.ndarray]:
        for number, frame in enumerate(plain(self, fps)):
            if number == 6:
                raise KeyboardInterrupt
            yield frame

    monkeypatch.setattr(Footage, "frames", interrupted)
    done = animate(f"driving={path}", "out=cat.mp4", "also=[cat.gif,frames]")
    assert done.code == 130
    assert done.err == "stopped; run the same command again to go on\n"
    assert names(tmp_path) == ["cat.jpg", "cat.mp4", "driver9.mp4"]
    assert (tmp_path / "cat.mp4").read_bytes() == b"an older result"
    assert threading.active_count() == before


def test_a_folder_that_may_not_be_written_is_told_before_work_begins(
    animate, tmp_path, driving_video, monkeypatch
) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    plain = Path.touch

    def refuse(self: Path, *args, **options) -> None:
        if self.parent == Path("locked"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        plain(self, *args, **options)

    monkeypatch.setattr(Path, "touch", refuse)  # root may write everywhere
    done = animate(f"driving={driving_video(3)}", "out=locked/cat.mp4")
    assert done.code == 1
    assert done.err == (
        "error: locked/cat.mp4 cannot be written: its folder does not allow it; write to a folder of your own\n"
    )
    assert names(folder) == []


def test_a_full_disk_is_one_sentence_and_nothing_half_is_left(animate, tmp_path, driving_video, monkeypatch) -> None:
    path = driving_video(8)

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)  # the frames of a folder are written so
    done = animate(f"driving={path}", "out=cat.mp4", "also=[frames]")
    assert done.code == 1
    assert "frames" in done.err
    assert "the disk is full; free some space" in done.err
    assert done.err.count("\n") == 1
    assert names(tmp_path) == ["cat.jpg", "driver8.mp4"]


def test_a_full_disk_under_the_config_is_told_too(animate, tmp_path, driving_video, monkeypatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(OmegaConf, "save", full)
    done = animate(f"driving={driving_video(2)}", "out=cat.mp4", "side_by_side=false")
    assert done.code == 1
    assert done.err.startswith("error: cat.config.yaml cannot be written: the disk is full")
    assert names(tmp_path) == ["cat.jpg", "cat.mp4", "driver2.mp4"]


@pytest.mark.parametrize("name", ["zero_byte.mp4", "video_track_zero_frames.mp4", "audio_only_no_video.mp4"])
def test_a_driver_without_pictures_is_refused(animate, tmp_path, shared_data, name) -> None:
    done = animate(f"driving={shared_data / 'media' / 'broken' / name}", "out=cat.mp4")
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert name in done.err
    assert names(tmp_path) == ["cat.jpg"]
