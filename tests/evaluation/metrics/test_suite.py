import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from data_pipeline.records import Detection
from evaluation.metrics.catalog import BY_NAME, METRICS
from evaluation.metrics.motion import KeypointDeltas, MotionFidelity
from evaluation.metrics.standard import standard_measures
from evaluation.metrics.suite import Measure, MetricSuite, SetMeasure, as_frames, flicker, motion_gain
from evaluation.protocols.pairs import PairFrames, Truth

POINTS = np.array([[24, 26], [40, 26], [32, 36], [26, 44], [38, 44]], np.float32)


def pair(T: int = 5, S: int = 64, *, labels: bool = True) -> PairFrames:
    frames = np.random.default_rng(0).integers(0, 256, (T, S, S, 3), dtype=np.uint8)
    marks = np.zeros((T, S, S), np.uint8)
    marks[:, 10:60, 10:54] = 2
    marks[:, 22:30, 20:44] = 3
    marks[:, 42:47, 26:38] = 4
    points = np.repeat(POINTS[None], T, 0)
    return PairFrames(
        source=frames[0],
        driving=frames,
        truth=Truth(frames=frames, species="cat", points=points, labels=marks if labels else None),
        source_points=POINTS,
        driving_points=points,
        species="cat",
        driver_species="cat",
    )


def true_frames(one: PairFrames) -> np.ndarray:
    assert one.truth is not None
    return one.truth.frames


def detector(offset_px: float, species: str = "cat"):
    def detect(frames: list[np.ndarray], first_frame: int = 0) -> list[list[Detection]]:
        return [
            [
                Detection(
                    frame=first_frame + i,
                    species=species,
                    box_xyxy=np.array([10, 10, 54, 60], np.float32),
                    points_xy=POINTS + np.array([offset_px, 0], np.float32),
                    point_scores=np.ones(5, np.float32),
                    score=0.9,
                )
            ]
            if frame.any()
            else []
            for i, frame in enumerate(frames)
        ]

    return detect


def test_every_number_is_in_the_catalog_and_what_is_not_measured_has_a_reason() -> None:
    measures = standard_measures(detector(0))
    extra = [*measures.per_pair, MotionFidelity(reader=None), KeypointDeltas(read_motion=None)]
    suite, true = MetricSuite(detector=detector(0), extra=extra), pair()
    values, missing = suite(true_frames(true), true), suite.missing()
    assert values.keys() <= BY_NAME.keys()
    assert not values.keys() & missing.keys()
    too_small = {"ms_ssim"}
    no_body = {"shoulder_drift"}
    of_set = {metric.name for metric in METRICS if metric.of_set and metric.is_stand_in}
    assert values.keys() | missing.keys() | too_small | no_body | of_set == BY_NAME.keys()
    assert all(missing.values())
    assert all(isinstance(one, Measure) for one in (*extra, suite.steadiness))
    assert all(isinstance(one, SetMeasure) for one in measures.of_set)


def test_the_truth_itself_is_perfect() -> None:
    true = pair()
    values = MetricSuite(detector=detector(0))(true_frames(true), true)
    perfect = {name: 100 if name.startswith("psnr") else 1 for name in values if name.startswith(("psnr", "ssim"))}
    perfect |= {"detected": 100, "motion_gain": 1, "background_drift": values["background_drift"]}
    assert values == pytest.approx({name: perfect.get(name, 0) for name in values}, abs=1e-4)


def test_batches_and_the_order_of_pairs_do_not_change_the_numbers() -> None:
    one, other = pair(7), pair(7, labels=False)
    made = np.roll(true_frames(one), 2, axis=2)
    weigh = lambda a, b: (a - b).square().mean(dim=(1, 2, 3))  # noqa: E731
    suites = [MetricSuite(lpips=weigh, detector=detector(1), batch_frames=n) for n in (7, 2)]
    assert suites[0](made, one) == pytest.approx(suites[1](made, one), rel=1e-5)
    first = suites[0](made, one)
    suites[0](true_frames(one), other)
    assert suites[0](made, one) == first


