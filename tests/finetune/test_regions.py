import pytest
import torch

from finetune.regions import Regions, crop, face_box, lip_box, shaped, similarity_crop
from tests.finetune.rows import annotation, picture


def ramp(side):
    """x in red, y in green: a crop's colours say where it was cut."""
    at = (torch.arange(side) + 0.5) / side
    red, green = at.expand(side, side), at[:, None].expand(side, side)
    return torch.stack((red, green, torch.zeros(side, side)))[None]


def test_a_crop_shows_its_box_and_nothing_else():
    cut = crop(ramp(64), torch.tensor([[0.25, 0.5, 0.75, 1.0]]), (16, 32))
    assert cut.shape == (1, 3, 16, 32)
    at = (torch.arange(32) + 0.5) / 32
    torch.testing.assert_close(cut[0, 0, 3], 0.25 + 0.5 * at, atol=2e-3, rtol=0)
    down = (torch.arange(16) + 0.5) / 16
    torch.testing.assert_close(cut[0, 1, :-1, 5], (0.5 + 0.5 * down)[:-1], atol=9e-3, rtol=0)


def test_the_whole_picture_as_a_box_is_the_picture():
    image = picture(2, 32, 0.3)
    torch.testing.assert_close(crop(image, torch.tensor([[0.0, 0, 1, 1]]).expand(2, 4), (32, 32)), image)


def test_gradient_of_a_crop_stays_within_the_box():
    image = torch.rand(1, 3, 32, 32, requires_grad=True)
    crop(image, torch.tensor([[0.25, 0.25, 0.5, 0.5]]), (8, 8)).sum().backward()
    touched = image.grad.abs().sum(dim=(0, 1)) > 0
    rows, columns = touched.nonzero().unbind(dim=1)
    assert int(rows.min()) >= 7
    assert int(rows.max()) <= 16
    assert int(columns.min()) >= 7
    assert int(columns.max()) <= 16


def test_boxes_by_landmarks_hold_them_and_boxes_by_points_hold_the_points():
    truth = annotation(2)
    for exact in (torch.ones(2), torch.zeros(2)):
        face, lips = face_box(truth, exact), lip_box(truth, exact)
        assert (truth.points >= face[:, None, :2]).all()
        assert (truth.points <= face[:, None, 2:]).all()
        assert (truth.points[:, 3:] >= lips[:, None, :2]).all()
        assert (truth.points[:, 3:] <= lips[:, None, 2:]).all()
        # Lips lie inside the face and leave the eyes out.
        assert (face[:, :2] <= lips[:, :2]).all()
        assert (truth.points[:, :2, 1] < lips[:, None, 1]).all()
    jaw = truth.landmarks[:, :17]
    face = face_box(truth, torch.ones(2))
    assert (jaw > face[:, None, :2]).all()
    assert (jaw < face[:, None, 2:]).all()


def test_rows_choose_their_own_kind_of_box():
    truth = annotation(2)
    mixed = face_box(truth, torch.tensor([1.0, 0.0]))
    assert torch.equal(mixed[0], face_box(truth, torch.ones(2))[0])
    assert torch.equal(mixed[1], face_box(truth, torch.zeros(2))[1])
    assert not torch.allclose(mixed[0], mixed[1])


def test_boxes_follow_the_face():
    before, after = (face_box(annotation(1, shift), torch.ones(1)) for shift in (0.0, 0.1))
    torch.testing.assert_close(after - before, torch.tensor([[0.1, 0, 0.1, 0]]))


def test_shaped_boxes_have_the_aspect_of_the_crop_and_are_never_empty():
    box = shaped(torch.tensor([[0.4, 0.6, 0.6, 0.62], [0.5, 0.5, 0.5, 0.5]]), (24, 48))
    wide, tall = box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]
    torch.testing.assert_close(wide, 2 * tall)
    assert (tall > 0.02).all()
    torch.testing.assert_close((box[:, :2] + box[:, 2:]) / 2, torch.tensor([[0.5, 0.61], [0.5, 0.5]]))


def test_sizes_follow_the_output_unless_given():
    assert Regions().face_size(512) == (256, 256)
    assert Regions().lip_size(512) == (96, 192)
    assert Regions(face_px=64, lip_px=(32, 64)).lip_size(512) == (32, 64)
    with pytest.raises(ValueError, match="16 px"):
        Regions(face_px=8)


def test_aligned_faces_have_their_points_on_the_template():
    template = torch.tensor([[0.34, 0.46], [0.65, 0.46], [0.5, 0.64], [0.37, 0.82], [0.63, 0.82]])
    angle = torch.tensor(0.4)
    turn = 0.6 * torch.tensor([[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]])
    points = (template - 0.5) @ turn.T + torch.tensor([0.45, 0.55])
    cut = similarity_crop(ramp(128), points[None], template, 64)
    # The colours at the template's places are the coordinates of the points.
    for there, here in zip(template, points, strict=True):
        x, y = (int(v) for v in (there * 64))
        offset = turn @ ((torch.tensor([x + 0.5, y + 0.5]) / 64) - there)
        torch.testing.assert_close(cut[0, :2, y, x], here + offset, atol=5e-3, rtol=0)
