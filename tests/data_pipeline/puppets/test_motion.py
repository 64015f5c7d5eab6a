"""Performances are smooth, bounded, functions of their seed, and begin near neutral."""

import numpy as np
import pytest

from data_pipeline.puppets.motion import (
    COLUMN,
    HIGHEST,
    LOWEST,
    MOTION_NAMES,
    NEUTRAL,
    sample_exercises,
    sample_performance,
    sample_stills,
)


@pytest.mark.parametrize("amplitude", ["calm", "normal", "extreme"])
@pytest.mark.parametrize("seed", [0, 1, 7])
def test_every_column_stays_in_its_range(seed: int, amplitude: str) -> None:
    code = sample_performance(seed, 200, amplitude=amplitude)  # pyright: ignore[reportArgumentType]
    assert code.shape == (200, len(MOTION_NAMES))
    assert code.dtype == np.float32
    assert (code >= LOWEST).all()
    assert (code <= HIGHEST).all()


@pytest.mark.parametrize("seed", range(5))
def test_the_head_never_jerks(seed: int) -> None:
    pose = sample_performance(seed, 250)[:, :3]
    assert np.abs(np.diff(pose, axis=0)).max() < 8, "degrees a frame"
    assert np.abs(np.diff(pose, 2, axis=0)).max() < 4, "degrees a frame squared"


def test_a_performance_begins_near_neutral() -> None:
    first = sample_performance(3, 50)[0]
    assert np.abs(first[:3]).max() < 5
    assert first[COLUMN["jaw"]] < 0.1
    assert abs(first[COLUMN["lid_right"]] - 1) < 0.15


def test_a_long_performance_has_everything_in_it() -> None:
    code = sample_performance(0, 25 * 30)
    assert np.ptp(code[:, COLUMN["yaw_deg"]]) > 40
    assert code[:, COLUMN["lid_right"]].min() < 0.05
    assert code[:, COLUMN["jaw"]].max() > 0.5
    assert code[:, COLUMN["mouth_right"]].max() > 0.5
    assert code[:, COLUMN["pucker"]].max() > 0.4
    assert np.ptp(code[:, COLUMN["gaze_x"]]) > 0.8
    assert np.ptp(code[:, COLUMN["ear_left"]]) > 0.3


def test_a_shorter_performance_is_the_beginning_of_a_longer_one() -> None:
    assert np.array_equal(sample_performance(5, 20), sample_performance(5, 100)[:20])


def test_another_frame_rate_samples_the_same_movement() -> None:
    assert np.allclose(sample_performance(5, 40, 50.0)[::2], sample_performance(5, 20, 25.0), atol=1e-5)


def test_seeds_and_names_give_different_performances() -> None:
    base = sample_performance(0, 50)
    assert np.array_equal(base, sample_performance(0, 50))
    assert not np.array_equal(base, sample_performance(1, 50))
    assert not np.array_equal(base, sample_performance(0, 50, name="other"))


def test_extreme_moves_more_than_calm() -> None:
    calm, extreme = (sample_performance(2, 200, amplitude=kind)[:, :3].std() for kind in ("calm", "extreme"))
    assert extreme > 1.6 * calm


def test_stills_cover_widely() -> None:
    code = sample_stills(0, 400)
    assert np.ptp(code[:, COLUMN["yaw_deg"]]) > 60
    assert (code[:, COLUMN["lid_right"]] < 0.3).any()
    assert (code[:, COLUMN["jaw"]] > 0.8).any()


def test_neutral_has_open_eyes_and_nothing_else() -> None:
    assert NEUTRAL.sum() == 2
    assert NEUTRAL[COLUMN["lid_left"]] == 1


@pytest.mark.parametrize(("frames", "fps", "amplitude"), [(0, 25.0, "normal"), (5, 0.0, "normal")])
def test_impossible_performances_are_refused(frames: int, fps: float, amplitude: str) -> None:
    with pytest.raises(ValueError, match="num_frames"):
        sample_performance(0, frames, fps, amplitude)  # pyright: ignore[reportArgumentType]


def test_exercises_show_what_performances_rarely_do() -> None:
    exercises, performance = sample_exercises(0, 1000), sample_performance(0, 1000)
    lids, jaw = COLUMN["lid_right"], COLUMN["jaw"]
    assert (exercises[:, lids] < 0.5).mean() > 0.4 > 3 * (performance[:, lids] < 0.5).mean()
    assert (exercises[:, jaw] > 0.3).mean() > 0.5 > 1.5 * (performance[:, jaw] > 0.3).mean()
    assert ((exercises >= LOWEST) & (exercises <= HIGHEST)).all()


def test_exercises_are_smooth_and_a_shorter_one_begins_a_longer_one() -> None:
    code = sample_exercises(2, 300, 100.0)
    assert np.abs(np.diff(code[:, :3], axis=0)).max() < 8, "degrees a hundredth of a second"
    assert np.array_equal(sample_exercises(2, 1)[0], sample_exercises(2, 2)[0])


def test_exercises_refuse_what_performances_refuse() -> None:
    with pytest.raises(ValueError, match="num_frames >= 1"):
        sample_exercises(0, 0)
    with pytest.raises(ValueError, match="fps > 0"):
        sample_exercises(0, 5, 0.0)
