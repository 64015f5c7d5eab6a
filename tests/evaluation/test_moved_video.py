import threading
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch

from data_pipeline.crop import warp_crop
from data_pipeline.video import read_frames
from evaluation.animator import Animation
from evaluation.driving import LIP_KEYPOINTS, DrivingOptions, PosedMotion, drive_video, posed
from evaluation.editor import edited_keypoints
from evaluation.moved_video import UNSMOOTHED_VARIANCE
from evaluation.openings import Openings
from evaluation.retarget import eyes_delta, finished, open_eyes_delta
from evaluation.sliders import PortraitEdit
from evaluation.source import SourceVideo
from evaluation.templates import MotionTemplate
from tests.evaluation.stand_ins import small_driver

COUNT = 10
PLACES = [(110 + 5 * i, 100) for i in range(COUNT)]


@pytest.fixture
def source(ball_video):
    """A ball that crosses the picture in ten frames at thirty a second."""
    return ball_video("cat.mp4", PLACES, radius=22)


@pytest.fixture
def moved(lively, source):
    """Maker of the animation of that video."""

    def make(driver=None, *, reader=None, path=source, **options) -> Animation:
        lively.reader = reader
        driver = small_driver(COUNT) if driver is None else driver
        chosen = {"driving_crop": False, "stitching": False, "smoothing": "none", "fps": Fraction(30), **options}
        return lively.animate(path, driver, **chosen)

    return make


class Own:
    """What the networks see in the source, and its keypoints."""

    def __init__(self, animation: Animation) -> None:
        portraits, engine = animation.portraits, animation.engine
        assert isinstance(portraits, SourceVideo)
        squares = zip(portraits.frames(), portraits.source_from_crop, strict=True)
        self.crops = np.stack([warp_crop(frame, square, 64) for frame, square in squares])
        self.motion, self.canonical = engine.read_face(self.crops)
        self.x_s = posed(self.canonical, self.motion)

    def driven(self, driving: PosedMotion, **options) -> torch.Tensor:
        rules = {"smoothing_variance": UNSMOOTHED_VARIANCE, **options}
        count = min(len(self.x_s), len(driving.delta))
        return drive_video(
            self.canonical[:count], self.motion.frames(0, count), driving.frames(0, count), DrivingOptions(**rules)
        )


def near(a: torch.Tensor, b: torch.Tensor, within: float = 1e-4) -> bool:
    return a.shape == b.shape and bool(torch.allclose(a, b, atol=within))


@pytest.mark.parametrize("options", [{}, {"relative": False}, {"region": "exp"}, {"multiplier": 1.5}])
def test_a_video_follows_the_driving_rules(moved, keypoints, lively, options) -> None:
    animation = moved(**options)
    own = Own(animation)
    rules = {name: value for name, value in options.items() if name != "multiplier"}
    x_d = own.driven(lively.engine.read_motion(small_driver(COUNT)), **rules)
    assert near(keypoints(animation), finished(own.x_s, x_d, None, options.get("multiplier", 1.0)))


@pytest.mark.parametrize(("driven", "expected"), [(4, 4), (COUNT, COUNT), (25, COUNT), (1, COUNT)])
def test_the_shorter_of_both_decides_and_a_photo_drives_all_frames(moved, driven, expected) -> None:
    animation = moved(small_driver(driven))
    assert animation.num_frames == expected == len(list(animation))
    assert animation.fps == 30
    assert animation.is_still_driver == (driven == 1)
    assert not animation.is_still


def test_a_slower_driver_keeps_its_timing(moved, keypoints, lively) -> None:
    """Ten frames a second on thirty: each driving frame serves for three, and the lengths agree."""
    slow = small_driver(3)
    animation = moved(slow, fps=Fraction(10))
    assert animation.num_frames == 9
    own = Own(animation)
    driving = lively.engine.read_motion(slow)
    repeated = PosedMotion(*(value.repeat_interleave(3, 0) for value in driving))
    assert near(keypoints(animation), own.driven(repeated))
    steps = list(animation.steps())
    assert [int(np.abs(slow.astype(int) - step.driving).sum(axis=(1, 2, 3)).argmin()) for step in steps] == [
        0, 0, 0, 1, 1, 1, 2, 2, 2
    ]  # fmt: skip


def test_a_photo_drives_every_frame_alike(moved, keypoints, lively) -> None:
    animation = moved(small_driver(1))
    own = Own(animation)
    driving, calm = lively.engine.read_motion(small_driver(1)), torch.zeros(1, 21, 3)
    x_d = drive_video(own.canonical, own.motion, driving, DrivingOptions(), calm)
    assert near(keypoints(animation), x_d)
    steps = list(animation.steps())
    assert all(np.array_equal(step.driving, small_driver(1)[0]) for step in steps)


