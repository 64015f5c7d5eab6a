import threading
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from data_pipeline.photo import encode_jpeg
from data_pipeline.video import write_video
from evaluation import Animator
from evaluation.animator import load_detector, usable_device
from evaluation.driving import PosedMotion
from evaluation.options import Options
from evaluation.sliders import PortraitEdit
from evaluation.templates import MotionTemplate, read_template, write_template


@pytest.fixture
def animator(tiny_weights, find_head) -> Animator:
    return Animator.from_pretrained(tiny_weights, detector=find_head, device="cpu", batch_frames=3)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_photo_moves_for_as_long_as_the_driver(animator, picture, driving_video) -> None:
    animation = animator.animate(picture(120, 90), driving_video(11))
    frames = list(animation)
    assert len(frames) == animation.num_frames == 11
    assert all(frame.shape == (200, 260, 3) and frame.dtype == np.uint8 for frame in frames)
    assert animation.fps == Fraction(30000, 1001)
    assert animation.audio_from() == driving_video(11)
    assert not animation.is_still


def test_only_the_square_around_the_head_changes(animator, picture, driving_video) -> None:
    image = picture(120, 90, 20)
    frame = next(iter(animator.animate(image, driving_video(2))))
    changed = (frame != image).any(axis=2)
    assert changed[90, 120]
    assert not changed[:, 200:].any()


def test_the_same_is_made_again_when_it_is_iterated_again(lively, picture, driving_video) -> None:
    animation = lively.animate(picture(120, 90), driving_video(5), smoothing="one-euro")
    first, second = (np.stack(list(animation)) for _ in range(2))
    assert np.array_equal(first, second)
    assert np.ptp(first.astype(int), axis=0).max() > 10


def test_untrained_stitching_changes_nothing(animator, picture, driving_video) -> None:
    path = driving_video(4)
    with_it, without = (list(animator.animate(picture(120, 90), path, stitching=value)) for value in (True, False))
    assert all(np.array_equal(a, b) for a, b in zip(with_it, without, strict=True))


def test_the_batch_size_does_not_change_the_frames(lively_weights, find_head, picture, driving_video) -> None:
    path = driving_video(5)
    results = [
        np.stack(list(Animator.from_pretrained(
            lively_weights, detector=find_head, device="cpu", batch_frames=n, precision="float32"
        ).animate(picture(120, 90), path)))
        for n in (1, 3, 4)
    ]  # fmt: skip
    for result in results[1:]:
        assert np.abs(results[0].astype(int) - result).max() <= 1


def test_a_driving_photo_gives_one_frame(animator, picture) -> None:
    animation = animator.animate(picture(120, 90), picture(130, 100)[None])
    assert animation.is_still
    assert len(list(animation)) == animation.num_frames == 1


def test_the_first_frame_of_relative_motion_shows_the_source_as_the_network_sees_it(lively, picture) -> None:
    frames = np.stack([picture(130, 100), picture(140, 100)])
    animation = lively.animate(picture(120, 90), frames, pasteback=False, stitching=False)
    prepared = lively.engine.prepare(animation.portraits[0].crop)
    with torch.inference_mode():
        at_rest = next(lively.engine.render(prepared, prepared.x_s))
    assert np.abs(next(iter(animation)).astype(int) - at_rest).max() <= 1


def test_options_come_as_an_object_by_name_or_both(lively, picture, moves) -> None:
    options = Options(multiplier=2.0, driving_crop=False)
    animation = lively.animate(picture(120, 90), moves(2), options, multiplier=1.5, edit=PortraitEdit(smile=1.0))
    assert animation.options == replace(options, multiplier=1.5, edit=PortraitEdit(smile=1.0))
    with pytest.raises(TypeError, match="mulitplier"):
        lively.animate(picture(120, 90), moves(2), mulitplier=2)


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), 24, 12.5])
def test_frames_in_memory_take_the_rate_they_are_given(lively, picture, moves, fps) -> None:
    animation = lively.animate(picture(120, 90), moves(3), driving_crop=False, fps=fps)
    assert animation.fps == Fraction(fps)


