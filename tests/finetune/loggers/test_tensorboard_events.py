import io
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from finetune.loggers import Film
from finetune.loggers.tensorboard_events import GIF_FRAMES, TensorBoardEvents, gif

FRAMES = np.arange(60, dtype=np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2).repeat(3, 3) * 4


def test_a_film_becomes_a_short_gif_that_plays_as_long() -> None:
    made = Image.open(io.BytesIO(gif(Film(Path("x.mp4"), FRAMES, 25.0))))
    assert made.n_frames == 30 <= GIF_FRAMES  # pyright: ignore[reportAttributeAccessIssue]
    assert made.info["duration"] == 80


@pytest.mark.skipif(find_spec("tensorboard") is not None, reason="tensorboard is installed")
def test_without_tensorboard_the_install_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pip install 'pawtrait\[tensorboard\]'"):
        TensorBoardEvents(str(tmp_path))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_events_hold_numbers_pictures_films_and_texts(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # pyright: ignore

    logger = TensorBoardEvents(str(tmp_path))
    logger.scalars({"total": 1.5}, 3)
    logger.pictures({"samples/grid": FRAMES[0]}, 3)
    logger.videos({"samples/video": Film(Path("x.mp4"), FRAMES, 25.0)}, 3)
    logger.texts({"config.yaml": "a: 1"})
    logger.finalize("success")
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("total")] == [(3, 1.5)]
    assert set(events.Tags()["images"]) == {"samples/grid", "samples/video"}
    assert events.Images("samples/video")[0].encoded_image_string.startswith(b"GIF89a")
    assert any("config.yaml" in name for name in events.Tags()["tensors"])
