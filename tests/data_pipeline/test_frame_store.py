import gc

import numpy as np
import pytest

from data_pipeline.buffers import lent
from data_pipeline.crop import warp_crop
from data_pipeline.frame_store import FrameStore
from data_pipeline.quality import head_patch

FRAME = np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)


def test_a_part_is_found_if_it_holds_the_area_inside_the_picture() -> None:
    store = FrameStore(1_000_000)
    store.keep(3, FRAME, np.array([-9.0, 10.2, 40.0, 80.0]))
    part = store.find(3, np.array([-50.0, 12.0, 40.0, 99.0]), 60, 90)
    assert part is not None
    assert np.array_equal(part.pixels, FRAME[10:60, 0:40])
    assert store.find(3, np.array([0.0, 9.0, 40.0, 60.0]), 60, 90) is None
    assert store.find(4, np.array([0.0, 20.0, 4.0, 30.0]), 60, 90) is None


def test_the_limit_holds_and_what_came_first_stays() -> None:
    store = FrameStore(2 * 30 * 30 * 3)
    for number in range(5):
        store.keep(number, FRAME, np.array([0.0, 0.0, 30.0, 30.0]))
    assert (len(store), store.num_bytes) == (2, 5400)
    store.clear()
    assert (len(store), store.num_bytes) == (0, 0)


def test_a_store_without_room_keeps_nothing() -> None:
    store = FrameStore(0)
    store.keep(0, FRAME, np.array([0.0, 0.0, 9.0, 9.0]))
    assert len(store) == 0


@pytest.mark.parametrize("zoom", [0.4, 1.0, 1.9])
def test_a_part_gives_the_same_crop_and_patch_as_the_frame(zoom: float) -> None:
    rng = np.random.default_rng(1)
    frame = rng.integers(0, 255, (300, 400, 3), np.uint8)
    for _ in range(20):
        turn = rng.uniform(-0.6, 0.6)
        c, s = zoom * np.cos(turn), zoom * np.sin(turn)
        place = np.array([[c, -s, rng.uniform(100, 200)], [s, c, rng.uniform(60, 120)]], np.float32)
        left, top = 30, 17
        part = frame[top:, left:]
        out = np.zeros((64, 64, 3), np.uint8)
        assert warp_crop(part, place, 64, (left, top), out) is not None
        assert np.array_equal(out, warp_crop(frame, place, 64))
    box = np.array([71.3, 50.2, 180.0, 190.9], np.float32)
    assert np.array_equal(head_patch(part, box, (left, top), (300, 400)), head_patch(frame, box))


def test_memory_is_lent_again_only_when_nobody_holds_a_view() -> None:
    first = lent((100, 1000))
    view, place = first[3:], first.__array_interface__["data"][0]
    del first
    gc.collect()
    other = lent((100, 1000))
    assert other.__array_interface__["data"][0] != place, "a view is still in use"
    del view
    gc.collect()
    again = lent((90, 1000))
    assert again.__array_interface__["data"][0] == place