def test_a_region_moves_nothing_else(moved, keypoints) -> None:
    animation = moved(region="lip")
    away = (keypoints(animation) - Own(animation).x_s).abs().amax(dim=(0, 2))
    others = [k for k in range(21) if k not in LIP_KEYPOINTS]
    assert away[others].max() < 1e-5
    assert away[list(LIP_KEYPOINTS)].min() > 1e-3


def test_a_video_is_smoothed_as_upstream_does_unless_it_is_told_otherwise(moved, keypoints, lively) -> None:
    shaken = small_driver(COUNT)[[0, 7, 1, 6, 2, 8, 3, 9, 4, 5]]
    driving = lively.engine.read_motion(shaken)
    plain, auto, kalman, strong, live = (
        keypoints(moved(shaken, **options))
        for options in (
            {"smoothing": "none"},
            {"smoothing": "auto"},
            {"smoothing": "kalman"},
            {"smoothing": "kalman", "smoothing_variance": 1e-3},
            {"smoothing": "one-euro"},
        )
    )
    own = Own(moved(shaken))
    assert near(plain, own.driven(driving))
    assert near(auto, own.driven(driving, smoothing_variance=3e-7))
    assert near(auto, kalman, 0)
    shakes = [float(x_d.diff(n=2, dim=0).abs().mean()) for x_d in (plain, auto, live, strong)]
    assert shakes[0] > shakes[1] > shakes[3]
    assert shakes[0] > 1.05 * shakes[2]


def test_the_reference_is_chosen_for_videos_too(moved, keypoints) -> None:
    for reference in (0, 3):
        animation = moved(reference=reference)
        away = (keypoints(animation) - Own(animation).x_s).abs().amax(dim=(1, 2))
        assert away[reference] < 1e-4
        assert away[(reference + 4) % COUNT] > 1e-2
    assert near(keypoints(moved(reference="first")), keypoints(moved(reference=0)), 0)
    assert len(keypoints(moved(reference="neutral"))) == COUNT


def test_a_frame_changes_only_in_its_square_which_follows_the_head(moved, source) -> None:
    animation = moved()
    portraits = animation.portraits
    assert isinstance(portraits, SourceVideo)
    assert portraits.source_from_crop[-1, 0, 2] - portraits.source_from_crop[0, 0, 2] > 25
    frames = list(read_frames(source))
    for step, frame, square in zip(animation.steps(), frames, portraits.source_from_crop, strict=True):
        corners = (square @ np.array([[-0.5, -0.5, 1], [63.5, -0.5, 1], [63.5, 63.5, 1], [-0.5, 63.5, 1]]).T).T
        inside = cv2.fillConvexPoly(np.zeros(frame.shape[:2], np.uint8), np.round(corners).astype(int), (1,))
        inside = cv2.dilate(inside, np.ones((3, 3), np.uint8)).astype(bool)
        changed = (step.frame != frame).any(axis=2)
        assert not changed[~inside].any()
        assert changed[inside].mean() > 0.5
        assert step.result.shape == (128, 128, 3)
        assert step.source.shape == (64, 64, 3)


def test_without_paste_back_squares_come_out(moved) -> None:
    for step in moved(pasteback=False).steps(with_driver=False):
        assert np.array_equal(step.frame, step.result)
        assert step.driving is None


def test_stitching_is_done_frame_by_frame(moved, keypoints, lively) -> None:
    plain, stitched = (keypoints(moved(stitching=value)) for value in (False, True))
    assert near(stitched, lively.engine.corrections.stitch(Own(moved()).x_s, plain))
    assert not near(stitched, plain, 1e-3)


def test_an_edit_changes_the_face_all_along(moved, keypoints, lively) -> None:
    edit = PortraitEdit(smile=1.0, yaw_deg=8.0)
    still = np.repeat(small_driver(1), COUNT, axis=0)
    animation = moved(still, edit=edit, multiplier=2.0)
    own = Own(animation)
    face = edited_keypoints(
        own.canonical, own.motion, edit, lively.engine.corrections, keep_depth_shift=False, stitching=False
    )
    away = (keypoints(animation) - face).abs().amax(dim=(0, 2))
    # Whole expressions are upstream's for photos only: of a video some numbers are never taken over, and none is lost.
    assert away.max() < 1e-4
    plain = keypoints(moved(still))
    assert near(plain, own.x_s)
    absolute = [keypoints(moved(edit=one, relative=False)) for one in (PortraitEdit(), PortraitEdit(smile=1.0))]
    change = (absolute[1] - absolute[0]).abs().amax(dim=(0, 2))
    assert (change > 1e-4).nonzero()[:, 0].tolist() == [3, 7, 13, 14, 16, 17, 20]


