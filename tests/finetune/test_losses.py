import math

import pytest
import torch

from finetune import losses
from finetune.losses import Partners, SpatialTransform, Tie
from lp_models import LivePortrait, LivePortraitConfig
from lp_models.geometry import Motion


def keypoints(*rows):
    return torch.tensor([rows], dtype=torch.float32)


def some_transform(num=1, spline=0.005):
    return losses.random_transform(num, 0.05, spline, torch.Generator().manual_seed(3))


def test_equivariance_is_zero_for_a_detector_that_follows_the_warp():
    transform = some_transform()
    of_warped = torch.randn(1, 7, 3) * 0.4
    original = torch.cat((transform(of_warped[..., :2]), of_warped[..., 2:]), dim=-1)
    assert losses.equivariance(original, of_warped, transform).item() == pytest.approx(0, abs=1e-7)
    assert losses.equivariance(of_warped, of_warped, transform) > 1e-3


def test_warped_picture_shows_at_p_what_the_original_shows_at_its_image():
    transform = SpatialTransform(torch.tensor([[[1.0, 0, 0.25], [0, 1, 0]]]), torch.zeros(1, 2), torch.zeros(1, 1))
    image = torch.zeros(1, 3, 9, 9)
    image[..., 4, 5] = 1  # x = +0.25 in [-1, 1]
    warped = transform.warp(image)
    assert warped[0, 0].argmax().item() == 4 * 9 + 4
    seen, original = keypoints([0, 0, 0]), keypoints([0.25, 0, 0])
    assert losses.equivariance(original, seen, transform).item() == pytest.approx(0)


def test_identity_transform_moves_nothing():
    transform = losses.random_transform(2, 0.0, 0.0, torch.Generator().manual_seed(0))
    points = torch.randn(2, 5, 2)
    torch.testing.assert_close(transform(points), points)


def test_prior_is_zero_for_far_points_and_counts_each_close_pair_twice():
    far = keypoints([-1, 0, 0.5], [1, 0, -0.5])
    assert losses.keypoint_prior(far).item() == pytest.approx(0)
    near = keypoints([0, 0, 0], [0.1, 0, 0])
    assert losses.keypoint_prior(near, threshold=0.1).item() == pytest.approx(2 * (0.1 - 0.01))


def test_prior_leaves_pairs_of_tied_points_alone_but_not_tied_with_free():
    near = keypoints([0, 0, 0], [0.1, 0, 0], [0.05, 0, 0])
    only_tied = losses.keypoint_prior(near[:, :2], together=(0, 1))
    assert only_tied.item() == pytest.approx(0)
    assert losses.keypoint_prior(near, together=(0, 1)) > 0.1


def test_prior_pulls_the_mean_depth():
    assert losses.keypoint_prior(keypoints([-1, 0, 0.2], [1, 0, 0.4])).item() == pytest.approx(0.3)


def test_head_pose_is_mean_degrees_over_rows_with_weight():
    seen = torch.tensor([[1.0, 2, 3], [100, 100, 100]])
    assert losses.head_pose(seen, torch.zeros(2, 3), torch.tensor([1.0, 0])).item() == pytest.approx(2)
    assert losses.head_pose(seen, torch.zeros(2, 3), torch.zeros(2)).item() == 0


def test_wing_is_continuous_at_omega_and_logarithmic_below():
    eps = 1e-4
    below, above = losses.wing(torch.tensor([10 - eps, 10 + eps]))
    assert abs(float(above - below)) < 5e-4
    assert losses.wing(torch.tensor([2.0])).item() == pytest.approx(10 * math.log(2))
    assert losses.wing(torch.tensor([0.0])).item() == 0
    assert losses.wing(torch.tensor([-30.0])).item() == pytest.approx(losses.wing(torch.tensor([30.0])).item())


def test_guidance_is_zero_on_the_landmarks_and_averages_tied_points():
    points = keypoints([0.5, -0.5, 9], [0.3, -0.1, 9])
    landmarks = torch.tensor([[[0.7, 0.0], [0.0, 0.35]]])
    tie = Tie((0, 1), (0,), (1,))
    assert losses.landmark_guidance(points, landmarks, [tie], torch.ones(1)).item() == pytest.approx(0, abs=1e-6)
    moved = points + torch.tensor([0.01, 0, 0])
    expected = float(losses.wing(torch.tensor([1.28]))) / 128 / 2
    assert losses.landmark_guidance(moved, landmarks, [tie], torch.ones(1)).item() == pytest.approx(expected, rel=1e-3)


