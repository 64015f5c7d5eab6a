import numpy as np
import pytest

from data_pipeline.records import Detection
from evaluation.metrics.catalog import BY_NAME, METRICS
from evaluation.metrics.suite import MetricSuite, Truth

POINTS = np.array([[24, 26], [40, 26], [32, 36], [26, 44], [38, 44]], np.float32)


def truth(T: int = 5, S: int = 64, *, labels: bool = True) -> Truth:
    frames = np.random.default_rng(0).integers(0, 256, (T, S, S, 3), dtype=np.uint8)
    marks = np.zeros((T, S, S), np.uint8)
    marks[:, 10:60, 10:54] = 2
    marks[:, 22:30, 20:44] = 3
    marks[:, 42:47, 26:38] = 4
    return Truth(
        frames=frames,
        species="cat",
        points=np.repeat(POINTS[None], T, 0),
        labels=marks if labels else None,
    )


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
            for i in range(len(frames))
        ]

    return detect


def test_every_number_is_in_the_catalog_or_said_to_be_missing() -> None:
    suite = MetricSuite(detector=detector(0))
    true = truth()
    values = suite(true.frames, true)
    assert values.keys() | suite.missing().keys() == BY_NAME.keys()
    assert not values.keys() & suite.missing().keys()
    assert len(BY_NAME) == len(METRICS)


def test_the_truth_itself_is_perfect() -> None:
    true = truth()
    values = MetricSuite(detector=detector(0))(true.frames, true)
    perfect = {"psnr": 100, "ssim": 1, "detected": 100, "motion_gain": 1}
    assert values == pytest.approx({name: perfect.get(name, 0) for name in values}, abs=1e-4)


def test_batches_do_not_change_the_numbers() -> None:
    true = truth(7)
    result = np.roll(true.frames, 2, axis=2)
    whole, pieces = (MetricSuite(batch_frames=n)(result, true) for n in (7, 2))
    assert whole == pytest.approx(pieces, rel=1e-5)


def test_an_error_in_the_mouth_is_seen_there_only() -> None:
    true = truth()
    result = true.frames.copy()
    result[:, 43:46, 28:36] ^= 255
    values = MetricSuite()(result, true)
    assert values["l1_mouth"] > 0.05
    assert values["l1_eyes"] == values["l1_background"] == 0


def test_without_masks_discs_around_the_points_are_used() -> None:
    true = truth(labels=False)
    result = true.frames.copy()
    result[:, 24:28, 22:26] ^= 255
    values = MetricSuite()(result, true)
    assert values["l1_eyes"] > 0.01
    assert values["l1_mouth"] == 0


def test_point_error_is_a_share_of_the_face_and_the_wrong_species_is_not_found() -> None:
    true = truth()
    assert MetricSuite(detector=detector(1.7))(true.frames, true)["point_error"] == pytest.approx(10)
    lost = MetricSuite(detector=detector(0, "dog"))(true.frames, true)
    assert lost["detected"] == 0
    assert "point_error" not in lost


def test_a_shorter_result_is_refused() -> None:
    true = truth()
    with pytest.raises(ValueError, match="4 frames of 64x64 px and the truth 5 frames"):
        MetricSuite()(true.frames[:4], true)
