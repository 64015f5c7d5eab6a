"""The way of lids and lips for a wanted opening, against an eye whose geometry is known."""

import pytest
import torch

from finetune.keypoint_openings import EYES, MOUTH, keypoint_terms
from finetune.stitching_objective import Asked
from tests.finetune.rows import HUMAN, batch


def faces(turned: bool = False):
    """Two rows; both eyes 0.2 wide in units of the frame, the mouth 0.4; the second row is a head on its side."""
    given = batch([HUMAN, HUMAN], truth=[True, True], cross=[False, False])
    marks = torch.zeros(2, 70, 2)
    marks[:, [39, 45], 0], marks[:, 54, 0] = 0.1, 0.2
    if turned:
        marks = marks.flip(-1)
    truth = given.source_truth._replace(landmarks=marks)
    return given._replace(source_truth=truth)


def asked(eyes: float, lips: float, rows: tuple[bool, bool] = (True, True)) -> Asked:
    now = torch.full((2, 2), 0.3), torch.full((2, 1), 0.1)
    sets = torch.tensor(rows)
    return Asked(*now, torch.full((2, 1), eyes), torch.full((2, 1), lips), sets, sets)


def moved(upper: int, lower: int, ways: tuple[float, float], axis: int) -> torch.Tensor:
    delta = torch.zeros(2, 21, 3)
    delta[:, upper, axis], delta[:, lower, axis] = ways
    return delta


def test_edges_that_go_the_whole_way_have_no_error():
    # Opening 0.3 -> 0.8 in an eye 0.2 wide: 0.1 further apart, three quarters of it by the upper lid.
    eyes = sum((moved(e.upper, e.lower, (-0.075, 0.025), 1) for e in EYES), torch.zeros(2, 21, 3))
    lips = moved(MOUTH[0].upper, MOUTH[0].lower, (-0.05, 0.15), 1)
    terms = keypoint_terms(faces(), asked(0.8, 0.6), eyes, lips)
    assert terms["eyes"].item() == pytest.approx(0, abs=1e-6)
    assert terms["lips"].item() == pytest.approx(0, abs=1e-6)
    nothing = keypoint_terms(faces(), asked(0.8, 0.6), torch.zeros_like(eyes), torch.zeros_like(lips))
    assert nothing["eyes"].item() == pytest.approx((0.375 + 0.125) / 2, rel=1e-4)  # shares of 0.5 widths


def test_the_way_follows_the_head():
    lips = moved(MOUTH[0].upper, MOUTH[0].lower, (0.05, -0.15), 0)  # corners one above the other
    terms = keypoint_terms(faces(turned=True), asked(0.3, 0.6), torch.zeros(2, 21, 3), lips)
    assert terms["lips"].item() == pytest.approx(0, abs=1e-6)


def test_rows_that_set_nothing_do_not_count():
    wrong = torch.ones(2, 21, 3)
    terms = keypoint_terms(faces(), asked(0.8, 0.6, (False, False)), wrong, wrong)
    assert all(value.item() == 0 for value in terms.values())
