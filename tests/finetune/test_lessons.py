import numpy as np
import pytest
import torch

from finetune.landmarks import MARGIN, PATCH_PX, OpeningRuler
from finetune.lessons import CUT_PX, Lessons, accuracies, accuracy, jittered, joined, lesson_loss, lessons

POINTS = torch.tensor([[0.3, 0.4], [0.7, 0.4], [0.5, 0.55], [0.4, 0.7], [0.6, 0.7]])


def drawn_faces(num: int, seed: int = 0) -> Lessons:
    """Dark ellipses, as high as they are open, where eyes and mouth are."""
    draw = torch.Generator().manual_seed(seed)
    opening = torch.rand(num, 3, generator=draw) * 0.8
    image = torch.full((num, 3, 64, 64), 0.8)
    at = (torch.arange(64) + 0.5) / 64
    marks = torch.zeros(num, 70, 2)
    parts = (
        (0.3, 0.4, (36, 39), (37, 38), (40, 41)),
        (0.7, 0.4, (42, 45), (43, 44), (46, 47)),
        (0.5, 0.74, (48, 54), (62,), (66,)),
    )
    for column, (x, y, corners, upper, lower) in enumerate(parts):
        high = opening[:, column] * 0.1
        inside = ((at - x) / 0.1) ** 2 + ((at[:, None] - y) / high[:, None, None].clamp(min=1e-3)) ** 2 < 1
        image = torch.where(inside[:, None], torch.tensor(0.1), image)
        marks[:, corners[0]], marks[:, corners[1]] = torch.tensor([x - 0.1, y]), torch.tensor([x + 0.1, y])
        for index, sign in ((upper, -1), (lower, 1)):
            marks[:, list(index), 0] = x
            marks[:, list(index), 1] = y + sign * high[:, None]
    points = POINTS.expand(num, -1, -1)
    return lessons(image, points, marks, torch.ones(num, 70), opening, torch.arange(num) % 4)


@pytest.mark.slow
def test_lessons_teach_a_ruler_to_read():
    torch.manual_seed(0)
    given, draw = drawn_faces(48), torch.Generator().manual_seed(0)
    ruler = OpeningRuler(width=8)
    before = accuracies(ruler, drawn_faces(24, seed=1))["all"]
    optimiser = torch.optim.Adam(ruler.parameters(), lr=5e-3)
    for _ in range(60):
        loss = lesson_loss(ruler, given, draw)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    after = accuracies(ruler, drawn_faces(24, seed=1))
    for part in ("eyes", "lips"):
        assert after["all"][part].mean_error < 0.6 * before[part].mean_error
        assert after["all"][part].correlation > 0.8
    assert after["cat"]["eyes"].num == 12


def test_marks_follow_the_jitter():
    """A bright dot on each mark must lie where the jittered marks say."""
    num = 6
    marks = torch.rand(num, 3, 4, 2) - 0.5
    cut = torch.zeros(num, 3, 3, CUT_PX, CUT_PX)
    for n in range(num):
        for k in range(3):
            x, y = ((marks[n, k, 0] / MARGIN + 1) / 2 * CUT_PX - 0.5).round().int().tolist()
            cut[n, k, :, y - 1 : y + 2, x - 1 : x + 2] = 1
    given = Lessons(cut, marks, torch.zeros(num, 3), torch.ones(num, 3), torch.zeros(num, dtype=torch.long))
    picture, moved = jittered(given, torch.Generator().manual_seed(3))
    for n in range(num):
        for k in range(3):
            light = picture[n, k].mean(dim=0)
            y, x = divmod(int(light.argmax()), PATCH_PX)
            seen = (torch.tensor([x, y]) + 0.5) / PATCH_PX * 2 - 1
            # Of a mirrored mouth the two corners (marks 0 and 1) have changed places.
            nearest = min(float((seen - moved[n, k, m]).norm()) for m in (0, 1))
            assert nearest < 0.25


def test_rows_without_truth_teach_nothing():
    given = drawn_faces(4)
    nothing = given._replace(weight=torch.zeros(4, 3))
    assert lesson_loss(OpeningRuler(width=8), nothing, torch.Generator().manual_seed(0)) == 0
    assert len(joined([given, nothing]).cut) == 8


def test_hidden_marks_are_not_counted():
    image, points = torch.rand(1, 3, 64, 64), POINTS[None]
    visible = torch.ones(1, 70)
    visible[:, [40, 41]] = 0
    found = lessons(image, points, torch.rand(1, 70, 2), visible, torch.zeros(1, 3), torch.zeros(1, dtype=torch.long))
    assert found.weight.tolist() == [[0, 1, 1]]


def test_accuracy_of_a_constant_has_no_correlation():
    found = accuracy(np.array([0.5, 0.5]), np.array([0.2, 0.4]))
    assert np.isnan(found.correlation)
    assert found.mean_error == pytest.approx(0.2)