def test_a_template_drives_as_the_clip_did(lively, picture, driving_video, tmp_path, fake_reader) -> None:
    path = driving_video(8)
    lively.reader = fake_reader([None, (0.3, 0.1), None, *[(0.2, 0.0)] * 5, *[(0.3, 0.1)] * 9])
    animation = lively.animate(picture(120, 90), path)
    template = animation.template()
    assert (template.num_frames, template.fps, template.source) == (8, Fraction(30000, 1001), path.name)
    assert template.model == "tiny"
    assert template.eye_ratios is not None
    assert torch.allclose(template.eye_ratios[:4, 0], torch.tensor([0.3, 0.3, 0.3, 0.2]))  # no gap is left
    expected = np.stack(list(animation))
    write_template(tmp_path / "me.npz", template)
    again = lively.animate(picture(120, 90), tmp_path / "me.npz")
    assert again.fps == animation.fps
    assert again.audio_from() is None
    assert np.abs(np.stack(list(again)).astype(int) - expected).max() <= 1
    short = lively.animate(picture(120, 90), tmp_path / "me.npz", seconds=0.1)
    assert np.abs(np.stack(list(short)).astype(int) - expected[:3]).max() <= 1
    write_template(tmp_path / "me.pkl", template)
    rounded = lively.animate(picture(120, 90), tmp_path / "me.pkl")
    assert rounded.fps == 30  # a .pkl knows whole frames a second only
    assert np.abs(np.stack(list(rounded)).astype(int) - expected).max() <= 2


def test_a_template_of_a_driver_without_a_face_holds_no_openings(lively, picture, moves, fake_reader) -> None:
    lively.reader = fake_reader([None] * 3)
    template = lively.animate(picture(120, 90), moves(3), driving_crop=False).template()
    assert template.eye_ratios is None
    assert template.lip_ratios is None


def test_a_template_of_one_frame_is_a_still(lively, picture, driving_video, tmp_path) -> None:
    template = lively.animate(picture(120, 90), driving_video(3)).template()
    one = replace(template, motion=template.motion.frames(1, 2))
    write_template(tmp_path / "one.npz", one)
    animation = lively.animate(picture(120, 90), tmp_path / "one.npz")
    assert animation.is_still
    assert len(list(animation)) == 1


def test_a_template_for_another_number_of_keypoints_is_refused(lively, picture, tmp_path) -> None:
    motion = PosedMotion(torch.eye(3)[None], torch.zeros(1, 15, 3), torch.ones(1, 1), torch.zeros(1, 3))
    write_template(tmp_path / "few.npz", MotionTemplate(motion=motion, fps=Fraction(25)))
    assert read_template(tmp_path / "few.npz").num_keypoints == 15
    with pytest.raises(ValueError, match=r"few\.npz: the template has 15 keypoints and these weights 21; make it with"):
        lively.animate(picture(120, 90), tmp_path / "few.npz")


def test_the_motion_of_a_camera_cannot_be_saved_beside(lively, picture, moves, camera) -> None:
    footage, capture = camera(iter(moves(3)))
    animation = replace(lively.animate(picture(120, 90), moves(2), driving_crop=False), driver=footage)
    with pytest.raises(ValueError, match="camera 0 plays once, so its motion cannot be saved too"):
        animation.template()
    assert capture.num_read == 1


def test_whose_sound_it_is_can_be_chosen(lively, driving_video, ball_video, picture, tmp_path) -> None:
    spoken, other = driving_video(3), tmp_path / "other.mp4"
    write_video(other, [picture(130, 100)] * 3, Fraction(30), audio_from=spoken)
    silent = ball_video("silent.mp4", [(130, 100)] * 3)

    def heard(source, driving) -> list[Path | None]:
        animation = lively.animate(source, driving)
        return [animation.audio_from(priority) for priority in ("driver", "source", "none")]

    assert heard(other, spoken) == [spoken, other, None]
    assert heard(silent, spoken) == [spoken, spoken, None]
    assert heard(other, silent) == [other, other, None]
    assert heard(silent, silent) == [None, None, None]
    assert heard(picture(120, 90), spoken) == [spoken, spoken, None]


