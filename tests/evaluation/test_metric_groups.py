import pytest

from evaluation.metric_groups import GROUPS, group_of, grouped, is_detail, main_of
from evaluation.metrics.catalog import BY_NAME, METRICS


@pytest.mark.parametrize(
    ("name", "group"),
    [("l1", "picture"), ("psnr_face", "picture"), ("l1x", "other"), ("yaw_corr", "motion"), ("yaw_lag", "motion"),
     ("csim_truth_stand_in", "identity"), ("flicker_excess", "steadiness"), ("background_drift", "steadiness"),
     ("commanded_error", "motion"), ("fid_stand_in", "picture"), ("gallery_rank", "identity")],
)  # fmt: skip
def test_a_metric_answers_one_question(name, group) -> None:
    assert group_of(name) == group


def test_every_metric_of_the_catalog_has_a_place_and_none_is_lost() -> None:
    assert [metric.name for metric in METRICS if group_of(metric.name) == "other"] == []
    placed = [metric.name for _, metrics in grouped(METRICS) for metric in metrics]
    assert sorted(placed) == sorted(BY_NAME)
    assert len(grouped(METRICS)) == len(GROUPS)


def test_a_stand_in_is_a_main_number_only_where_the_real_one_is_missing() -> None:
    assert main_of(["lpips", "grad_distance", "l1"]) == ["lpips", "l1"]
    assert main_of(["grad_distance", "csim_stand_in", "yaw_corr"]) == ["grad_distance", "yaw_corr", "csim_stand_in"]
    assert main_of(["gaze_mae"]) == ["gaze_mae"]
    assert is_detail("ssim_mouth")
    assert not is_detail("ssim")
