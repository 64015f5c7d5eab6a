import cv2
import numpy as np
import pytest

from data_pipeline.measures.blur import WIDEST_PX, blur_px, resolved_px


def edges(side: int = 256) -> np.ndarray:
    """Rectangles of many greys: ideal edges."""
    rng = np.random.default_rng(0)
    picture = np.full((side, side), 128, np.uint8)
    for _ in range(12):
        x, y, w, h = (int(v) for v in rng.integers(10, side // 2, 4))
        cv2.rectangle(picture, (x, y), (x + w, y + h), int(rng.integers(0, 255)), -1)
    return picture


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0, 4.0])
def test_a_known_blur_is_measured(sigma: float) -> None:
    assert blur_px(cv2.GaussianBlur(edges(), (0, 0), sigma)) == pytest.approx(sigma, rel=0.2)


def test_enlarging_twice_doubles_it_and_what_the_head_resolves_stays() -> None:
    small = cv2.GaussianBlur(edges(), (0, 0), 1.5)
    large = cv2.resize(small, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    one, two = blur_px(small), blur_px(large)
    assert two == pytest.approx(2 * one, rel=0.2)
    assert resolved_px(200.0, two) == pytest.approx(resolved_px(100.0, one), rel=0.2)


def test_a_flat_picture_has_no_detail_and_a_sharp_head_keeps_all() -> None:
    assert blur_px(np.full((64, 64), 90, np.uint8)) == WIDEST_PX
    assert resolved_px(120.0, 0.5) == 120