@pytest.mark.usefixtures("as_installed")
def test_another_word_for_the_sound_is_refused(lively, picture, moves) -> None:
    animation = lively.animate(picture(120, 90), moves(2), driving_crop=False)
    with pytest.raises(ValueError, match="audio='drver' is unknown; choose one of driver, source, none"):
        animation.audio_from("drver")


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize(
    "image", [np.zeros((20, 20), np.uint8), np.zeros((20, 20, 3)), np.zeros((20, 20, 4), np.uint8)]
)
def test_a_picture_of_another_kind_is_refused(lively, moves, image) -> None:
    with pytest.raises(ValueError, match=r"the source picture is .*; give u8\[H,W,3\]"):
        lively.animate(image, moves(2))


def test_files_that_are_none_are_told(lively, picture, moves, tmp_path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(ValueError, match="is not a file; give a photo or a video"):
        lively.animate(tmp_path / "none.jpg", moves(2))
    with pytest.raises(ValueError, match=r"text\.jpg"):
        lively.animate(tmp_path / "text.jpg", moves(2))
    with pytest.raises(ValueError, match="is not a file; give a video, a photo, a template or webcam:0"):
        lively.animate(picture(120, 90), tmp_path / "none.mp4")
    lively.detector = lambda *_: pytest.fail("the source was looked through first")
    with pytest.raises(ValueError, match="is not a file; give a video, a photo, a template or webcam:0"):
        lively.animate(picture(120, 90), tmp_path / "none.mp4")


def test_without_detector_and_box_a_way_out_is_named(tiny_weights, picture) -> None:
    animator = Animator.from_pretrained(tiny_weights, detector=None, device="cpu")
    with pytest.raises(ValueError, match=r"give source_box=\[x0,y0,x1,y1\] or"):
        animator.animate(picture(120, 90), picture(130, 100)[None])


def test_detectors_and_devices_are_found_by_name() -> None:
    with pytest.raises(ValueError, match="detector='best' is unknown; give starter"):
        load_detector("best")
    assert usable_device("cpu") == "cpu"
    assert usable_device("auto") in ("cpu", "cuda")
    with pytest.raises(ValueError, match="device=gpu is unknown; give auto, cpu, cuda or cuda:1"):
        usable_device("gpu")
    count = torch.cuda.device_count()
    with pytest.raises(ValueError, match=f"device=cuda:{count}: this machine has {count} CUDA devices"):
        usable_device(f"cuda:{count}")


@pytest.mark.parametrize("num_taken", [0, 1, 4])
@pytest.mark.parametrize("reference", ["first", 2])
def test_an_animation_that_is_left_half_way_leaves_nothing_behind(
    lively, tmp_path, picture, driving_video, num_taken, reference
) -> None:
    (tmp_path / "cat.jpg").write_bytes(encode_jpeg(picture(120, 90)))
    animation = lively.animate(tmp_path / "cat.jpg", driving_video(30, sound=False), reference=reference)
    threads, files = threading.active_count(), open_files()
    steps = animation.steps()
    for _ in range(num_taken):
        next(steps)
    steps.close()
    frames = iter(animation)
    for _ in range(num_taken):
        next(frames)
    frames.close()
    assert threading.active_count() == threads
    assert open_files() == files


def test_an_error_in_the_networks_ends_the_thread_that_reads(lively, picture, driving_video, monkeypatch) -> None:
    animation = lively.animate(picture(120, 90), driving_video(20, sound=False))
    before = threading.active_count()

    def fail(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(lively.engine, "read_motion", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(animation)
    assert threading.active_count() == before
