from typing import NamedTuple

import pytest
import torch

from evaluation.driving import PosedMotion
from evaluation.reference import angle_deg, choose_reference
from lp_models.geometry import rotation_matrix

K = 21
LIPS, EYES = (14, 17, 19, 20), (11, 13, 15, 16)


class Take(NamedTuple):
    motion: PosedMotion
    lips: torch.Tensor
    eyes: torch.Tensor


def take(smile: torch.Tensor, blink: torch.Tensor, yaw_deg: torch.Tensor, noise: float = 2e-4, seed: int = 0) -> Take:
    """A performance from how much it smiles, blinks (0-1) and turns."""
    T = len(smile)
    generator = torch.Generator().manual_seed(seed)
    delta = 0.02 * torch.randn(1, K, 3, generator=generator).expand(T, -1, -1).clone()  # what the person looks like
    delta[:, LIPS] += 0.03 * smile[:, None, None]
    delta[:, EYES, 1] += 0.02 * blink[:, None]
    delta += noise * torch.randn(T, K, 3, generator=generator)
    zero = torch.zeros(T)
    motion = PosedMotion(rotation_matrix(zero + 2, yaw_deg, zero), delta, torch.full((T, 1), 1.3), torch.zeros(T, 3))
    eyes = 0.35 * (1 - blink)[:, None].expand(-1, 2).clone()
    return Take(motion, 0.3 * smile[:, None].clamp(min=0), eyes)


def performance(calm: slice, T: int = 150) -> Take:
    """Smiles, blinks and turns throughout, but for a calm stretch; the first frame is in a blink, smile and turn."""
    t = torch.arange(T) / 25
    smile = 0.5 + 0.5 * torch.cos(5 * t)
    blink = (torch.cos(3 * t) > 0.9).float()
    yaw = 20 * torch.cos(2 * t)
    ease = torch.ones(T)
    ease[calm] = 0
    return take(smile * ease, blink * ease, yaw * ease)


@pytest.mark.parametrize("calm", [slice(30, 60), slice(70, 95), slice(120, 150)])
@pytest.mark.parametrize("has_ratios", [True, False])
def test_the_calm_stretch_is_found(calm, has_ratios) -> None:
    motion, lips, eyes = performance(calm)
    chosen = choose_reference(motion, "neutral", None, *((lips, eyes) if has_ratios else ()))
    assert calm.start <= chosen < calm.stop
    assert choose_reference(motion, "first") == 0


def test_a_clip_that_starts_in_a_blink_and_then_rests_does_not_start_there() -> None:
    blink, still = torch.zeros(60), torch.zeros(60)
    blink[:4] = torch.tensor([1.0, 1.0, 0.6, 0.2])
    motion, lips, eyes = take(still, blink, still)
    assert choose_reference(motion, "neutral", None, lips, eyes) >= 4
    assert choose_reference(motion, "neutral") >= 4


def test_a_clip_that_starts_in_a_smile_does_not_start_there() -> None:
    smile = torch.cat((torch.ones(20), torch.linspace(1, 0, 10), torch.zeros(40)))
    motion, lips, eyes = take(smile, torch.zeros(70), torch.zeros(70))
    assert choose_reference(motion, "neutral") >= 30
    assert choose_reference(motion, "neutral", None, lips, eyes) >= 30


def test_a_smile_held_most_of_the_time_is_seen_by_the_lips() -> None:
    """By the expression alone the smile is the usual face; the lip ratios say otherwise."""
    smile = torch.cat((torch.ones(50), torch.linspace(1, 0, 5), torch.zeros(20)))
    motion, lips, eyes = take(smile, torch.zeros(75), torch.zeros(75))
    assert choose_reference(motion, "neutral") < 50
    assert choose_reference(motion, "neutral", None, lips, eyes) >= 55


def test_a_wink_is_not_neutral() -> None:
    motion, lips, eyes = take(torch.zeros(30), torch.zeros(30), torch.zeros(30), noise=0)
    eyes[:10, 1] = 0.02
    assert choose_reference(motion, "neutral", None, lips, eyes) == 10


