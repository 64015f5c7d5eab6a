from pathlib import Path

import numpy as np
import torch
from PIL import Image

from finetune.picture_files import below_each_other, save_png, side_by_side, to_bytes


def test_rows_become_two_blocks() -> None:
    rows = np.arange(3, dtype=np.uint8)[:, None, None, None].repeat(4, 1).repeat(6, 2).repeat(3, 3)
    picture = below_each_other(rows)
    assert picture.shape == (8, 12, 3)
    assert (picture[:4, :6] == 0).all()
    assert (picture[4:, :6] == 1).all()
    assert (picture[:4, 6:] == 2).all()
    assert (picture[4:, 6:] == 0).all()
    assert below_each_other(rows[2:]).shape == (4, 6, 3)


def test_floats_become_bytes_at_the_side_that_is_wanted() -> None:
    images = torch.full((2, 3, 8, 8), 0.5)
    images[1] = 3.0
    found = to_bytes(images, 4)
    assert found.shape == (2, 4, 4, 3)
    assert (found[0] == 128).all()
    assert (found[1] == 255).all()
    assert side_by_side([found, found]).shape == (2, 4, 8, 3)


def test_a_png_is_whole(tmp_path: Path) -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    save_png(tmp_path / "deep" / "a.png", image)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.png"]
    with Image.open(tmp_path / "deep" / "a.png") as found:
        assert (np.asarray(found) == image).all()