def test_a_network_never_sees_more_frames_than_a_batch() -> None:
    sizes = []

    def weigh(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        sizes.append(len(a))
        return torch.zeros(len(a))

    true = pair(7)
    MetricSuite(lpips=weigh, batch_frames=3)(true_frames(true), true)
    assert sizes == [3, 3, 1]


def test_an_error_in_the_mouth_is_seen_there_only() -> None:
    true = pair()
    made = true_frames(true).copy()
    made[:, 43:46, 28:36] ^= 255
    values = MetricSuite()(made, true)
    assert values["l1_mouth"] > 0.05
    assert values["psnr_mouth"] < 30 < values["psnr_eyes"]
    assert values["l1_eyes"] == values["l1_background"] == 0


def test_without_masks_discs_around_the_points_are_used() -> None:
    true = pair(labels=False)
    made = true_frames(true).copy()
    made[:, 24:28, 22:26] ^= 255
    values = MetricSuite()(made, true)
    assert values["l1_eyes"] > 0.01
    assert values["l1_mouth"] == 0


def test_without_a_truth_what_needs_none_is_measured() -> None:
    true = pair()
    values = MetricSuite(detector=detector(0))(true_frames(true), true._replace(truth=None))
    assert values.keys() == {"broken", "detected", "flicker_excess", "warp_error", "background_drift", "shoulder_drift"}
    assert values["detected"] == 100


def test_point_error_is_a_share_of_the_face_and_the_wrong_species_is_not_found() -> None:
    true = pair()
    assert MetricSuite(detector=detector(1.7))(true_frames(true), true)["point_error"] == pytest.approx(10)
    lost = MetricSuite(detector=detector(0, "dog"))(true_frames(true), true)
    assert lost["detected"] == 0
    assert "point_error" not in lost


def test_a_frame_without_a_head_counts() -> None:
    true = pair(4)
    made = true_frames(true).copy()
    made[2] = 0
    assert MetricSuite(detector=detector(0), detector_every=1)(made, true)["detected"] == 75
    assert MetricSuite(detector=detector(0), detector_every=2)(made, true)["detected"] == 50


def test_nan_frames_count_and_are_black() -> None:
    true = pair(4)
    made = true_frames(true).astype(np.float32) / 255
    made[1, 5, 5, 0] = np.nan
    found = as_frames(made, true)
    assert found.num_broken == 1
    assert not found.frames[1].any()
    assert np.array_equal(found.frames[[0, 2, 3]], true_frames(true)[[0, 2, 3]])
    values = MetricSuite(detector=detector(0), detector_every=1)(made, true)
    assert values["broken"] == 25
    assert values["detected"] == 75
    assert all(math.isfinite(value) for value in values.values())


def test_what_is_no_result_is_refused_in_one_sentence() -> None:
    true = pair()
    frames = true_frames(true)
    with pytest.raises(ValueError, match="is 4 frames of 64x64 px, but 5 frames of 64x64 px are needed"):
        MetricSuite()(frames[:4], true)
    with pytest.raises(ValueError, match="is 5 frames of 32x32 px"):
        MetricSuite()(frames[:, ::2, ::2], true)
    with pytest.raises(ValueError, match=r"an array of shape \(5, 64, 64\)"):
        MetricSuite()(frames[..., 0], true)
    with pytest.raises(ValueError, match="int64 values"):
        MetricSuite()(frames.astype(np.int64), true)


def test_a_frozen_picture_gains_no_motion_and_half_of_it_gains_half() -> None:
    true = true_frames(pair(4))
    rest = true[:1].astype(np.float32)
    half = np.round(rest + 0.5 * (true - rest)).astype(np.uint8)
    opposite = np.clip(rest - 0.5 * (true - rest), 0, 255).astype(np.uint8)
    assert motion_gain(np.repeat(true[:1], 4, axis=0), true) == 0
    assert motion_gain(true, true) == pytest.approx(1)
    assert motion_gain(half, true) == pytest.approx(0.5, abs=0.01)
    assert motion_gain(opposite, true) < -0.2
    assert math.isnan(motion_gain(true, np.repeat(true[:1], 4, axis=0)))


def test_a_constant_error_does_not_flicker_and_a_changing_one_does() -> None:
    true = np.full((4, 8, 8, 3), 100, np.uint8)
    assert flicker(true + 20, true) == 0
    jitter = true.copy()
    jitter[1::2] += 51
    assert flicker(jitter, true) == pytest.approx(0.2)
    assert math.isnan(flicker(true[:1], true[:1]))


def test_an_extra_measure_joins_in_and_its_reasons_are_heard() -> None:
    class Extra:
        def missing(self) -> dict[str, str]:
            return {"csim": "the file is gone"}

        def __call__(self, result: np.ndarray, pair: PairFrames) -> dict[str, float]:
            return {"yaw_corr": 0.5, "aed": math.nan}

    suite, true = MetricSuite(extra=[Extra()]), pair()
    values = suite(true_frames(true), true)
    assert values["yaw_corr"] == 0.5
    assert "aed" not in values  # NaN is "not measured"
    assert suite.missing()["csim"] == "the file is gone"
    assert replace(suite, not_measured={"csim": "never"}).missing()["csim"] == "never"
