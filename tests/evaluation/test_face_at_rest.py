from fractions import Fraction

import numpy as np
import pytest
import torch

from evaluation.driving import PosedMotion
from evaluation.face_at_rest import (
    FIRST_FRAMES,
    Wishes,
    edited,
    limit_reading,
    needed_openings,
    needs_driver_openings,
    rest_change,
    source_openings,
)  # fmt: skip
from evaluation.openings import Openings
from evaluation.options import Options
from evaluation.performance import Performance
from evaluation.retarget import closed_lips_delta, eyes_delta, lips_delta, open_eyes_delta
from evaluation.sliders import PortraitEdit

CROPS = [np.zeros((8, 8, 3), np.uint8)] * 2
FPS = Fraction(10)


def typed(**options) -> Openings | None:
    return source_openings(Options(**options), CROPS, None, "cat.jpg", is_video=False)


def test_only_what_is_asked_for_must_be_known() -> None:
    assert typed() is None
    assert typed(keep_eyes_open=True) is None  # of a photo nothing can be held
    assert typed(normalise_lips=True, relative=False) is None
    eyes = typed(eyes=0.4, source_eyes=0.2)
    assert eyes is not None
    assert torch.allclose(eyes.eyes, torch.full((2, 2), 0.2))
    lips = typed(normalise_lips=True, source_lips=0.1)
    assert lips is not None
    assert torch.allclose(lips.lips, torch.full((2, 1), 0.1))
    assert needed_openings(Options(keep_eyes_open=True), is_video=True) == (True, False)
    assert [needs_driver_openings(Options(eyes=value)) for value in (None, 0.3, "driver", "follow")] == [
        False, False, True, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({"eyes": 0.4}, "source_eyes=0.35 as"),
        ({"lips": 0.1}, "source_lips=0.0 as"),
        ({"normalise_lips": True}, "source_lips=0.0 as"),
        ({"eyes": 0.4, "lips": "driver"}, "source_eyes=0.35 source_lips=0.0 as"),
        ({"eyes": 0.4, "lips": 0.2, "source_eyes": 0.3}, "source_lips=0.0 as"),
    ],
)
def test_what_is_not_known_is_named(options, missing) -> None:
    with pytest.raises(ValueError, match=f"cat.jpg: .* give {missing} they look, or openings=built_in"):
        typed(**options)


def test_a_reader_fills_what_was_not_typed(fake_reader) -> None:
    reader = fake_reader([(0.3, 0.1), None])
    options = Options(eyes=0.4, lips=0.1, source_eyes=[0.2, 0.25])
    read = source_openings(options, CROPS, reader, "me.mp4", is_video=True)
    assert read is not None
    assert torch.allclose(read.eyes, torch.tensor([[0.2, 0.25]]).expand(2, 2))
    assert read.lips[0, 0] == pytest.approx(0.1)
    assert read.lips[1].isnan().all()  # no face in that frame


def test_openings_of_a_driver_are_read_only_where_they_are_needed(lively, fake_reader, moves) -> None:
    from evaluation.driver import open_driver
    from evaluation.source import whole_frame

    def has_reader(reader, **options) -> bool:
        one = Performance(lively.engine, open_driver(moves(2)), whole_frame(64, 64, 64), reader)
        limit_reading(one, Options(**options))
        return one.knows_openings

    assert not has_reader(fake_reader())
    assert not has_reader(fake_reader(), eyes=0.3, reference="closest")
    assert has_reader(fake_reader(), reference="neutral")
    assert has_reader(fake_reader(), lips="driver")
    with pytest.raises(ValueError, match=r"the driving frames: eyes=driver, .* give openings=built_in, or a motion"):
        has_reader(None, eyes="driver")
    still = Performance(lively.engine, open_driver(moves(1)), whole_frame(64, 64, 64), fake_reader())
    with pytest.raises(ValueError, match="needs a driver that moves"):
        limit_reading(still, Options(eyes="follow"))


def own(count: int = 1) -> Openings:
    return Openings(torch.tensor([[0.2, 0.3]]).expand(count, 2), torch.tensor([[0.1]]).expand(count, 1))


def test_wishes_of_both_kinds_add_up(corrections) -> None:
    x_s = torch.randn(1, 21, 3).expand(3, 21, 3)
    wishes = Wishes(Options(eyes=0.4, lips="driver"), FPS)
    assert wishes.has_any
    driver = Openings(torch.rand(3, 2), torch.rand(3, 1))
    eyes = eyes_delta(corrections, x_s, own(3).eyes, torch.full((3, 1), 0.4))
    lips = lips_delta(corrections, x_s, own(3).lips, driver.lips)
    assert torch.allclose(wishes.change(corrections, x_s, own(), 0, driver), eyes + lips, atol=1e-6)
    assert not Wishes(Options(), FPS).has_any


def test_of_the_drivers_eyes_the_first_one_counts(corrections) -> None:
    x_s = torch.randn(2, 21, 3)
    driver = Openings(torch.tensor([[0.1, 0.9], [0.4, 0.8]]), torch.zeros(2, 1))
    change = Wishes(Options(eyes="driver"), FPS).change(corrections, x_s, own(2), 0, driver)
    assert torch.allclose(change, eyes_delta(corrections, x_s, own(2).eyes, driver.eyes[:, :1]))


