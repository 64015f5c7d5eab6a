import cv2
import numpy as np

from data_pipeline.measures.text import text_frac


def scene(seed: int = 0) -> np.ndarray:
    small = np.random.default_rng(seed).integers(60, 180, (12, 12), np.uint8)
    return cv2.resize(small, (256, 256), interpolation=cv2.INTER_CUBIC)


def banner(picture: np.ndarray) -> np.ndarray:
    out = picture.copy()
    out[200:240] = 20
    cv2.putText(out, "WAIT FOR IT!! 10M views", (6, 228), 0, 0.7, 255, 1, cv2.LINE_AA)
    return out


def test_a_banner_is_found_and_a_picture_without_writing_is_clean() -> None:
    assert text_frac([scene()]) == 0
    assert text_frac([banner(scene())]) > 0.02


def test_writing_must_stay_where_it_is() -> None:
    assert text_frac([banner(scene(i)) for i in range(4)]) > 0.02
    assert text_frac([banner(scene(0)), scene(1)]) == 0


def test_fur_is_no_writing() -> None:
    noise = np.random.default_rng(1).normal(0, 60, (256, 256)).astype(np.float32)
    fur = cv2.GaussianBlur(noise, (0, 0), sigmaX=0.8, sigmaY=3) * 2 + 128
    assert text_frac([np.clip(fur, 0, 255).astype(np.uint8)]) < 0.01
