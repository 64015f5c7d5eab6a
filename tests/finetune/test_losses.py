import math

import pytest
import torch

from finetune import losses
from finetune.losses import SpatialTransform, Tie


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
