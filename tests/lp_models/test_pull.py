"""Pixels go exactly where the followed keypoints go, and nowhere else; the generator sees where they are."""

import pytest
import torch

from lp_models import LivePortrait, LivePortraitConfig, source_keypoints
from lp_models.pixels import moved_pixels
from lp_models.pull import FINER, REACH, KeypointPull, bumps, spread


def config(**change: object) -> LivePortraitConfig:
    values = {"copies_pixels": True, "followed_keypoints": [11, 13, 20]} | change
    return LivePortraitConfig.from_dict(LivePortraitConfig.named("tiny").as_dict() | values)


def keypoints(*places: tuple[float, float]) -> torch.Tensor:
    """All at the middle but 11, 13 and 20."""
    found = torch.zeros(1, 21, 3)
    for k, place in zip((11, 13, 20), places, strict=True):
        found[0, k, :2] = torch.tensor(place)
    return found


def test_a_spread_map_has_the_values_at_their_places_and_nothing_far_away() -> None:
    places, values = torch.tensor([[[-0.4, -0.4], [0.4, 0.2]]]), torch.tensor([[[0.1, -0.2], [-0.3, 0.0]]])
    found = spread(values, places, 128, 128)
    at = torch.nn.functional.grid_sample(found, places[:, :, None], align_corners=False)[..., 0].mT
    torch.testing.assert_close(at, values, atol=2e-3, rtol=0)
    assert found[:, :, -1, 0].abs().max() < 0.02
    half = spread(values[:, :1], torch.zeros(1, 1, 2), 400, 400)[0, 0, 200, 200 + round(REACH * 200)]
    assert half == pytest.approx(0.05, abs=2e-3)


def test_where_two_places_nearly_meet_the_nearer_one_decides() -> None:
    places = torch.tensor([[[0.0, 0.0], [0.0, 0.02]]])
    values = torch.tensor([[[0.0, -1.0], [0.0, 0.0]]])
    found = spread(values, places, 256, 256)[0, 1, :, 128]
    assert found[126] < -0.8
    assert found[132] > -0.2


def test_pixels_end_where_the_keypoints_go_whatever_the_coarse_flow_says() -> None:
    torch.manual_seed(0)
    pull = KeypointPull(config())
    source, driving = keypoints((-0.3, -0.2), (0.3, -0.2), (0.0, 0.5)), keypoints((-0.3, -0.1), (0.3, -0.2), (0.1, 0.4))
    result = pull(0.05 * torch.randn(1, 2, 8, 8), source, driving)
    assert result.shift.shape == (1, 2, 8 * FINER, 8 * FINER)
    goal = driving[:, [11, 13, 20], :2]
    at = torch.nn.functional.grid_sample(result.shift, goal[:, :, None], align_corners=False)[..., 0].mT
    torch.testing.assert_close(at, source[:, [11, 13, 20], :2] - goal, atol=0.02, rtol=0)


def test_an_eye_shuts_that_is_one_cell_high() -> None:
    picture = torch.ones(1, 3, 256, 256)
    picture[:, :, 120:135, 112:144] = 0  # open: black over 15 rows; the flow has a cell for every 8
    upper, lower = (0.0, 120 / 128 - 1), (0.0, 135 / 128 - 1)
    source, driving = keypoints(upper, lower, (0.0, 0.9)), keypoints((0.0, 134 / 128 - 1), lower, (0.0, 0.9))
    moved = moved_pixels(picture, KeypointPull(config())(torch.zeros(1, 2, 32, 32), source, driving).shift, 256)
    dark_before, dark_after = (1 - image[0, 0, :, 128] for image in (picture, moved))
    assert dark_after.sum() < 0.45 * dark_before.sum()


@pytest.mark.parametrize("gap_px", [-4, 0, 0.5, 2, 4])
def test_lids_that_meet_leave_no_more_than_a_seam(gap_px: float) -> None:
    """However near each other they come, the skin above is the upper lid's and the skin below the lower lid's."""
    picture = torch.ones(1, 3, 256, 256)
    picture[:, :, 120:136, 96:160] = 0
    source = keypoints((0.0, 120 / 128 - 1), (0.0, 136 / 128 - 1), (0.0, 0.9))
    driving = keypoints((0.0, (128 - gap_px / 2) / 128 - 1), (0.0, (128 + gap_px / 2) / 128 - 1), (0.0, 0.9))
    moved = moved_pixels(picture, KeypointPull(config())(torch.zeros(1, 2, 32, 32), source, driving).shift, 256)
    assert (1 - moved[0, 0, :, 128]).sum() <= 4 + max(0, gap_px)


def test_lips_whose_order_in_the_source_was_noise_open_as_others_do() -> None:
    pull = KeypointPull(config(followed_keypoints=[19, 20]))
    opened = torch.tensor([[[0.0, 0.1], [0.0, -0.1]]])  # lower lip first
    for gap in (0.01, -0.01):
        source = torch.tensor([[[0.0, gap], [0.0, -gap]]])
        torch.testing.assert_close(pull._kept_apart(source, opened), opened)


def test_lids_that_meet_in_a_head_that_turns_are_kept_apart_across_its_own_eyes() -> None:
    pull = KeypointPull(config(followed_keypoints=[11, 13, 15, 16]))
    source = torch.tensor([[[-0.3, -0.06], [-0.3, 0.06], [0.3, -0.06], [0.3, 0.06]]])
    shut = source * torch.tensor([1.0, 0.1])
    upright = pull._kept_apart(source, shut)
    torch.testing.assert_close(upright, source, atol=1e-4, rtol=0)
    quarter = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])  # a head on its side
    torch.testing.assert_close(pull._kept_apart(source, shut @ quarter), source @ quarter, atol=1e-4, rtol=0)


def test_bumps_are_where_the_places_are() -> None:
    found = bumps(torch.tensor([[[-0.5, 0.25]]]), 32, 32)[0, 0]
    row, column = divmod(int(found.argmax()), 32)
    assert abs((2 * row + 1) / 32 - 1 - 0.25) < 1 / 16
    assert abs((2 * column + 1) / 32 - 1 + 0.5) < 1 / 16


def test_a_new_layer_shows_the_generator_nothing_and_learns() -> None:
    torch.manual_seed(0)
    model = LivePortrait(config())
    image = torch.rand(2, 3, 64, 64)
    x_s = source_keypoints(model.motion(image))
    pull = model.warping.pull
    assert pull is not None
    assert not pull(torch.zeros(2, 2, 8, 8), x_s, x_s + 0.1).features.any()
    x_d = (x_s.detach() + 0.05).requires_grad_()
    model.drive(model.appearance(image), x_s, x_d, image).square().sum().backward()
    assert pull.show.weight.grad is not None
    assert bool(pull.show.weight.grad.any())
    assert x_d.grad is not None
    assert bool(x_d.grad[:, 11].any())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"followed_keypoints": [21]}, "numbers from 0 to 20"),
        ({"followed_keypoints": [1, 1]}, "names one twice"),
        ({"copies_pixels": False}, "needs copies_pixels=true"),
    ],
)
def test_bad_choices_are_refused(change: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        config(**change)
