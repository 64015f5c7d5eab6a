import cv2
import numpy as np
import pytest

from data_pipeline.measures.blocks import blockiness


def scene() -> np.ndarray:
    noise = np.random.default_rng(3).normal(0, 40, (256, 256)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 4) * 6 + cv2.GaussianBlur(noise, (0, 0), 1)
    return np.clip(soft + 128, 0, 255).astype(np.uint8)


def saved(quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", scene(), [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


def test_lower_quality_shows_more_blocks() -> None:
    found = [blockiness(saved(quality)) for quality in (95, 50, 20, 5)]
    assert found == sorted(found)
    assert found[0] < 1.3
    assert found[-1] > 3


@pytest.mark.parametrize(("x", "y"), [(3, 5), (1, 0), (0, 7)])
def test_the_grid_is_found_wherever_the_picture_was_cut(x: int, y: int) -> None:
    whole = saved(10)
    assert blockiness(whole[y:, x:]) == pytest.approx(blockiness(whole), rel=0.1)


def test_no_blocks_and_tiny_pictures_give_one() -> None:
    assert blockiness(scene()) < 1.2
    assert blockiness(np.zeros((256, 256), np.uint8)) == 1
    assert blockiness(saved(5)[:20, :20]) == 1