def test_reconstruction_is_the_weighted_difference_and_zero_for_equal_pictures():
    target = torch.rand(1, 3, 8, 8)
    weight = torch.ones(1, 1, 8, 8)
    assert losses.reconstruction(target, target, weight).item() == 0
    assert losses.reconstruction(target + 0.1, target, weight).item() == pytest.approx(0.1, rel=1e-4)
    weight[..., :4] = 0
    half = target.clone()
    half[..., :4] += 1
    assert losses.reconstruction(half, target, weight).item() == pytest.approx(0, abs=1e-6)


def test_painting_is_how_far_a_frame_departs_from_the_moved_source_where_weight_lies():
    moved, weight = torch.rand(1, 3, 8, 8), torch.ones(1, 1, 8, 8)
    assert losses.painted(moved, moved, weight).item() == 0
    weight[..., 4:] = 3
    frame = moved.clone()
    frame[..., 4:] += 0.1
    assert losses.painted(frame, moved, weight).item() == pytest.approx(0.1 * 3 / 4, rel=1e-4)


@pytest.mark.parametrize("share", [1 / 5, 1 / 3])
def test_a_share_of_the_weight_keeps_fur_sharp_and_lets_a_mouth_be_painted(share):
    """Fur that lies some pixels off: a blur has less error, and still does not pay; what is seen nowhere does."""
    torch.manual_seed(0)
    fur, weight = torch.rand(1, 3, 32, 64), torch.ones(1, 1, 32, 61)
    target, moved = fur[..., 3:], fur[..., :-3]
    blur = torch.nn.functional.avg_pool2d(moved, 5, 1, 2, count_include_pad=False)

    def price(frame, goal, share):
        return (losses.reconstruction(frame, goal, weight) + share * losses.painted(frame, moved, weight)).item()

    assert price(blur, target, 0) < price(moved, target, 0)
    assert price(blur, target, share) > price(moved, target, share)
    mouth = target.clone()
    mouth[:, :, 8:24, 20:40] = 0.05
    assert price(mouth, mouth, share) < price(moved, mouth, share)


def test_region_weight_peaks_on_eyes_and_mouth():
    points = torch.tensor([[[0.3, 0.4], [0.7, 0.4], [0.5, 0.55], [0.4, 0.7], [0.6, 0.7]]])
    weight = losses.region_weight(points, 64, boost=2.0)
    assert weight[0, 0, 25, 19] == pytest.approx(3.0, abs=0.02)
    assert weight[0, 0, 44, 31] == pytest.approx(3.0, abs=0.02)
    assert weight[0, 0, 0, 0] < 1.2


def test_hinge_losses_have_their_minimum_where_real_and_fake_are_told_apart():
    good = losses.hinge_discriminator([torch.full((1, 1, 2, 2), 2.0)], [torch.full((1, 1, 2, 2), -2.0)])
    unsure = losses.hinge_discriminator([torch.zeros(1, 1, 2, 2)], [torch.zeros(1, 1, 2, 2)])
    assert (good.item(), unsure.item()) == (0, 2)
    assert losses.hinge_generator([torch.full((1, 1), 0.5)]).item() == -0.5


def test_feature_matching_takes_gradient_from_the_fake_side_only():
    real, fake = torch.ones(1, 2, requires_grad=True), torch.zeros(1, 2, requires_grad=True)
    losses.feature_matching([real], [fake]).backward()
    assert real.grad is None
    assert fake.grad is not None


def test_agreement_counts_only_rows_with_weight():
    a, b = torch.zeros(2, 3, 3), torch.ones(2, 3, 3)
    assert losses.agreement(a, b, torch.tensor([1.0, 0])).item() == 1
    assert losses.agreement(a, b, torch.zeros(2)).item() == 0


def test_the_warps_shared_grid_bends_like_single_points():
    torch.manual_seed(3)
    transform = losses.random_transform(2, 0.05, 0.05, torch.Generator().manual_seed(1))
    image = torch.rand(2, 3, 12, 12)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 12), torch.linspace(-1, 1, 12), indexing="ij")
    at = transform(torch.stack((x, y), -1).reshape(1, -1, 2).expand(2, -1, 2)).reshape(2, 12, 12, 2)
    slow = torch.nn.functional.grid_sample(image, at, padding_mode="reflection", align_corners=True)
    assert torch.allclose(transform.warp(image), slow, atol=1e-5)


def motion(num=2, seed=0, **changed):
    draw = torch.Generator().manual_seed(seed)

    def noise(*shape):
        return torch.randn(*shape, generator=draw)

    values = {
        "pitch_deg": 10 * noise(num), "yaw_deg": 20 * noise(num), "roll_deg": 10 * noise(num), "shift": noise(num, 3),
        "delta": 0.1 * noise(num, 5, 3), "scale": 1 + 0.1 * noise(num, 1), "canonical": noise(num, 5, 3),
    }  # fmt: skip
    return Motion(**(values | changed))


