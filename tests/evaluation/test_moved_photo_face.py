from functools import partial

import numpy as np
import pytest
import torch

from evaluation.editor import edited_keypoints
from evaluation.retarget import closed_lips_delta, eyes_delta, lips_delta
from evaluation.sliders import PortraitEdit
from tests.evaluation.small_photo import Read, moved_photo, near
from tests.evaluation.stand_ins import small_driver


@pytest.fixture
def moved(lively):
    return partial(moved_photo, lively)


@pytest.fixture
def read(lively) -> Read:
    return Read(lively)


@pytest.mark.parametrize("keep_motion", [True, False])
def test_eyes_and_lips_are_opened_on_top_of_the_motion_or_instead_of_it(
    moved, keypoints, read, lively, keep_motion
) -> None:
    """Instead of it, as upstream: the base is the source's own face, and only the openings move."""
    motion = keypoints(moved())
    base = motion if keep_motion else read.x_s.expand_as(motion)
    x_d = keypoints(
        moved(eyes=0.5, lips=0.3, source_eyes=[0.2, 0.25], source_lips=0.1, keep_motion=keep_motion, stitching=True)
    )
    corrections, x_s = lively.engine.corrections, read.x_s.expand_as(motion)
    eyes = eyes_delta(corrections, x_s, torch.tensor([[0.2, 0.25]] * 8), torch.full((8, 1), 0.5))
    lips = lips_delta(corrections, x_s, torch.full((8, 1), 0.1), torch.full((8, 1), 0.3))
    assert eyes.abs().max() > 1e-3
    assert near(x_d, corrections.stitch(x_s, base + eyes + lips), 1e-4)


def test_a_curve_opens_the_eyes_over_time(moved, keypoints, read, lively, tmp_path) -> None:
    (tmp_path / "blink.csv").write_text("time_s,value\n0,0.4\n0.3,0\n0.7,0.4\n")
    change = keypoints(moved(eyes=str(tmp_path / "blink.csv"), source_eyes=0.3)) - keypoints(moved())
    wanted = torch.tensor([0.4, 0.4 * 2 / 3, 0.4 / 3, 0, 0.1, 0.2, 0.3, 0.4])[:, None]
    delta = eyes_delta(lively.engine.corrections, read.x_s.expand(8, 21, 3), torch.full((8, 2), 0.3), wanted)
    assert near(change, delta, 1e-4)


def test_eyes_and_lips_follow_the_driver_also_where_its_face_is_not_found(
    moved, keypoints, read, lively, fake_reader
) -> None:
    """The first reading serves for the frames before it, the last one for those after it."""
    answers = [None, None, (0.2, 0.1), (0.3, 0.0), None, (0.1, 0.2), (0.4, 0.3), None]
    reader = fake_reader([(0.25, 0.05), *answers])  # the source is read first
    change = keypoints(moved(eyes="driver", lips="driver", reader=reader)) - keypoints(moved())
    assert reader.num_read == 9
    held = [2, 2, 2, 3, 3, 5, 6, 6]
    known = torch.tensor([answers[i] for i in held])
    corrections, x_s = lively.engine.corrections, read.x_s.expand(8, 21, 3)
    delta = eyes_delta(corrections, x_s, torch.tensor([[0.25, 0.35]] * 8), known[:, :1])
    delta = delta + lips_delta(corrections, x_s, torch.full((8, 1), 0.05), known[:, 1:])
    assert near(change, delta, 1e-4)


def test_a_driver_or_source_without_a_face_is_told(moved, fake_reader) -> None:
    with pytest.raises(ValueError, match="the driving frames: no face was found in any frame; give the openings by"):
        list(moved(eyes="driver", source_eyes=0.3, reader=fake_reader([None] * 8)))
    with pytest.raises(ValueError, match="the photo: no face was found in any frame; give the openings by hand"):
        list(moved(eyes=0.3, reader=fake_reader([None] * 9)))
    with pytest.raises(ValueError, match=r"the photo: .* give source_eyes=0.35 as they look"):
        list(moved(eyes=0.3))


def test_a_reader_is_used_only_where_its_answers_count(moved, fake_reader) -> None:
    reader = fake_reader()
    list(moved(reader=reader))
    list(moved(eyes=0.3, source_eyes=0.2, reader=reader))
    assert reader.num_read == 0
    list(moved(reference="neutral", reader=reader))
    assert reader.num_read == 8


@pytest.mark.parametrize(("lips", "is_open"), [(0.2, True), (0.02, False)])
def test_open_lips_are_closed_first(moved, keypoints, read, lively, lips, is_open) -> None:
    still = np.repeat(small_driver(1), 3, axis=0)
    x_d = keypoints(moved(still, normalise_lips=True, source_lips=lips))
    delta = closed_lips_delta(lively.engine.corrections, read.x_s, torch.tensor([[lips]]))
    assert (delta.abs().max() > 1e-3) == is_open
    assert near(x_d, read.x_s + delta)
    assert near(keypoints(moved(still, normalise_lips=True, source_lips=lips, relative=False)),
                keypoints(moved(still, relative=False)))  # fmt: skip


def test_no_edit_changes_no_bit(moved) -> None:
    for options in ({}, {"relative": False}, {"rules": "animal"}):
        plain, edited = (np.stack(list(moved(edit=edit, **options)))
                         for edit in (PortraitEdit(), PortraitEdit(smile=0.0, move_z=1.0)))  # fmt: skip
        assert np.array_equal(plain, edited)


@pytest.mark.parametrize("rules", ["human", "animal", "animal-stitched"])
@pytest.mark.parametrize("multiplier", [1.0, 2.0])
def test_with_the_driver_at_rest_the_edited_face_is_shown(moved, keypoints, read, lively, rules, multiplier) -> None:
    """Amplified is the driver's motion, not the edit."""
    edit = PortraitEdit(smile=1.0, yaw_deg=10.0, move_z=1.1, blink=0.5)
    still = np.repeat(small_driver(1), 3, axis=0)
    face = edited_keypoints(
        read.source.canonical, read.source.motion, edit, lively.engine.corrections, keep_depth_shift=False,
        stitching=False,
    )  # fmt: skip
    assert near(keypoints(moved(still, edit=edit, rules=rules, multiplier=multiplier)), face)
    assert not near(face, read.x_s, 1e-2)


def test_an_edit_goes_with_the_motion(moved, keypoints, read) -> None:
    edit = PortraitEdit(smile=1.0)
    for options in (
        {"driving_option": "pose-friendly"},
        {"relative": False},
        {"relative": False, "region": "pose"},
    ):
        change = keypoints(moved(edit=edit, **options)) - keypoints(moved(**options))
        assert (change.abs().amax(dim=(0, 2)) > 1e-4).nonzero()[:, 0].tolist() == [3, 7, 13, 14, 16, 17, 20]
    single, double = (
        keypoints(moved(edit=edit, relative=False, region="eyes", multiplier=multiplier))
        - keypoints(moved(relative=False, region="eyes", multiplier=multiplier))
        for multiplier in (1.0, 2.0)
    )
    others = [14, 17, 20]
    assert near(single[:, others], double[:, others])  # an edit is not amplified
    assert single[:, others].abs().max() > 1e-2