def test_eyes_are_held_open_or_follow(moved, keypoints, lively, fake_reader) -> None:
    answers = [(0.3, 0.0), (0.1, 0.0), None, (0.2, 0.0), *[(0.35, 0.0)] * 6]
    corrections = lively.engine.corrections
    plain = keypoints(moved())
    own = Own(moved())
    eyes = torch.tensor([[0.3, 0.4], [0.1, 0.2], [0.1, 0.2], [0.2, 0.3], *[[0.35, 0.45]] * 6])

    reader = fake_reader(answers)
    held = keypoints(moved(keep_eyes_open=True, reader=reader))
    assert reader.num_read == COUNT
    assert near(held - plain, open_eyes_delta(corrections, own.x_s, eyes))

    # A driver of five frames; the reader sees it first, then the source.
    reader = fake_reader([None, (0.5, 0.1), (0.4, 0.1), None, (0.1, 0.1), *answers])
    follows = keypoints(moved(small_driver(5), eyes="driver", reader=reader))
    theirs = torch.tensor([0.5, 0.5, 0.4, 0.4, 0.1])[:, None]
    delta = eyes_delta(corrections, own.x_s[:5], eyes[:5], theirs)
    assert near(follows - keypoints(moved(small_driver(5))), delta)
    assert reader.num_read == 5 + COUNT


def test_a_curve_runs_at_the_videos_rate_also_under_a_photo(moved, keypoints, lively, tmp_path) -> None:
    (tmp_path / "eyes.csv").write_text("time_s,value\n0,0\n0.3,0.9\n")
    wanted = torch.linspace(0, 0.9, 10)[:, None]
    for count in (1, COUNT):
        animation = moved(small_driver(count), eyes=str(tmp_path / "eyes.csv"), source_eyes=0.3)
        change = keypoints(animation) - keypoints(moved(small_driver(count)))
        own = Own(animation)
        delta = eyes_delta(lively.engine.corrections, own.x_s, torch.full((COUNT, 2), 0.3), wanted)
        assert near(change, delta)


def test_openings_can_replace_the_motion(moved, keypoints, lively) -> None:
    animation = moved(eyes=0.5, source_eyes=0.3, keep_motion=False)
    own = Own(animation)
    delta = eyes_delta(lively.engine.corrections, own.x_s, torch.full((COUNT, 2), 0.3), torch.full((COUNT, 1), 0.5))
    assert near(keypoints(animation), own.x_s + delta)


def test_a_template_drives_a_video(moved, keypoints, lively) -> None:
    motion = lively.engine.read_motion(small_driver(COUNT))
    openings = Openings(torch.rand(COUNT, 2), torch.rand(COUNT, 1))
    template = MotionTemplate(
        motion=motion, fps=Fraction(30), eye_ratios=openings.eyes, lip_ratios=openings.lips, source="d0"
    )
    animation = replace(moved(), driver=template, driving_from_crop=None)
    assert near(keypoints(animation), keypoints(moved()))
    assert all(step.driving is None for step in animation.steps())
    still = replace(animation, driver=replace(
        template, motion=motion.frames(0, 1), eye_ratios=openings.eyes[:1], lip_ratios=openings.lips[:1]
    ))  # fmt: skip
    assert still.num_frames == COUNT
    assert near(keypoints(still), keypoints(moved(small_driver(1))))


def test_a_camera_films_first_and_then_moves_a_video(moved, keypoints, camera, lively) -> None:
    footage, capture = camera((frame for frame in small_driver(30)), fps=30.0, seconds=0.2)
    animation = replace(moved(), driver=footage)
    steps = list(animation.steps())
    assert len(steps) == 6
    assert all(step.driving is None for step in steps)  # it plays once
    assert capture.num_released == 1
    endless, _ = camera((frame for frame in small_driver(30)), fps=30.0)
    with pytest.raises(ValueError, match="a camera that moves a video films first; say how long"):
        replace(moved(), driver=endless).steps()


def test_what_a_video_cannot_do_is_told_before_it_is_read(moved, monkeypatch) -> None:
    monkeypatch.setattr(SourceVideo, "frames", lambda _: pytest.fail("it was read"))
    for options, message in (
        ({"rules": "animal"}, "rules=animal moves photos only; use rules=human for a source video"),
        ({"eyes": "none.csv", "source_eyes": 0.3}, "eyes: none.csv is neither a number nor a file"),
        (
            {"eyes": "driver", "source_eyes": 0.3},
            "the driving frames: eyes=driver, eyes=follow and lips=driver need to know",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            moved(**options).steps()


def test_openings_that_nobody_knows_are_told(moved) -> None:
    with pytest.raises(ValueError, match=r"cat\.mp4: .* give source_eyes=0.35 as they look"):
        list(moved(eyes=0.5))


def test_a_video_that_is_left_half_way_leaves_nothing_behind(moved) -> None:
    from pathlib import Path

    before, files = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
    steps = moved(small_driver(9)).steps()
    next(steps)
    assert threading.active_count() > before
    steps.close()
    assert threading.active_count() == before
    assert len(list(Path("/proc/self/fd").iterdir())) == files


def test_a_single_frame_is_moved(moved, ball_video) -> None:
    animation = moved(path=ball_video("one.mp4", [(130, 100)], radius=22))
    assert animation.num_frames == 1 == len(list(animation))
