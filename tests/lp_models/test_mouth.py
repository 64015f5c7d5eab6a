"""The inside of a mouth is seen where lips part that were shut, between them and nowhere else."""

import pytest
import torch

from lp_models import LivePortrait, LivePortraitConfig
from lp_models.mouth import DARK, LOWER, UPPER, MouthInside, lens
from lp_models.roles import MOUTH_CORNERS

SIDE = 128


def face(gap: float, turned: bool = False) -> torch.Tensor:
    """A mouth 0.4 wide in the middle of the frame."""
    points = torch.zeros(1, 21, 3)
    points[0, MOUTH_CORNERS[0], 0], points[0, MOUTH_CORNERS[1], 0] = -0.2, 0.2
    points[0, UPPER, 1], points[0, LOWER, 1] = -gap / 2, gap / 2
    if turned:
        points[..., :2] = points[..., :2].flip(-1) * torch.tensor([-1.0, 1.0])
    return points


def share(source: torch.Tensor, driving: torch.Tensor) -> torch.Tensor:
    return MouthInside()(source, driving, SIDE, SIDE)[0, 3]


def test_the_lens_lies_between_the_lips() -> None:
    inside = lens(face(0.2), SIDE, SIDE)[0, 0]
    assert inside[64, 64] > 0.9
    rows, columns = (inside > 0.5).any(dim=1), (inside > 0.5).any(dim=0)
    assert rows.sum() == pytest.approx(0.2 * 64, abs=2)  # as high as the gap
    assert 0.3 * 64 < columns.sum() < 0.4 * 64  # and nearly as wide as the mouth: its ends are thin
    assert inside[:50].max() < 0.05
    assert inside[64, :40].max() < 0.05


def test_it_follows_a_head_on_its_side() -> None:
    upright, turned = lens(face(0.2), SIDE, SIDE), lens(face(0.2, turned=True), SIDE, SIDE)
    torch.testing.assert_close(turned, upright.mT, atol=1e-4, rtol=0)


def test_only_parting_lips_show_it() -> None:
    assert share(face(0.0), face(0.2)).max() > 0.9
    assert share(face(0.0), face(0.0)).max() == 0
    assert share(face(0.2), face(0.05)).max() == 0  # a mouth that shuts
    assert share(face(0.15), face(0.4)).max() == 0  # the source shows its own inside
    assert share(face(0.0), face(-0.1)).max() == 0  # lips that cross
    assert share(face(-0.03), face(0.0)).max() == 0  # lips that crossed, and now touch
    half = share(face(0.0), face(0.015)).max()
    assert 0 < half < 0.5


def test_colours_are_times_their_share_and_learn() -> None:
    mouth = MouthInside()
    over = mouth(face(0.0), face(0.2), SIDE, SIDE)[0]
    torch.testing.assert_close(over[:3, 64, 64], torch.tensor(DARK) * over[3, 64, 64])
    over.sum().backward()
    assert mouth.colour.grad is not None


def test_a_model_that_opens_mouths_covers_its_moved_pixels() -> None:
    torch.manual_seed(0)
    values = {"copies_pixels": True, "followed_keypoints": [14, 17, 19, 20], "opens_mouth": True}
    model = LivePortrait(LivePortraitConfig.from_dict(LivePortraitConfig.named("tiny").as_dict() | values)).eval()
    picture = torch.ones(1, 3, 64, 64)
    with torch.no_grad():
        warp = model.warping(model.appearance(picture), kp_source=face(0.0), kp_driving=face(0.4))
        moved = model.moved(warp, picture)
    assert moved is not None
    middle = moved.shape[-1] // 2
    assert (moved[0, :, middle, middle] < 0.4).all()
    assert (moved[0, :, 2, 2] > 0.99).all()


def test_it_needs_the_lips() -> None:
    values = {"copies_pixels": True, "followed_keypoints": [11], "opens_mouth": True}
    with pytest.raises(ValueError, match="needs lips and mouth corners"):
        LivePortraitConfig.from_dict(LivePortraitConfig.named("tiny").as_dict() | values)
