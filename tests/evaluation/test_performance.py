import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction

import numpy as np
import pytest
import torch

from data_pipeline.webcam import WebcamFrames
from evaluation.driver import Camera, Footage, frame_on_show, open_driver
from evaluation.driving import PosedMotion
from evaluation.openings import Openings
from evaluation.performance import TEMPLATE_PART_FRAMES, Performance, in_real_time
from evaluation.source import whole_frame
from evaluation.templates import MotionTemplate

SQUARE = whole_frame(64, 64, 64)


@pytest.fixture
def performance(lively):
    """Maker of a performance of frames in memory or of a template."""

    def make(driver, reader=None, fps: Fraction | None = None, own_fps: Fraction = Fraction(10)) -> Performance:
        driver = open_driver(driver, own_fps) if isinstance(driver, np.ndarray) else driver
        square = SQUARE if isinstance(driver, Footage) else None
        return Performance(lively.engine, driver, square, reader, fps)

    return make


def joined(parts) -> PosedMotion:
    return PosedMotion(*(torch.cat(values) for values in zip(*(part.motion for part in parts), strict=True)))


def same(a: PosedMotion, b: PosedMotion) -> bool:
    return all(torch.allclose(one, other, atol=1e-6) for one, other in zip(a, b, strict=True))


def template_of(motion: PosedMotion, fps: Fraction = Fraction(10), openings: Openings | None = None) -> MotionTemplate:
    eyes, lips = openings or (None, None)
    return MotionTemplate(motion=motion, fps=fps, eye_ratios=eyes, lip_ratios=lips, source="d0.npz")


def test_parts_are_the_whole_in_pieces(performance, moves, lively) -> None:
    one = performance(moves(8))
    parts = list(one.parts())
    assert [len(part.motion.delta) for part in parts] == [3, 3, 2]
    assert all(part.openings is None for part in parts)
    assert np.array_equal(np.concatenate([np.stack(part.crops) for part in parts if part.crops]), moves(8))
    whole, openings = one.whole()
    assert openings is None
    assert same(joined(parts), whole)
    assert same(whole, lively.engine.read_motion(moves(8)))
    assert one.num_frames == 8


def test_a_template_performs_as_the_clip_it_was_read_from(performance, moves) -> None:
    whole, _ = performance(moves(40)).whole()
    again = performance(template_of(whole))
    parts = list(again.parts())
    assert [len(part.motion.delta) for part in parts] == [16, 16, 8]
    assert TEMPLATE_PART_FRAMES == 16
    assert all(part.crops is None and part.openings is None for part in parts)
    assert same(joined(parts), whole)
    assert same(again.whole()[0], whole)


@pytest.mark.parametrize("fps", [Fraction(30), Fraction(5), Fraction(24), Fraction(30000, 1001)])
def test_at_another_rate_clip_and_template_keep_their_timing(performance, moves, fps: Fraction) -> None:
    whole, _ = performance(moves(10)).whole()
    played = [performance(driver, fps=fps) for driver in (moves(10), template_of(whole))]
    clip, template = (one.whole()[0] for one in played)
    assert same(clip, template)
    for one in played:
        assert one.num_frames == len(clip.delta)
    assert 0 <= len(clip.delta) / fps - 1 < 1 / fps  # ten frames at ten a second last a second
    for number in range(len(clip.delta)):
        shown = frame_on_show(number, Fraction(10), fps)
        assert Fraction(shown, 10) <= number / fps < Fraction(shown + 1, 10)
        assert torch.allclose(clip.delta[number], whole.delta[shown], atol=1e-6)


def test_a_still_has_one_frame_at_every_rate(performance, moves) -> None:
    whole, _ = performance(moves(3)).whole()
    for driver in (moves(1), template_of(whole.frames(0, 1))):
        one = performance(driver, fps=Fraction(30))
        assert one.is_still
        assert one.num_frames == 1
        assert len(one.whole()[0].delta) == 1
    assert not performance(moves(2)).is_still


def test_a_rate_at_which_nothing_would_be_left_shows_a_frame(performance, moves) -> None:
    whole, _ = performance(moves(2)).whole()
    for driver in (moves(2), template_of(whole)):
        one = performance(driver, fps=Fraction(1))
        assert one.num_frames == 1
        assert len(one.whole()[0].delta) == 1


def test_known_motion_is_not_read_again(performance, moves, monkeypatch) -> None:
    one = performance(moves(8))
    whole, _ = one.whole()
    monkeypatch.setattr(one.engine, "read_motion", lambda _: pytest.fail("read again"))
    known = PosedMotion(*(value + 1 for value in whole))
    parts = list(one.parts(known))
    assert same(joined(parts), known)
    assert [len(part.crops or []) for part in parts] == [3, 3, 2]
    monkeypatch.setattr(Footage, "frames", lambda *_: pytest.fail("decoded again"))
    parts = list(one.parts(known, with_crops=False))
    assert same(joined(parts), known)
    assert all(part.crops is None for part in parts)


