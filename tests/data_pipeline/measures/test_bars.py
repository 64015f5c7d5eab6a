import numpy as np
import pytest

from data_pipeline.measures.bars import Bars, bars, bars_frac, smallest


def boxed(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    frame = np.random.default_rng(0).integers(40, 200, (120, 160, 3), np.uint8)
    frame[:top] = frame[120 - bottom :] = 16
    frame[:, :left] = frame[:, 160 - right :] = 16
    return frame


@pytest.mark.parametrize("sizes", [(12, 20, 0, 0), (0, 0, 30, 7), (5, 5, 9, 9), (0, 0, 0, 0)])
def test_bars_of_known_size_are_measured(sizes: tuple[int, int, int, int]) -> None:
    assert bars(boxed(*sizes)) == Bars(*sizes)


def test_a_black_frame_and_white_borders_are_no_bars() -> None:
    assert bars(np.zeros((50, 50, 3), np.uint8)) == Bars(0, 0, 0, 0)
    frame = boxed(0, 0, 0, 0)
    frame[:20] = 255
    assert bars(frame) == Bars(0, 0, 0, 0)


def test_a_clip_has_the_bars_that_all_its_frames_have() -> None:
    assert smallest([Bars(10, 4, 0, 0), Bars(8, 30, 0, 2)]) == Bars(8, 4, 0, 0)
    assert smallest([]) == Bars(0, 0, 0, 0)


def test_the_share_counts_only_the_crop_inside_the_frame() -> None:
    whole = np.float32([[1, 0, 0], [0, 1, 0]])
    assert bars_frac(Bars(32, 0, 0, 0), whole, 128, 128, 128) == pytest.approx(0.25)
    assert bars_frac(Bars(0, 0, 0, 0), whole, 128, 128, 128) == 0
    left_out = np.float32([[1, 0, -64], [0, 1, 0]])
    assert bars_frac(Bars(0, 0, 32, 0), left_out, 128, 128, 128) == pytest.approx(0.5)
