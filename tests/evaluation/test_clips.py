import json
import shutil
from fractions import Fraction

import numpy as np
import pytest

from data_pipeline.video import write_video
from evaluation.clips import every_nth, find_clips, frames_at

BLACK = [np.zeros((32, 32, 3), np.uint8)] * 2


def test_a_puppet_set_gives_aligned_crops_with_truth(puppet_set) -> None:
    clips = find_clips(puppet_set, side_px=64)
    assert [clip.species for clip in clips] == ["cat", "human"]
    assert len({clip.performance for clip in clips}) == 1
    frames = clips[0].load()
    assert frames.frames.shape == (6, 64, 64, 3)
    assert frames.points is not None
    assert np.linalg.norm(frames.points.mean(axis=(0, 1)) - 32) < 16
    assert frames.labels is not None
    assert frames.labels.shape == (6, 64, 64)


def test_only_the_frames_that_are_asked_for_are_read(puppet_set) -> None:
    clip = find_clips(puppet_set, side_px=64)[0]
    whole, part = clip.load(), clip.load([1, 4])
    assert np.array_equal(part.frames, whole.frames[[1, 4]])
    assert np.array_equal(part.points, whole.points[[1, 4]])
    assert np.array_equal(part.landmarks, whole.landmarks[[1, 4]])
    assert np.array_equal(part.signals.yaw_deg, whole.signals.yaw_deg[[1, 4]])
    with pytest.raises(ValueError, match="ends before frame 9"):
        list(frames_at(puppet_set / f"{clip.key}.mp4", [1, 9]))


def test_a_truth_file_beside_a_medium_replaces_the_detector(puppet_set, tmp_path) -> None:
    clip = find_clips(puppet_set, side_px=64)[0]
    for suffix in (".mp4", ".truth.npz"):
        source = (puppet_set / clip.key).parent / ((puppet_set / clip.key).name + suffix)
        shutil.copy(source, tmp_path / f"mine{suffix}")
    (found,) = find_clips(tmp_path, side_px=64)
    assert (found.species, found.identity, found.performance) == (clip.species, clip.identity, clip.performance)
    assert np.array_equal(found.load().frames, clip.load().frames)
    assert found.load().labels is None


def test_plain_videos_are_cropped_around_the_head(tmp_path, picture, find_head, driving_video) -> None:
    path = driving_video(5)
    clips = find_clips(path.parent, side_px=64, detector=find_head)
    assert clips[0].species == "cat"
    assert clips[0].load().frames.shape == (5, 64, 64, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "holds no clip"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "cannot be read"),
        (
            lambda folder: write_video(folder / "a.mp4", [np.zeros((32, 32, 3), np.uint8)] * 2, Fraction(25)),
            "give detector=",
        ),
    ],
)
def test_what_cannot_be_evaluated_is_said(tmp_path, make, message) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    make(folder)
    with pytest.raises(ValueError, match=message):
        find_clips(folder)


def test_shards_know_their_splits(tmp_path) -> None:
    manifest = {"format": 1, "shards": [{"name": "train-00000.tar"}, {"name": "val-00000.tar"}]}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="no split 'test'; choose one of train, val, all"):
        find_clips(tmp_path, split="test")


def test_frames_are_spread_over_the_clip() -> None:
    assert list(every_nth(10, 4)) == [0, 3, 6, 9]
    assert list(every_nth(3, None)) == [0, 1, 2]
    assert all(len(every_nth(n, 24)) <= 24 for n in range(1, 200))