def test_openings_are_read_with_the_motion_and_only_while_somebody_wants_them(performance, moves, fake_reader) -> None:
    answers = [(0.3, 0.1), None, (0.2, 0.0), (0.25, 0.05)]
    reader = fake_reader(answers * 2)
    one = performance(moves(4), reader)
    assert one.knows_openings
    _, openings = one.whole()
    assert openings is not None
    assert openings.eyes[:, 0].isnan().tolist() == [False, True, False, False]
    assert openings.lips[3, 0] == pytest.approx(0.05)
    assert reader.num_read == 4
    one.drop_reader()
    assert not one.knows_openings
    assert one.whole()[1] is None
    assert all(part.openings is None for part in one.parts())
    assert reader.num_read == 4


def test_a_template_brings_its_openings(performance, moves) -> None:
    whole, _ = performance(moves(3)).whole()
    openings = Openings(torch.rand(3, 2), torch.rand(3, 1))
    one = performance(template_of(whole, openings=openings), fps=Fraction(20))
    assert one.knows_openings
    _, read = one.whole()
    assert read is not None
    assert torch.equal(read.eyes, openings.eyes.repeat_interleave(2, 0))
    assert torch.equal(read.lips, openings.lips.repeat_interleave(2, 0))
    assert not performance(template_of(whole)).knows_openings


def test_no_more_than_four_batches_of_an_endless_driver_are_decoded_ahead(lively, moves, camera) -> None:
    frames = moves(4)
    footage, capture = camera(frames[i % 4] for i in range(10**9))
    one = Performance(lively.engine, footage, SQUARE)
    assert one.num_frames == 0
    with closing(one.parts(as_it_comes=True)) as parts:
        for number in range(1, 8):
            next(parts)
            assert capture.num_read <= 3 * number + 4 * 3
    assert capture.num_released == 1


def test_a_film_does_not_wait_for_slow_networks(lively, moves, camera) -> None:
    """All frames are taken at their times, however long the networks need for the first ones."""
    footage, capture = camera(iter(moves(50)), fps=10.0)
    with closing(Performance(lively.engine, footage, SQUARE).parts()) as parts:
        next(parts)
        until = time.monotonic() + 10
        while capture.num_read < 50 and time.monotonic() < until:
            time.sleep(0.001)
        assert capture.num_read == 50
        assert sum(len(part.motion.delta) for part in parts) == 47


def test_what_is_made_of_a_live_driver_is_shown_until_the_next_is_filmed() -> None:
    times_s = deque(Fraction(ms, 1000) for ms in (0, 40, 300, 310, 700))

    def made() -> Iterator[str]:
        yield from "abcde"

    shown = list(in_real_time(made(), times_s, Fraction(10)))
    assert "".join(shown) == "bbbddd" + "d" + "e"
    assert list(in_real_time((_ for _ in ()), deque(), Fraction(10))) == []


def test_a_slow_machine_shows_fewer_pictures_of_a_camera_and_keeps_the_time(lively, moves, fake_capture) -> None:
    """Networks that need four frames' time for a frame make a quarter of the pictures, not ever fewer."""
    frames = moves(64)
    now = 0.0
    taken: list[float] = []

    def filmed() -> Iterator[np.ndarray]:
        nonlocal now
        for frame in frames:
            now += 0.1
            taken.append(now)
            yield frame

    live = WebcamFrames(0, 5, open_capture=lambda _: fake_capture(filmed(), 10.0), clock=lambda: now)
    footage = Footage(
        name="camera 0", is_still=False, fps=live.fps, num_frames=0, height_px=64, width_px=64, camera=Camera(live)
    )
    one = Performance(lively.engine, footage, SQUARE)

    def slow() -> Iterator[int]:
        nonlocal now
        number = 0
        with closing(one.parts(as_it_comes=True)) as parts:
            for part in parts:
                for _ in part.motion.delta:
                    now += 0.4
                    yield number
                    number += 1

    shown = list(in_real_time(slow(), one.times_s, Fraction(10)))
    assert len(shown) / 10 == pytest.approx(5, abs=1.5)
    assert len(set(shown)) >= 9  # how long each is shown depends on which thread runs when


def test_a_performance_that_is_left_half_way_leaves_nothing_behind(performance, moves) -> None:
    before = threading.active_count()
    parts = performance(moves(30)).parts()
    next(parts)
    parts.close()
    assert threading.active_count() == before


def test_a_driver_without_a_frame_is_told(performance, monkeypatch, moves) -> None:
    one = performance(moves(3))
    monkeypatch.setattr(Footage, "frames", lambda *_: iter([]))
    with pytest.raises(ValueError, match="the driving frames: no frame could be read; give another driver"):
        one.whole()
    assert one.driver_name == "the driving frames"