def mirror_image(seen, partners):
    """What a network that treats left and right alike says of the mirrored picture."""
    sign, order = torch.tensor([-1.0, 1, 1]), list(range(5))
    for k, other in zip(*partners, strict=True):
        order[other] = k
    return seen._replace(
        yaw_deg=-seen.yaw_deg, roll_deg=-seen.roll_deg, shift=seen.shift * sign,
        delta=seen.delta[:, order] * sign, canonical=seen.canonical[:, order] * sign,
    )  # fmt: skip


PAIRS = Partners((0, 1, 2), (1, 0, 2))


def test_flip_consistency_is_zero_for_mirrored_motion_and_sees_every_part_of_it():
    seen = motion()
    other = mirror_image(seen, PAIRS)
    assert losses.flip_consistency(seen, other, PAIRS).item() == pytest.approx(0, abs=1e-6)
    for name in ("pitch_deg", "yaw_deg", "roll_deg", "shift", "delta", "scale", "canonical"):
        wrong = other._replace(**{name: getattr(other, name) + 0.3})
        assert losses.flip_consistency(seen, wrong, PAIRS) > 1e-3, name
    same = seen._replace(yaw_deg=seen.yaw_deg)
    assert losses.flip_consistency(seen, same, PAIRS) > 0.1


def test_flip_consistency_leaves_points_without_partner_and_depth_shift_alone():
    seen = motion()
    other = mirror_image(seen, PAIRS)
    far = other.canonical.clone()
    far[:, 3:] += 9
    depth = other.shift + torch.tensor([0.0, 0, 5])
    wrong = other._replace(canonical=far, shift=depth)
    assert losses.flip_consistency(seen, wrong, PAIRS).item() == pytest.approx(0, abs=1e-6)


def test_a_network_made_symmetric_is_flip_consistent():
    raw = LivePortrait(LivePortraitConfig.named("tiny")).motion
    partners = Partners((11, 13, 14, 15, 16, 17, 12), (15, 16, 17, 11, 13, 14, 12))
    order, sign = list(range(21)), torch.tensor([-1.0, 1, 1])
    for k, other in zip(*partners, strict=True):
        order[other] = k

    def symmetric(image):
        a, b = raw(image), raw(image.flip(-1))
        mirrored = b._replace(
            yaw_deg=-b.yaw_deg, roll_deg=-b.roll_deg, shift=b.shift * sign, delta=b.delta[:, order] * sign,
            canonical=b.canonical[:, order] * sign,
        )  # fmt: skip
        return Motion(*((x + y) / 2 for x, y in zip(a, mirrored, strict=True)))

    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        even = losses.flip_consistency(symmetric(image), symmetric(image.flip(-1)), partners)
        uneven = losses.flip_consistency(raw(image), raw(image.flip(-1)), partners)
    assert even < 1e-5
    assert uneven > 1e-3


def test_guard_is_zero_for_the_same_motion_and_adds_each_difference_once():
    seen = motion()
    assert losses.motion_guard(seen, seen).item() == 0
    assert losses.motion_guard(seen._replace(scale=seen.scale + 0.2), seen).item() == pytest.approx(0.2, rel=1e-4)
    assert losses.motion_guard(seen._replace(delta=seen.delta - 0.1), seen).item() == pytest.approx(0.1, rel=1e-4)
    assert losses.motion_guard(seen._replace(canonical=seen.canonical + 1), seen).item() == 0
    turned = losses.motion_guard(seen._replace(yaw_deg=seen.yaw_deg + 10), seen).item()
    assert 0.01 < turned < 0.2


def test_guard_takes_gradient_from_the_new_side_only():
    new, old = (motion(delta=torch.zeros(2, 5, 3, requires_grad=True)) for _ in range(2))
    losses.motion_guard(new._replace(scale=new.scale + 1), old).backward()
    assert new.delta.grad is not None
    assert old.delta.grad is None


def test_identity_distance_is_zero_for_the_same_direction_and_two_for_the_opposite():
    there = torch.tensor([[1.0, 0], [0, 2], [3, 3]])
    everyone = torch.ones(3)
    assert losses.identity_distance(5 * there, there, everyone).item() == pytest.approx(0, abs=1e-6)
    assert losses.identity_distance(-there, there, everyone).item() == pytest.approx(2)
    mixed = torch.tensor([[1.0, 0], [0, -2], [3, 3]])
    assert losses.identity_distance(mixed, there, torch.tensor([1.0, 0, 1])).item() == pytest.approx(0, abs=1e-6)
    ours, theirs = torch.randn(2, 4, requires_grad=True), torch.randn(2, 4, requires_grad=True)
    losses.identity_distance(ours, theirs, torch.ones(2)).backward()
    assert ours.grad is not None
    assert theirs.grad is None