def test_of_two_rests_the_frontal_one_is_taken_and_never_a_frame_in_motion() -> None:
    turn = torch.cat((torch.full((40,), 25.0), torch.linspace(25, 0, 5), torch.zeros(45)))
    motion = take(torch.zeros(90), torch.zeros(90), turn).motion
    assert choose_reference(motion, "neutral") >= 45
    back_and_forth = torch.cat((torch.linspace(-20, 20, 31), torch.full((29,), 20.0)))
    moving = take(torch.zeros(60), torch.zeros(60), back_and_forth).motion
    assert choose_reference(moving, "neutral") != 15  # frontal, but only in passing


def test_equally_good_frames_give_the_earliest_always() -> None:
    still = torch.zeros(12)
    motion, lips, eyes = take(still, still, still, noise=0)
    for how in ("neutral", "closest"):
        assert choose_reference(motion, how, motion.frames(5, 6), lips, eyes) == 0
    noisy = performance(slice(30, 60))
    assert len({choose_reference(noisy.motion, "neutral", None, noisy.lips, noisy.eyes) for _ in range(3)}) == 1


def test_closest_is_the_frame_that_looks_like_the_source() -> None:
    motion = performance(slice(70, 95)).motion
    for wanted in (0, 17, 140):
        source = motion.frames(wanted, wanted + 1)
        assert choose_reference(motion, "closest", source._replace(scale=2 * source.scale)) == wanted


def test_frames_without_a_face_are_passed_over() -> None:
    motion, lips, eyes = take(torch.zeros(30), torch.zeros(30), torch.zeros(30), noise=0)
    lips[:7], eyes[:9] = torch.nan, torch.nan
    assert choose_reference(motion, "neutral", None, lips, eyes) == 9
    assert choose_reference(motion, "neutral", None, lips * torch.nan, eyes * torch.nan) == 0


def test_a_number_is_taken_as_it_is() -> None:
    motion = performance(slice(70, 95)).motion
    assert [choose_reference(motion, n) for n in (0, 149)] == [0, 149]
    assert choose_reference(motion.frames(3, 4), "neutral") == 0


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (150, "reference=150 is not a frame: the driver has 150; give a number from 0 to 149"),
        (-1, "reference=-1 is not a frame"),
        ("best", "reference='best' is unknown; choose first, neutral, closest or a frame's number"),
        (True, "reference=True is unknown"),
        ("closest", "reference=closest needs the source's motion"),
    ],
)
def test_a_wrong_choice_is_one_sentence(how, message) -> None:
    with pytest.raises(ValueError, match=message):
        choose_reference(performance(slice(70, 95)).motion, how)


def test_a_source_of_other_weights_and_a_driver_without_frames_are_refused() -> None:
    motion = performance(slice(70, 95)).motion
    other = motion.frames(0, 1)._replace(delta=torch.zeros(1, 15, 3))
    with pytest.raises(ValueError, match="read by the same weights"):
        choose_reference(motion, "closest", other)
    with pytest.raises(ValueError, match="the driver has no frames"):
        choose_reference(motion.frames(0, 0), "first")


def test_angles_between_rotations() -> None:
    yaw = torch.tensor([0.0, 0.01, 30.0, 170.0, 180.0])
    zero = torch.zeros(5)
    angles = angle_deg(rotation_matrix(zero, yaw, zero), torch.eye(3)[None])
    assert torch.allclose(angles, yaw.double(), atol=0.03)
    assert float(angles[1]) == pytest.approx(0.01, abs=1e-4)


def test_real_drivers_start_calmer_than_at_their_first_frame(shared_data) -> None:
    """Frame 0 of `laugh` is already in the laugh; in `d5` the calm frame has open eyes and closed lips."""
    from evaluation.templates import read_template

    folder = shared_data / "media" / "templates"
    laugh = read_template(folder / "laugh.pkl").motion
    usual = laugh.delta.median(dim=0).values
    chosen = choose_reference(laugh, "neutral")
    assert float((laugh.delta[chosen] - usual).norm()) < 0.5 * float((laugh.delta[0] - usual).norm())
    d5 = read_template(folder / "d5.pkl")
    assert d5.lip_ratios is not None
    assert d5.eye_ratios is not None
    chosen = choose_reference(d5.motion, "neutral", None, d5.lip_ratios, d5.eye_ratios)
    assert float(d5.lip_ratios[chosen]) < 0.03
    assert float(d5.eye_ratios[chosen].min()) > 0.3
