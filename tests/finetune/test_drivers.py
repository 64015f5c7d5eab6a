import pytest
import torch

from data_pipeline.records import SPECIES
from finetune.drivers import Drawn, Driving, draw_drivers, driven_keypoints, rows
from lp_models import source_keypoints
from lp_models.geometry import Motion

HUMAN, CAT = SPECIES.index("human"), SPECIES.index("cat")


def motion(num: int = 4, seed: int = 0) -> Motion:
    draw = torch.Generator().manual_seed(seed)
    angles = [20 * torch.randn(num, generator=draw) for _ in range(3)]
    return Motion(
        *angles, shift=0.1 * torch.randn(num, 3, generator=draw), delta=0.01 * torch.randn(num, 21, 3, generator=draw),
        scale=1 + 0.2 * torch.rand(num, 1, generator=draw), canonical=0.3 * torch.randn(num, 21, 3, generator=draw),
    )  # fmt: skip


def plain(num: int = 4, absolute: bool = False, multiplier: float = 1.0, retargeted: bool = False) -> Drawn:
    return Drawn(
        torch.arange(num), torch.full((num,), absolute), torch.full((num,), multiplier), torch.full((num,), retargeted)
    )


def test_nobody_drives_itself_and_people_drive_as_often_as_asked():
    species = torch.tensor([CAT, CAT, HUMAN, HUMAN, CAT, CAT])
    people = 0
    for step in range(200):
        drawn = draw_drivers(species, Driving(human_frac=0.75), torch.Generator().manual_seed(step))
        assert (drawn.partner != torch.arange(6)).all()
        people += int((species[drawn.partner][[0, 1, 4, 5]] == HUMAN).sum())
    # 0.75, and 2 of 5 of the rest
    assert people / 800 == pytest.approx(0.75 + 0.25 * 0.4, abs=0.05)


def test_the_same_step_draws_the_same_drivers():
    species = torch.tensor([CAT, HUMAN, CAT])
    first, second = (draw_drivers(species, Driving(), torch.Generator().manual_seed(5)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_batch_without_people_or_with_one_row_can_be_driven():
    alone = draw_drivers(torch.tensor([CAT]), Driving(human_frac=1.0), torch.Generator().manual_seed(0))
    assert alone.partner.tolist() == [0]
    cats = draw_drivers(torch.tensor([CAT, CAT]), Driving(human_frac=1.0), torch.Generator().manual_seed(0))
    assert cats.partner.tolist() == [1, 0]


def test_a_driver_that_does_not_move_leaves_relative_rows_as_they_are():
    source, driver = motion(seed=1), motion(seed=2)
    for is_human in (True, False):
        driven = driven_keypoints(source, driver, driver, torch.full((4,), is_human), plain(multiplier=1.5))
        torch.testing.assert_close(driven, source_keypoints(source), atol=1e-5, rtol=1e-5)


def test_one_that_moves_itself_ends_in_its_own_later_frame():
    source = motion(seed=1)
    later = motion(seed=2)._replace(canonical=source.canonical)
    driven = driven_keypoints(source, source, later, torch.ones(4, dtype=torch.bool), plain())
    torch.testing.assert_close(driven, source_keypoints(later), atol=1e-5, rtol=1e-5)
    animal = driven_keypoints(source, source, later, torch.zeros(4, dtype=torch.bool), plain())
    same_size = later._replace(scale=source.scale)
    torch.testing.assert_close(animal, source_keypoints(same_size), atol=1e-5, rtol=1e-5)


def test_absolute_rows_take_the_drivers_pose_and_keep_their_size():
    source, now = motion(seed=1), motion(seed=2)
    driven = driven_keypoints(source, motion(seed=3), now, torch.ones(4, dtype=torch.bool), plain(absolute=True))
    wanted = source_keypoints(now._replace(scale=source.scale, canonical=source.canonical))
    torch.testing.assert_close(driven, wanted)


def test_the_multiplier_amplifies_and_retargeted_rows_are_not_driven():
    source, first, now = motion(seed=1), motion(seed=2), motion(seed=3)
    human = torch.ones(4, dtype=torch.bool)
    x_s = source_keypoints(source)
    once = driven_keypoints(source, first, now, human, plain()) - x_s
    twice = driven_keypoints(source, first, now, human, plain(multiplier=2.0)) - x_s
    torch.testing.assert_close(twice, 2 * once, atol=1e-5, rtol=1e-5)
    assert torch.equal(driven_keypoints(source, first, now, human, plain(retargeted=True)), x_s)


def test_rows_choose_motions():
    chosen = rows(motion(), torch.tensor([2, 0]))
    assert torch.equal(chosen.yaw_deg, motion().yaw_deg[[2, 0]])
    assert chosen.delta.shape == (2, 21, 3)


def test_bad_shares_and_ranges_are_refused():
    with pytest.raises(ValueError, match="human_frac"):
        Driving(human_frac=1.2)
    with pytest.raises(ValueError, match="multiplier"):
        Driving(multiplier=[2.0, 1.0])
