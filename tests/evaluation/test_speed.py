"""What lp-benchmark measures: rows that follow from their definitions, random networks that are alive, real memory."""

import math

import pytest
import torch

from evaluation.speed import compared, fast_way, lively_model, peak_memory_mib, plain_way, psnr_db, scene_of, timed
from evaluation.tricks import tricks_of
from lp_models import LivePortrait, LivePortraitConfig

TINY = LivePortraitConfig.named("tiny")


@pytest.fixture(scope="module")
def model() -> LivePortrait:
    return lively_model(TINY)


def test_random_networks_use_the_range_and_are_the_same_each_time(model: LivePortrait) -> None:
    scene = scene_of(model)
    with torch.inference_mode():
        picture = model.drive(scene.volume, scene.x_s, scene.x_d, scene.image)
        again = lively_model(TINY).drive(scene.volume, scene.x_s, scene.x_d, scene.image)
    assert picture.std() > 0.1
    assert torch.equal(picture, again)


def test_rows_compare_with_the_first_way_and_the_plain_pictures(model: LivePortrait) -> None:
    scene = scene_of(model)
    ways = [plain_way(model, scene), fast_way(model, scene, "float32"), fast_way(model, scene, "bfloat16")]
    rows = compared(ways, model, scene, repeats=2, memory=[1.0, 2.0, 3.0])
    assert [row.name for row in rows] == ["plain float32", "fast float32", "fast bfloat16"]
    assert rows[0].ratio == 1
    assert rows[0].psnr_db == math.inf
    assert rows[1].psnr_db > 80 > rows[2].psnr_db > 30
    for row in rows[1:]:
        assert row.ratio == pytest.approx(rows[0].frame_ms / row.frame_ms)
    assert [row.memory_mib for row in rows] == [1, 2, 3]


def test_every_trick_gives_the_plain_numbers(model: LivePortrait) -> None:
    tricks = tricks_of(model, scene_of(model), repeats=1)
    assert len(tricks) >= 10
    assert max(trick.largest_difference for trick in tricks) < 1e-3
    assert len({trick.name for trick in tricks}) == len(tricks)


def test_psnr_follows_its_definition() -> None:
    assert psnr_db(torch.zeros(4), torch.full((4,), 0.1)) == pytest.approx(20)
    assert psnr_db(torch.ones(2), torch.ones(2)) == math.inf


def test_a_median_is_taken_after_a_warm_up() -> None:
    calls = []
    wall_ms, cpu_ms = timed(lambda: calls.append(1), 3)
    assert len(calls) == 4
    assert 0 <= wall_ms < 100
    assert 0 <= cpu_ms < 100


@pytest.mark.slow
def test_memory_is_that_of_a_process_of_its_own() -> None:
    assert 100 < peak_memory_mib("fast", "float32", TINY, None) < 2000
    with pytest.raises(RuntimeError, match="measuring the memory of fast failed"):
        peak_memory_mib("fast", "float32", TINY, "nowhere")