def test_eyes_that_follow_take_the_drivers_share_of_their_usual_opening(corrections) -> None:
    x_s = torch.randn(3, 21, 3)
    driver = Openings(torch.tensor([[0.2, 0.2], [0.1, 0.1], [0.9, 0.9]]), torch.zeros(3, 1))
    wishes = Wishes(Options(eyes="follow"), FPS)
    wishes.usual(Openings(torch.tensor([[0.0, 0.0], [0.1, 0.1], [0.2, 0.2], [0.2, 0.2]]), torch.zeros(4, 1)))  # 0.2
    change = wishes.change(corrections, x_s, own(3), 0, driver)
    wanted = torch.tensor([[0.25], [0.125], [0.2875]])  # own mean 0.25; never wider than 1.15 times
    assert torch.allclose(change, eyes_delta(corrections, x_s, own(3).eyes, wanted), atol=1e-6)
    live = Wishes(Options(eyes="follow"), FPS)
    first = live.change(corrections, x_s[:1], own(1), 0, Openings(*(v[1:2] for v in driver)))
    assert torch.allclose(first, eyes_delta(corrections, x_s[:1], own(1).eyes, torch.tensor([[0.25]])), atol=1e-6)
    wide = Openings(torch.tensor([[0.4, 0.4], [0.4, 0.4], [0.4, 0.4]]), torch.zeros(3, 1))
    live.change(corrections, x_s, own(3), 1, wide)  # a camera that began in a blink: now 0.4 is usual
    shut = live.change(corrections, x_s[:1], own(1), 4, Openings(*(v[1:2] for v in driver)))
    assert torch.allclose(shut, eyes_delta(corrections, x_s[:1], own(1).eyes, torch.tensor([[0.0625]])), atol=1e-6)
    unseen = Openings(torch.full((1, 2), torch.nan), torch.zeros(1, 1))
    assert not Wishes(Options(eyes="follow"), FPS).change(corrections, x_s[:1], own(1), 0, unseen).any()
    with pytest.raises(ValueError, match="give lips=driver"):
        Options(lips="follow")


def test_while_no_face_was_seen_the_driver_asks_for_nothing(corrections) -> None:
    x_s = torch.randn(2, 21, 3)
    driver = Openings(torch.tensor([[torch.nan, torch.nan], [0.4, 0.4]]), torch.tensor([[torch.nan], [0.1]]))
    change = Wishes(Options(eyes="driver", lips="driver"), FPS).change(corrections, x_s, own(2), 0, driver)
    assert change[0].abs().max() == 0
    assert change[1].abs().max() > 0


def test_a_curve_goes_on_for_as_long_as_there_are_frames(corrections, tmp_path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text("time_s,value\n0,0\n200,1\n")
    wishes = Wishes(Options(lips=str(path)), FPS)
    x_s = torch.randn(1, 21, 3).expand(4, 21, 3)
    for start in (0, 40, FIRST_FRAMES - 2, 1500, 1996, 5000):
        wanted = (torch.arange(start, start + 4).float() / 2000).clamp(max=1)[:, None]
        expected = lips_delta(corrections, x_s, own(4).lips, wanted)
        assert torch.allclose(wishes.change(corrections, x_s, own(), start, None), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"eyes": 5}, "eyes: 5 is out of range"),
        ({"lips": "none.csv"}, "lips: none.csv is neither a number nor a file"),
    ],
)
def test_a_wish_that_cannot_be_is_told_at_once(wanted, message) -> None:
    with pytest.raises(ValueError, match=message):
        Wishes(Options(**wanted), FPS)


def test_the_face_at_rest_is_corrected_as_upstream_does(corrections) -> None:
    x_s = torch.randn(3, 21, 3)
    openings = Openings(torch.rand(3, 2), torch.tensor([[0.2], [0.01], [0.1]]))
    lips, eyes = closed_lips_delta(corrections, x_s, openings.lips), open_eyes_delta(corrections, x_s, openings.eyes)

    def change(*, is_video: bool = True, known: Openings | None = openings, **options) -> torch.Tensor | None:
        return rest_change(Options(**options), corrections, x_s, known, is_video=is_video)

    for asked, expected in (
        (change(normalise_lips=True), lips),
        (change(keep_eyes_open=True), eyes),
        (change(keep_eyes_open=True, normalise_lips=True), lips + eyes),
    ):
        assert asked is not None
        assert torch.allclose(asked, expected)
    assert change() is None
    assert change(normalise_lips=True, relative=False) is None
    assert change(keep_eyes_open=True, is_video=False) is None
    assert change(normalise_lips=True, known=None) is None


def test_no_edit_is_the_very_motion_and_an_edit_moves_its_keypoints() -> None:
    motion = PosedMotion(torch.eye(3)[None], torch.randn(1, 21, 3), torch.ones(1, 1), torch.zeros(1, 3))
    assert edited(motion, PortraitEdit()) is motion
    smiling = edited(motion, PortraitEdit(smile=1.0))
    moved = (smiling.delta - motion.delta).abs().amax(dim=2)[0] > 0
    assert moved.nonzero()[:, 0].tolist() == [3, 7, 13, 14, 16, 17, 20]
    assert edited(motion, PortraitEdit(move_z=1.1)).scale[0, 0] == pytest.approx(1.1)
