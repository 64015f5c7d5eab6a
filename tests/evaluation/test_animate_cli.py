import os
import signal
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from data_pipeline import media
from data_pipeline.media import read_frames
from data_pipeline.video import read_info
from evaluation.animate_cli import quoted
from evaluation.driving import PosedMotion
from evaluation.templates import MotionTemplate, write_template

# beartype warns of a type inside DictConfig, which is not ours.
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated by PEP 585")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def frames_of(path: Path) -> np.ndarray:
    return np.stack(list(read_frames(path))).astype(int)


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, ((a - b) ** 2).mean())))


def test_both_videos_have_sound_rate_and_length(animate, tmp_path, driving_video) -> None:
    done = animate(f"driving={driving_video(11)}", "out=made/cat.mp4", "multiplier=5")
    assert done.code == 0, done.err
    out = tmp_path / "made" / "cat.mp4"
    for path in (out, out.with_name("cat_side_by_side.mp4")):
        info = read_info(path)
        assert (info.fps, info.has_audio) == (Fraction(30000, 1001), True)
        assert len(frames_of(path)) == 11
    assert read_info(out).width_px == 260
    assert names(out.parent) == ["cat.config.yaml", "cat.mp4", "cat_side_by_side.mp4"]
    assert "moving cat.jpg (head given by hand) like" in done.out
    assert "made made/cat.mp4 (11 frames at 29.97 frames/s, with sound" in done.out
    assert "  and made/cat_side_by_side.mp4" in done.out
    assert "next: lp-animate source=" in done.out
    assert not list(tmp_path.glob("*.log"))
    assert np.abs(np.diff(frames_of(out), axis=0)).max() > 10


def test_one_run_makes_every_kind_of_file(animate, tmp_path, driving_video) -> None:
    path = driving_video(6, sound=False)
    done = animate(f"driving={path}", "out=cat.mp4", "also=[cat.gif,cat.webp,cat_frames]", "save_crops=true",
                   "save_template=true")  # fmt: skip
    assert done.code == 0, done.err
    made = ["cat.gif", "cat.webp", "cat_frames", "cat_side_by_side.mp4", "cat_crops.mp4", "cat.motion.npz"]
    assert [line[6:] for line in done.out.splitlines() if line.startswith("  and ")] == made
    assert names(tmp_path) == sorted(["cat.jpg", "driver6.mp4", "cat.mp4", "cat.config.yaml", *made])
    frames = frames_of(tmp_path / "cat.mp4")
    assert len(frames) == 6
    for name in ("cat.gif", "cat.webp"):
        assert np.abs(frames_of(tmp_path / name)[:, :200, :260] - frames).mean() < 8
    assert names(tmp_path / "cat_frames") == [f"{i:06d}.png" for i in range(6)]
    assert frames_of(tmp_path / "cat_crops.mp4").shape == (6, 128, 128, 3)
    assert ", with sound" not in done.out


@pytest.mark.parametrize("name", ["cat.gif", "cat.webp", "frames"])
def test_the_ending_of_the_name_chooses_the_kind(animate, tmp_path, driving_video, name) -> None:
    done = animate(f"driving={driving_video(4)}", f"out={name}", "side_by_side=false")
    assert done.code == 0, done.err
    assert f"made {name} (4 frames" in done.out
    assert "with sound" not in done.out
    assert (tmp_path / name).is_dir() == (name == "frames")
    assert not list(tmp_path.glob("*side*"))


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.mp4"])
def test_a_driving_photo_gives_a_picture(animate, tmp_path, photo, name) -> None:
    done = animate(f"driving={photo}", f"out={name}", "also=still.png")
    assert done.code == 0, done.err
    assert f"made {name} (1 frame," in done.out
    picture = frames_of(tmp_path / name)
    assert picture.shape == (1, 200, 260, 3)
    with Image.open(tmp_path / "still.png") as still:
        assert psnr_db(picture[0], np.array(still).astype(int)) > 28
    assert bool(list(tmp_path.glob("*side_by_side*"))) == (name == "x.mp4")


def test_the_saved_template_drives_to_the_same_frames(animate, tmp_path, driving_video) -> None:
    first = animate(f"driving={driving_video(6)}", "out=a.mp4", "save_template=true", "crf=4")
    again = animate("driving=a.motion.npz", "out=b.mp4", "crf=4", "side_by_side=true")
    assert (first.code, again.code) == (0, 0), first.err + again.err
    assert psnr_db(frames_of(tmp_path / "a.mp4"), frames_of(tmp_path / "b.mp4")) > 40
    assert read_info(tmp_path / "b.mp4").fps == Fraction(30000, 1001)
    assert "of the weights" not in again.out
    # A template has no pictures: source | result.
    widths = [frames_of(tmp_path / f"{name}_side_by_side.mp4").shape[2] for name in "ab"]
    assert widths == [3 * 256 + 2 * 4, 2 * 256 + 4]


def test_a_template_of_other_weights_is_pointed_out(animate, tmp_path) -> None:
    motion = PosedMotion(torch.eye(3)[None], torch.zeros(1, 21, 3), torch.ones(1, 1), torch.zeros(1, 3))
    write_template(tmp_path / "me.npz", MotionTemplate(motion=motion, fps=Fraction(25), model="official"))
    done = animate("driving=me.npz", "out=x.png")
    assert done.code == 0, done.err
    assert "like me.npz; the template is of the weights official, to whose expressions others give other" in done.out