def test_gradient_penalty_is_half_the_squared_slope_and_reaches_the_weights():
    weight = torch.tensor(3.0, requires_grad=True)
    image = torch.rand(2, 3, 4, 4, requires_grad=True)
    penalty = losses.gradient_penalty([weight * image.sum(dim=(1, 2, 3), keepdim=True)], image)
    assert penalty.item() == pytest.approx(0.5 * 9 * 48)
    penalty.backward()
    assert weight.grad.item() == pytest.approx(3 * 48)


def smallest(loss, start, steps=400, lr=0.02):
    """Where plain descent on a loss ends."""
    x = start.clone().requires_grad_(True)
    optimiser = torch.optim.Adam([x], lr=lr)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = lr * (1 - step / steps)
        optimiser.zero_grad()
        loss(x).backward()
        optimiser.step()
    return x.detach()


def test_the_minimum_of_each_loss_is_where_it_should_be():
    truth = torch.tensor([[10.0, -5, 3]])
    found = smallest(lambda x: losses.head_pose(x, truth, torch.ones(1)), torch.zeros(1, 3), lr=0.2)
    torch.testing.assert_close(found, truth, atol=0.05, rtol=0)
    marks = torch.tensor([[[0.3, 0.7], [0.6, 0.2]]])
    ties = [Tie((0,), (0,), (0,)), Tie((1,), (1,), (1,))]
    found = smallest(lambda x: losses.landmark_guidance(x, marks, ties, torch.ones(1)), torch.zeros(1, 2, 3))
    torch.testing.assert_close(found[..., :2], marks * 2 - 1, atol=0.01, rtol=0)
    picture = torch.rand(1, 3, 4, 4)
    weight = torch.ones(1, 1, 4, 4)
    found = smallest(lambda x: losses.reconstruction(x, picture, weight), torch.full_like(picture, 0.5))
    torch.testing.assert_close(found, picture, atol=0.02, rtol=0)
    found = smallest(lambda x: losses.deformation(x), torch.full((1, 4, 3), 0.3))
    torch.testing.assert_close(found, torch.zeros(1, 4, 3), atol=0.01, rtol=0)
    close = torch.tensor([[[0.0, 0, 0.1], [0.01, 0, 0.1]]])
    found = smallest(lambda x: losses.keypoint_prior(x, (), 0.1), close)
    assert float((found[0, 0] - found[0, 1]).square().sum()) >= 0.099
    assert abs(float(found[..., 2].mean())) < 0.01
    wanted = motion()
    found = smallest(lambda x: losses.motion_guard(wanted._replace(delta=x), wanted), torch.zeros_like(wanted.delta))
    torch.testing.assert_close(found, wanted.delta, atol=0.01, rtol=0)


def test_spans_see_openings_and_not_where_the_face_is():
    ties = (Tie((0,), (0,), (0,)), Tie((1,), (1,), (1,)))
    landmarks = torch.tensor([[[0.5, 0.45], [0.5, 0.55]]])
    exact = torch.cat((landmarks * 2 - 1, torch.zeros(1, 2, 1)), dim=-1)
    one = torch.ones(1)
    assert losses.span_guidance(exact, landmarks, [ties], one).item() == pytest.approx(0, abs=1e-6)
    assert losses.span_guidance(exact + 0.3, landmarks, [ties], one).item() == pytest.approx(0, abs=1e-6)
    shut = exact.clone()
    shut[:, 0, 1], shut[:, 1, 1] = 0.0, 0.0
    half = exact * 0.5
    found = [losses.span_guidance(points, landmarks, [ties], one).item() for points in (shut, half)]
    assert found[0] > found[1] > 0.01
    assert losses.span_guidance(shut, landmarks, [ties], torch.zeros(1)).item() == 0
    # Quadratic up to 4 px of 256: a rare shut lid weighs more than the noise of many open ones.
    near, far = (exact + torch.tensor([[[0, px / 128, 0], [0, 0, 0]]]) for px in (1.0, 2.0))
    one_px, two_px = (losses.span_guidance(points, landmarks, [ties], one).item() for points in (near, far))
    assert two_px == pytest.approx(4 * one_px, rel=1e-4)
