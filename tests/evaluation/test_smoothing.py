import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.driving import PosedMotion
from evaluation.smoothing import MotionSmoother, OneEuro, nearest_rotation, smooth_motion, smoothed
from lp_models.geometry import rotation_matrix


@pytest.mark.parametrize("name", ["exp", "R", "strong"])
def test_smoothing_equals_the_matrix_form(name: str) -> None:
    with np.load(Path(__file__).parent / "golden" / "smoothing.npz") as golden:
        sequence, variance = torch.from_numpy(golden[f"kal.{name}.in"])[:, 0], float(golden[f"kal.{name}.var"])
        expected = torch.from_numpy(golden[f"kal.{name}.out"])
    assert torch.allclose(smoothed(sequence, variance), expected, atol=2e-6)


def test_a_constant_and_a_single_frame_stay() -> None:
    constant = torch.full((7, 2), 0.3)
    assert torch.allclose(smoothed(constant, 1e-3), constant)
    assert torch.allclose(smoothed(constant[:1], 1e-3), constant[:1])


FPS = 30


def turn(num_frames: int = 120, amplitude: float = 0.5, duration_s: float = 0.5) -> torch.Tensor:
    """A quantity that rests, turns as a head does (minimum jerk), and rests."""
    s = ((torch.arange(num_frames, dtype=torch.float64) / FPS - 1.5) / duration_s).clamp(0, 1)
    return amplitude * (10 * s**3 - 15 * s**4 + 6 * s**5)


def driver(num_frames: int = 120, noise: float = 0.0) -> PosedMotion:
    """A head that turns by 30 degrees, with noise."""
    generator = torch.Generator().manual_seed(0)

    def noisy(values: torch.Tensor, part: float) -> torch.Tensor:
        return (values + noise * part * torch.randn(values.shape, generator=generator)).float()

    x = turn(num_frames)
    zero = torch.zeros(num_frames)
    yaw = noisy(60 * x, 57)
    rotation = rotation_matrix(noisy(zero, 57), yaw, noisy(zero, 57))
    delta = noisy(0.1 * x[:, None, None].expand(-1, 21, 3), 0.3)
    return PosedMotion(rotation, delta, noisy(1.3 + 0.2 * x[:, None], 1), noisy(x[:, None].expand(-1, 3), 1))


def test_one_euro_leaves_a_constant_and_the_first_frame() -> None:
    constant = torch.full((7, 2, 3), 0.3)
    assert torch.equal(OneEuro(FPS).sequence(constant), constant)
    value = torch.randn(4, 3)
    assert torch.equal(OneEuro(FPS)(value), value)
    assert OneEuro(FPS).sequence(torch.zeros(0, 4)).shape == (0, 4)


def test_one_euro_is_the_papers_filter() -> None:
    """Worked by hand: 10 frames a second, cutoff 1 Hz, beta 0.5, 1 Hz for the speed; gain(c) = 1/(1 + 10/(2 pi c))."""
    got = OneEuro(10, 1.0, 0.5, 1.0).sequence(torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64))
    gain = 1 / (1 + 10 / (2 * math.pi))
    speed = gain * 10
    first = 1 / (1 + 10 / (2 * math.pi * (1 + 0.5 * speed)))
    speed += gain * ((1 - first) * 10 - speed)
    second = first + 1 / (1 + 10 / (2 * math.pi * (1 + 0.5 * speed))) * (1 - first)
    assert torch.allclose(got, torch.tensor([0.0, first, second], dtype=torch.float64), atol=1e-12)


def test_a_step_is_followed_quickly_and_a_small_one_slowly() -> None:
    step = torch.cat((torch.zeros(10), torch.ones(50)))
    large = OneEuro(FPS).sequence(0.3 * step) / 0.3
    assert float(large[12]) > 0.9
    assert float(large[-1]) == pytest.approx(1, abs=1e-3)
    small = OneEuro(FPS).sequence(0.001 * step) / 0.001
    assert float(small[12]) < 0.75
    assert float(small[-1]) == pytest.approx(1, abs=1e-2)
    assert float(large.max()) <= 1 + 1e-6  # it never overshoots