def test_a_video_is_moved_with_the_sound_that_is_asked_for(animate, tmp_path, driving_video, ball_video) -> None:
    source = ball_video("cat.mp4", [(110 + 4 * i, 100) for i in range(6)], Fraction(15))
    driver = driving_video(8)
    for audio, has_sound in (("driver", True), ("none", False)):
        done = animate(f"source={source}", f"driving={driver}", f"out={audio}.mp4", f"audio={audio}")
        assert done.code == 0, done.err
        assert "moving cat.mp4 (head given by hand, 6 frames)" in done.out
        assert read_info(tmp_path / f"{audio}.mp4").has_audio == has_sound
    assert read_info(tmp_path / "none.mp4").fps == 15
    # Eight frames of 29.97 a second are four of 15.
    assert len(frames_of(tmp_path / "none.mp4")) == len(frames_of(tmp_path / "none_side_by_side.mp4")) == 5


def test_options_arrive(animate, tmp_path, driving_video) -> None:
    """What a config says is what is done: multiplier 0 and an edit give the same face in every frame."""
    done = animate(f"driving={driving_video(4)}", "out=frames", "multiplier=0", "edit.yaw_deg=25", "stitching=false")
    assert done.code == 0, done.err
    saved = OmegaConf.load(tmp_path / "frames.config.yaml")
    assert (saved.multiplier, saved.edit.yaw_deg, saved.out) == (0, 25, "frames")
    frames = [np.array(Image.open(path)) for path in sorted((tmp_path / "frames").iterdir())]
    assert all(np.abs(frame.astype(int) - frames[0]).max() <= 1 for frame in frames)
    with_motion = animate(f"driving={driving_video(4)}", "out=others", "multiplier=5", "stitching=false")
    assert with_motion.code == 0
    others = [np.array(Image.open(path)) for path in sorted((tmp_path / "others").iterdir())]
    assert np.abs(others[0].astype(int) - frames[0]).max() > 2
    assert np.abs(others[0].astype(int) - others[3]).max() > 10


@pytest.mark.parametrize(
    "name",
    ["IMG (1).jpg", "a,b.jpg", "it's.jpg", "a=b.jpg", "имя 猫 🐱 é.jpg", "[x].jpg", "2024", "a\\'b\\", '"q".jpg'],
)
def test_a_file_may_have_any_name(animate, tmp_path, photo, name) -> None:
    other = tmp_path / name
    photo.rename(other)
    done = animate(f"source={other}", f"driving={other}", f"out=made {name}.png")
    assert done.code == 0, done.err
    assert (tmp_path / f"made {name}.png").exists()
    assert f"moving {name} (head" in done.out


def test_words_that_are_no_paths_or_quoted_already_are_left_alone(tmp_path) -> None:
    for word in ("multiplier=2", "source=null", "source='a b'", 'out="a b"', "source=", "--help", "also=[a.gif]"):
        assert quoted(word) == word
    assert quoted("source=a'b\\") == r"source='a\'b\\'"


def test_a_camera_moves_a_photo_for_its_seconds(animate, tmp_path, picture, monkeypatch, fake_capture) -> None:
    captures = []

    def capture(index: int):
        captures.append(fake_capture((picture(130 + i % 9, 100) for i in range(10**6)), 100.0))
        return captures[-1]

    monkeypatch.setattr("data_pipeline.webcam._opencv_capture", capture)
    done = animate("driving=webcam:0", "out=cat.mp4", "seconds=0.2")
    assert done.code == 0, done.err
    assert 1 <= len(frames_of(tmp_path / "cat.mp4")) <= 21
    assert read_info(tmp_path / "cat.mp4").fps == 100
    refused = animate("driving=0", "out=dog.mp4", "seconds=0.2", "reference=neutral")
    assert refused.code == 1
    assert refused.err == "error: a camera is live: it needs reference=first and smoothing=none or one-euro\n"
    assert "Ctrl-C ends the film" in done.out
    assert captures[0].num_released == 1
    assert not (tmp_path / "dog.mp4").exists()


def test_ctrl_c_ends_a_cameras_film_which_is_then_finished(
    animate, tmp_path, picture, monkeypatch, fake_capture
) -> None:
    def pictures() -> Iterator[np.ndarray]:
        for number in range(10**6):
            if number == 12:
                os.kill(os.getpid(), signal.SIGINT)
            yield picture(130 + number % 9, 100)

    monkeypatch.setattr("data_pipeline.webcam._opencv_capture", lambda _: fake_capture(pictures(), 200.0))
    before = signal.getsignal(signal.SIGINT)
    done = animate("driving=webcam:0", "out=cat.mp4")
    assert done.code == 0, done.err
    assert len(frames_of(tmp_path / "cat.mp4")) >= 1
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("variable_frame_rate.mp4", None),
        ("rotation_metadata_90.mp4", 32),
        ("ten_bit_h264.mp4", 30),
        ("single_frame.mp4", 1),
        ("animated.gif", None),
    ],
)
def test_odd_drivers_are_played_as_they_are_shown(animate, tmp_path, shared_data, name, count) -> None:
    path = shared_data / "media" / "broken" / name
    timing = media.read_timing(path)
    done = animate(f"driving={path}", "driving_box=null", "driving_crop=false", "out=cat.mp4", "side_by_side=false")
    assert done.code == 0, done.err
    assert len(frames_of(tmp_path / "cat.mp4")) == (count or timing.num_frames)
    assert count in (None, timing.num_frames)
    if timing.is_variable:
        assert read_info(tmp_path / "cat.mp4").fps == timing.fps
