from pathlib import Path

import numpy as np
import pytest

from data_pipeline.records import MediaItem
from data_pipeline.shots import ShotSplitter, thumbnail


def scene(seed: int, count: int, drift: float = 1.0) -> np.ndarray:
    """Thumbnails of a calm scene: one picture with a little noise and a slow brightening."""
    rng = np.random.default_rng(seed)
    base = np.repeat(np.repeat(rng.integers(0, 255, (4, 4, 3)), 8, axis=0), 8, axis=1)
    frames = [base + i * drift * 0.2 + rng.normal(0, 2, base.shape) for i in range(count)]
    return np.clip(np.stack(frames), 0, 255).astype(np.uint8)


@pytest.fixture
def media(tmp_path: Path) -> MediaItem:
    return MediaItem(path=tmp_path, kind="video", source_id="0", num_frames=90, fps=25.0, height_px=9, width_px=9)


def test_a_spliced_clip_is_cut_exactly_at_its_seams(media: MediaItem) -> None:
    thumbs = np.concatenate([scene(1, 30), scene(2, 41), scene(3, 25)])
    shots = ShotSplitter()(media, thumbs)
    assert [(s.start, s.stop) for s in shots] == [(0, 30), (30, 71), (71, 96)]


def test_a_calm_scene_is_one_shot(media: MediaItem) -> None:
    assert len(ShotSplitter()(media, scene(4, 80))) == 1


def test_a_flash_is_no_cut(media: MediaItem) -> None:
    thumbs = scene(5, 60)
    thumbs[30:32] = 255
    assert len(ShotSplitter()(media, thumbs)) == 1


def test_a_fade_is_no_cut(media: MediaItem) -> None:
    weight = np.linspace(0, 1, 40)[:, None, None, None]
    fade = ((1 - weight) * scene(6, 40) + weight * scene(7, 40)).astype(np.uint8)
    assert len(ShotSplitter()(media, np.concatenate([scene(6, 20), fade, scene(7, 20)]))) == 1


def test_shots_cover_every_frame_once(media: MediaItem) -> None:
    thumbs = np.concatenate([scene(i, 20) for i in range(5)])
    shots = ShotSplitter()(media, thumbs)
    assert [f for s in shots for f in range(s.start, s.stop)] == list(range(100))


def test_thumbnails_are_small() -> None:
    assert thumbnail(np.zeros((100, 60, 3), np.uint8)).shape == (32, 32, 3)


@pytest.mark.parametrize("change", ["brighter", "darker", "clipped", "moved", "noisy"])
def test_light_and_motion_are_no_cut(media: MediaItem, change: str) -> None:
    thumbs = scene(8, 60, drift=0).astype(np.float32)
    late = thumbs[30:]
    thumbs[30:] = {
        "brighter": late * 1.5,
        "darker": late * 0.4,
        "clipped": late * 2 - 120,
        "moved": np.roll(late, 2, axis=2),
        "noisy": late + np.random.default_rng(0).normal(0, 12, late.shape),
    }[change]
    assert len(ShotSplitter()(media, np.clip(thumbs, 0, 255).astype(np.uint8))) == 1


def test_cuts_in_the_dark_and_near_the_ends_are_found(media: MediaItem) -> None:
    thumbs = np.concatenate([scene(1, 3), scene(2, 20), scene(3, 20), scene(4, 2)]) // 8
    assert ShotSplitter(min_frames=2).cuts(thumbs) == [3, 23, 43]


def test_of_cuts_that_are_too_near_the_clearest_counts(media: MediaItem) -> None:
    thumbs = np.concatenate([scene(1, 30), scene(2, 5), scene(3, 30)])
    assert len(ShotSplitter().cuts(thumbs)) == 1
    assert ShotSplitter(min_frames=4).cuts(thumbs) == [30, 35]


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_very_short_videos_are_one_shot(media: MediaItem, count: int) -> None:
    shots = ShotSplitter()(media, scene(1, 4)[:count])
    assert [(s.start, s.stop) for s in shots] == ([(0, count)] if count else [])


def test_black_frames_are_one_shot(media: MediaItem) -> None:
    assert len(ShotSplitter()(media, np.zeros((50, 32, 32, 3), np.uint8))) == 1