def test_noise_at_rest_loses_three_quarters_of_its_variance() -> None:
    noise = 7e-4 * torch.randn(400, 40, generator=torch.Generator().manual_seed(1))
    rest = OneEuro(FPS).sequence(noise)[50:]
    assert float(rest.var()) < 0.27 * float(noise.var())


def test_lag_in_a_head_turn_is_below_a_tenth_of_a_frame() -> None:
    x = turn()
    late = (x - OneEuro(FPS).sequence(x)).abs().max() / x.diff().abs().max()
    assert float(late) < 0.1
    constant_filter = OneEuro(FPS, beta=0).sequence(x)  # without the rising cutoff it would be frames
    assert float((x - constant_filter).abs().max() / x.diff().abs().max()) > 3


@pytest.mark.parametrize("sizes", [[1] * 120, [7, 50, 63], [119, 1]])
def test_pieces_are_smoothed_as_the_whole(sizes) -> None:
    motion = driver(noise=1e-3)
    whole = smooth_motion(motion, "one-euro", FPS)
    smoother, start, pieces = MotionSmoother(FPS), 0, []
    for size in sizes:
        pieces.append(smoother(motion.frames(start, start + size)))
        start += size
    for part in PosedMotion._fields:
        assert torch.equal(torch.cat([getattr(piece, part) for piece in pieces]), getattr(whole, part))


@pytest.mark.parametrize(("method", "options"), [("one-euro", {}), ("kalman", {"kalman_variance": 1e-5})])
def test_a_noisy_driver_comes_nearer_to_the_truth_at_rest(method, options) -> None:
    truth, noisy = driver(), driver(noise=1e-3)
    smooth = smooth_motion(noisy, method, Fraction(FPS), **options)
    rest = slice(10, 40)
    for part in PosedMotion._fields:
        true, before, after = (getattr(motion, part)[rest] for motion in (truth, noisy, smooth))
        assert float((after - true).std()) < 0.7 * float((before - true).std()), part
        assert getattr(smooth, part).dtype == torch.float32
    identity = smooth.rotation @ smooth.rotation.mT
    assert torch.allclose(identity, torch.eye(3).expand_as(identity), atol=1e-6)
    assert bool((torch.linalg.det(smooth.rotation) > 0).all())


def test_kalman_smooths_as_it_does_alone() -> None:
    motion = driver(noise=1e-3)
    smooth = smooth_motion(motion, "kalman", FPS, kalman_variance=1e-5)
    assert torch.equal(smooth.delta, smoothed(motion.delta, 1e-5))
    assert torch.equal(smooth.rotation, nearest_rotation(smoothed(motion.rotation, 1e-5)))


def test_none_changes_nothing_and_an_empty_motion_stays_empty() -> None:
    motion = driver(noise=1e-3)
    assert smooth_motion(motion, "none", FPS) is motion
    empty = motion.frames(0, 0)
    assert all(len(getattr(smooth_motion(empty, "one-euro", FPS), part)) == 0 for part in PosedMotion._fields)


def test_the_nearest_rotation_of_a_rotation_is_itself_and_of_a_mirror_a_rotation() -> None:
    rotation = rotation_matrix(torch.tensor([10.0, -40]), torch.tensor([20.0, 70]), torch.tensor([-5.0, 170]))
    assert torch.allclose(nearest_rotation(1.1 * rotation), rotation, atol=1e-6)
    assert torch.allclose(torch.linalg.det(nearest_rotation(-rotation)), torch.ones(2), atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m: smooth_motion(m, "savgol", FPS),
            "smoothing='savgol' is unknown; choose one of none, kalman, one-euro",
        ),
        (lambda m: smooth_motion(m, "one-euro", 0), "fps=0 is out of range"),
        (lambda m: smooth_motion(m, "one-euro", FPS, min_cutoff_hz=-1), "min_cutoff_hz=-1 is out of range"),
        (lambda m: smooth_motion(m, "one-euro", FPS, beta=float("nan")), "beta=nan is out of range"),
        (lambda m: smooth_motion(m, "kalman", FPS, kalman_variance=0.0), "kalman_variance=0.0 is out of range"),
    ],
)
def test_a_wrong_option_is_one_sentence(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call(driver(3))
