import cv2
import numpy as np
import pytest

from data_pipeline.dedup import Fingerprint, NearDuplicates, frame_hashes, hamming, perceptual_hash
from data_pipeline.photo import decode_jpeg, encode_jpeg


def scene(seed: int, side: int = 128) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 255, (6, 6, 3), np.uint8), (side, side), interpolation=cv2.INTER_CUBIC)


def bits(a: np.ndarray, b: np.ndarray) -> int:
    return int(hamming(np.array([perceptual_hash(a)], np.uint64), np.array([perceptual_hash(b)], np.uint64))[0, 0])


def fingerprint(key: str, image: np.ndarray, source: str = "", rank: float = 1.0, exempt: bool = False) -> Fingerprint:
    hashes = tuple(frame_hashes(image[None]))
    return Fingerprint(key=key, source_id=source or key, species="cat", hashes=hashes, rank=rank, exempt=exempt)


@pytest.mark.parametrize("seed", range(5))
def test_copies_are_close_and_other_pictures_far(seed: int) -> None:
    image = scene(seed)
    assert bits(image, decode_jpeg(encode_jpeg(image, 40))) <= 6
    assert bits(image, cv2.resize(image, (70, 70), interpolation=cv2.INTER_AREA)) <= 6
    assert bits(image, np.clip(image * 0.8 + 20, 0, 255).astype(np.uint8)) <= 6
    assert bits(image, scene(seed + 100)) > 12


def test_the_better_copy_is_kept() -> None:
    image = scene(0)
    copy = decode_jpeg(encode_jpeg(image, 50))
    found = NearDuplicates()([fingerprint("small", copy, rank=1.0), fingerprint("large", image, rank=9.0)])
    assert found == {"small": "large"}


def test_pieces_of_one_file_and_rendered_media_are_left_alone() -> None:
    image = scene(0)
    assert NearDuplicates()([fingerprint("a", image, "one"), fingerprint("b", image, "one")]) == {}
    assert NearDuplicates()([fingerprint("a", image, exempt=True), fingerprint("b", image, exempt=True)]) == {}


def test_a_chain_of_copies_leaves_one() -> None:
    image = scene(3)
    prints = [fingerprint(str(i), image, rank=float(i)) for i in range(5)]
    assert set(NearDuplicates()(prints).values()) == {"4"}
