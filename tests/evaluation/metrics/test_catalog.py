from evaluation.metrics.catalog import BY_NAME, METRICS

PARTS = ("face", "eyes", "mouth", "background")
FOLLOWED = ("yaw", "pitch", "roll", "eyes", "lips")
CONTRACT = {
    "l1", "psnr", "ssim", "ms_ssim", "lpips", "grad_distance", "csim", "gallery_rank", "fid", "kid", "aed", "apd",
    "gaze_mae", "point_error", "nme", "detected", "motion_gain", "flicker", "flicker_excess", "warp_error",
    "background_drift", "shoulder_drift", "pose_error_deg", "eye_error", "lip_error", "delta_corr", "commanded_corr",
    "commanded_error",
    *(f"{kind}_{part}" for kind in ("l1", "psnr", "ssim") for part in PARTS),
    *(f"{name}_{kind}" for name in FOLLOWED for kind in ("corr", "lag")),
}  # fmt: skip


def test_the_catalog_holds_every_metric_once() -> None:
    assert BY_NAME.keys() >= CONTRACT
    assert len(BY_NAME) == len(METRICS)
    assert len({metric.title for metric in METRICS}) == len(METRICS)


def test_every_metric_says_what_it_is_and_where_it_comes_from() -> None:
    for metric in METRICS:
        assert metric.title, metric.name
        assert metric.source, metric.name
        assert len(metric.definition) > 30, metric.name
        assert metric.better in ("up", "down", "one", "zero"), metric.name


def test_a_stand_in_names_what_it_stands_for_and_never_bears_its_name() -> None:
    stand_ins = [metric for metric in METRICS if metric.is_stand_in]
    assert stand_ins
    for metric in stand_ins:
        assert metric.stands_for
        assert metric.stands_for.lower() != metric.title.lower()
        assert "stand-in" in metric.definition
